#include "controller/requests/request_log.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/status/status.h"
#include "common/store/proto_store.h"
#include "controller/requests/records.pb.h"
#include "controller/timestamps/timestamps.h"
#include "google/protobuf/descriptor.h"
#include "keysphere/options.pb.h"

namespace keysphere::controller::requests {
namespace {

using google::protobuf::FieldDescriptor;

constexpr char kPrefix[] = "request/";
constexpr char kMacKey[] = "request-log-key";
constexpr size_t kMacBytes = 32;

// Whether a secret field is set in it, at any depth.
bool HasSecret(const google::protobuf::Message& message) {
  const google::protobuf::Reflection* const reflection = message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->options().GetExtension(keysphere::secret)) return true;
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      if (HasSecret(reflection->GetMessage(message, field))) return true;
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      if (HasSecret(reflection->GetRepeatedMessage(message, field, i))) return true;
    }
  }
  return false;
}

std::string Deterministic(const google::protobuf::Message& message) {
  std::string bytes;
  bytes.reserve(message.ByteSizeLong());  // no growth: no stray copies of a secret
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RequestLog>> RequestLog::Load(store::Store* store,
                                                             executor::Strand* strand,
                                                             clock::Clock* clock) {
  auto log = std::unique_ptr<RequestLog>(new RequestLog(store, strand, clock));
  KS_ASSIGN_OR_RETURN(const absl::optional<store::Entry> key, store->Get(kMacKey));
  if (key.has_value()) {
    KS_ASSIGN_OR_RETURN(log->mac_key_, store->GetSecret(kMacKey));
  } else {
    KS_ASSIGN_OR_RETURN(log->mac_key_, crypto::SecretKey::Random(kMacBytes));
    KS_ASSIGN_OR_RETURN(crypto::SecretKey copy, log->mac_key_.Clone());
    // Commits are done in order: no record is durable without it.
    store->Commit(store::Transaction().Compare(kMacKey, 0).PutSecret(kMacKey, std::move(copy)),
                  [](const absl::StatusOr<store::Revision>&) {});
  }
  KS_RETURN_IF_ERROR((store::ForEachProto<RequestRecord>(
      store, kPrefix, [&](store::ProtoEntry<RequestRecord> record) {
        const std::string id = record.key.substr(sizeof(kPrefix) - 1);
        Entry& entry = log->entries_[id];
        entry.payload_mac = record.message.payload_mac();
        entry.time = timestamps::FromProto(record.message.time());
        if (record.message.has_response()) entry.response = record.message.response();
        log->by_time_.emplace(entry.time, id);
        return absl::OkStatus();
      })));
  log->Forget();
  return log;
}

absl::StatusOr<std::string> RequestLog::MacOf(const google::protobuf::Message& request) const {
  std::string payload = Deterministic(request);
  const absl::Span<const uint8_t> key = mac_key_.bytes(crypto::SecretKeyAccess::Token());
  std::string mac(kMacBytes, '\0');
  size_t size = 0;
  const bool made = EVP_Q_mac(nullptr, "HMAC", nullptr, "SHA256", nullptr, key.data(), key.size(),
                              reinterpret_cast<const uint8_t*>(payload.data()), payload.size(),
                              reinterpret_cast<uint8_t*>(&mac[0]), mac.size(), &size) != nullptr;
  OPENSSL_cleanse(&payload[0], payload.size());
  if (made && size == kMacBytes) return mac;
  return status::Error(v1::REASON_INTERNAL, "HMAC-SHA-256 failed");
}

absl::StatusOr<std::string> RequestLog::Begin(const access::Caller& caller,
                                              absl::string_view method, const std::string& id,
                                              const google::protobuf::Message& request,
                                              const google::protobuf::Message& prototype,
                                              Answer answer) {
  if (id.size() > kMaxIdCharacters) {
    absl::Status refused =
        status::Error(v1::REASON_INVALID_ARGUMENT,
                      absl::StrCat("request_id has more than ", kMaxIdCharacters, " characters"));
    answer(refused);
    return refused;
  }
  absl::StatusOr<std::string> mac = MacOf(request);
  if (!mac.ok()) {
    answer(mac.status());
    return mac.status();
  }
  Forget();
  // Lengths keep the parts apart.
  const std::string key = crypto::Sha256Hex(absl::StrCat(
      caller.user.size(), ":", caller.user, method.size(), ":", method, id.size(), ":", id));
  const auto [it, is_new] = entries_.try_emplace(key);
  Entry& entry = it->second;
  if (!is_new && entry.payload_mac != *mac) {
    absl::Status refused = status::Error(v1::REASON_REQUEST_ID_REUSED,
                                         absl::StrCat("request_id ", status::Quote(id),
                                                      " came with another request within 24 hours"))
                               .NextStep("Use a new request_id for a new request.");
    answer(refused);
    return refused;
  }
  if (!is_new && !entry.running && entry.response.has_value()) {
    std::shared_ptr<google::protobuf::Message> kept(prototype.New());
    if (kept->ParseFromString(*entry.response)) {
      answer(Message(std::move(kept)));
      return std::string();
    }
  }
  entry.waiting.push_back(std::move(answer));
  if (entry.running) return std::string();
  by_time_.erase({entry.time, key});
  entry.payload_mac = *std::move(mac);
  entry.running = true;
  return key;
}

void RequestLog::Keep(const std::string& key, Entry* entry,
                      const google::protobuf::Message& response) {
  entry->time = clock_->Now();
  by_time_.emplace(entry->time, key);
  RequestRecord record;
  record.set_payload_mac(entry->payload_mac);
  *record.mutable_time() = timestamps::ToProto(entry->time);
  if (response.ByteSizeLong() <= kMaxResponseBytes && !HasSecret(response)) {
    entry->response = response.SerializeAsString();
    record.set_response(*entry->response);
  }
  writes_.Put(absl::StrCat(kPrefix, key), record.SerializeAsString());
}

void RequestLog::End(const std::string& key, absl::StatusOr<Message> response) {
  const auto it = entries_.find(key);
  if (it == entries_.end() || !it->second.running) return;
  std::vector<Answer> waiting = std::exchange(it->second.waiting, {});
  it->second.running = false;
  if (!response.ok()) {
    // It may have been there, without a response, from before.
    entries_.erase(it);
    writes_.Delete(absl::StrCat(kPrefix, key));
    for (Answer& answer : waiting) answer(response.status());
    return;
  }
  Keep(key, &it->second, **response);
  Forget();
  // Told when it is durable; a failure to keep it is none of the operation, which is done.
  writes_.Flushed(
      [waiting = std::move(waiting), response = *std::move(response)](const absl::Status&) mutable {
        for (Answer& answer : waiting) answer(response);
      });
}

void RequestLog::Forget() {
  const absl::Time now = clock_->Now();
  while (!by_time_.empty() &&
         (by_time_.size() > kMaxKept || by_time_.begin()->first + kKept <= now)) {
    const std::string key = by_time_.begin()->second;
    by_time_.erase(by_time_.begin());
    entries_.erase(key);
    writes_.Delete(absl::StrCat(kPrefix, key));
  }
}

}  // namespace keysphere::controller::requests
