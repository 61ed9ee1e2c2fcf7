#include "controller/encryption/audit.h"

#include "absl/strings/str_cat.h"

namespace keysphere::controller::encryption {

void Audit(events::EventLog* events, const access::Caller& caller, absl::string_view operation,
           absl::string_view object, const v1::CryptoKeyId& key, const v1::CryptoKeyId& old_key,
           const std::string& host) {
  v1::Event event;
  event.set_type(events::kCryptoOperation);
  event.set_object(std::string(object));
  event.set_user(caller.user);
  event.set_message(absl::StrCat("Cryptographic operation ", operation, " on ", object));
  auto& arguments = *event.mutable_arguments();
  arguments["operation"] = std::string(operation);
  arguments["host"] = host;
  if (!key.key_id().empty()) arguments["key_id"] = key.key_id();
  if (!key.provider_id().empty()) arguments["provider"] = key.provider_id();
  if (!old_key.key_id().empty()) arguments["old_key_id"] = old_key.key_id();
  if (!old_key.provider_id().empty()) arguments["old_provider"] = old_key.provider_id();
  events->Append(std::move(event));
}

}  // namespace keysphere::controller::encryption
