#include "controller/encryption/audit.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace keysphere::controller::encryption {
namespace {

v1::Event AuditEvent(const std::string& user, absl::string_view operation, absl::string_view object,
                     const v1::CryptoKeyId& key, const v1::CryptoKeyId& old_key,
                     const std::string& host, const std::string& task) {
  v1::Event event;
  event.set_type(events::kCryptoOperation);
  event.set_object(std::string(object));
  event.set_user(user);
  event.set_message(absl::StrCat("Cryptographic operation ", operation, " on ", object));
  auto& arguments = *event.mutable_arguments();
  arguments["operation"] = std::string(operation);
  arguments["host"] = host;
  if (!key.key_id().empty()) arguments["key_id"] = key.key_id();
  if (!key.provider_id().empty()) arguments["provider"] = key.provider_id();
  if (!old_key.key_id().empty()) arguments["old_key_id"] = old_key.key_id();
  if (!old_key.provider_id().empty()) arguments["old_provider"] = old_key.provider_id();
  if (!task.empty()) arguments[kTaskArgument] = task;
  return event;
}

}  // namespace

void Audit(events::EventLog* events, const access::Caller& caller, absl::string_view operation,
           absl::string_view object, const v1::CryptoKeyId& key, const v1::CryptoKeyId& old_key,
           const std::string& host, const std::string& task) {
  events->Append(AuditEvent(caller.user, operation, object, key, old_key, host, task));
}

void AuditLost(events::EventLog* events, const CryptoWork& work, const v1::CryptoKeyId& key,
               const std::string& task) {
  v1::Event event = AuditEvent(work.user(), work.operation(), absl::StrCat("vm/", work.vm()), key,
                               work.old_key(), work.host(), task);
  absl::StrAppend(event.mutable_message(), " was done, though the host's answer was lost");
  (*event.mutable_arguments())["answer"] = "lost";
  events->Append(std::move(event));
}

}  // namespace keysphere::controller::encryption
