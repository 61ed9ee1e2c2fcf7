#include "controller/requests/request_log.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/status/status.h"
#include "common/store/proto_store.h"
#include "controller/requests/request_record.pb.h"
#include "keysphere/options.pb.h"

namespace keysphere::controller::requests {
namespace {

constexpr char kPrefix[] = "request/";

std::string KeyOf(const access::Caller& caller, absl::string_view method, const std::string& id) {
  // Lengths keep the parts apart.
  return crypto::Sha256Hex(
      absl::StrCat(caller.user.size(), ":", caller.user, method.size(), ":", method, id));
}

}  // namespace

absl::StatusOr<std::unique_ptr<RequestLog>> RequestLog::Load(store::Store* store,
                                                             executor::Strand* strand,
                                                             clock::Clock* clock) {
  auto log = std::unique_ptr<RequestLog>(new RequestLog(store, strand, clock));
  KS_RETURN_IF_ERROR((store::ForEachProto<RequestRecord>(
      store, kPrefix, [&](store::ProtoEntry<RequestRecord> record) {
        Entry entry;
        entry.payload_digest = record.message.payload_digest();
        entry.running = false;
        entry.response = record.message.response();
        entry.time = absl::FromUnixMicros(record.message.time_us());
        std::string key = record.key.substr(sizeof(kPrefix) - 1);
        log->order_.emplace_back(entry.time, key);
        log->entries_.emplace(std::move(key), std::move(entry));
        return absl::OkStatus();
      })));
  std::sort(log->order_.begin(), log->order_.end());
  return log;
}

bool RequestLog::HoldsSecret(const google::protobuf::Message& message) {
  const google::protobuf::Reflection* const reflection = message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> set;
  reflection->ListFields(message, &set);
  for (const google::protobuf::FieldDescriptor* field : set) {
    if (field->options().GetExtension(keysphere::secret)) return true;
  }
  return false;
}

void RequestLog::Begin(const access::Caller& caller, absl::string_view method,
                       const std::string& id, const google::protobuf::Message& request,
                       Waiter waiter, absl::AnyInvocable<void(Finish)> run) {
  if (id.size() > kMaxIdBytes) {
    return waiter(status::Error(v1::REASON_INVALID_ARGUMENT,
                                absl::StrCat("request_id has ", id.size(), " bytes; at most ",
                                             kMaxIdBytes, " are allowed")));
  }
  Forget(clock_->Now() - kKept);
  const std::string key = KeyOf(caller, method, id);
  const std::string digest = crypto::Sha256(request.SerializeAsString());
  const auto [it, is_new] = entries_.try_emplace(key);
  Entry& entry = it->second;
  if (!is_new && entry.payload_digest != digest) {
    return waiter(status::Error(v1::REASON_REQUEST_ID_REUSED,
                                absl::StrCat("request_id ", status::Quote(id),
                                             " came before with another payload"))
                      .NextStep("Use a new request_id for a new request."));
  }
  if (!is_new && !entry.running) return waiter(entry.response);
  entry.payload_digest = digest;
  entry.waiters.push_back(std::move(waiter));
  if (!is_new) return;
  // A digest of a password could be guessed at: such a request leaves nothing on disk.
  run([this, key, secret_request = HoldsSecret(request)](absl::StatusOr<std::string> answer,
                                                         bool secret) mutable {
    End(key, std::move(answer), secret || secret_request);
  });
}

void RequestLog::End(const std::string& key, absl::StatusOr<std::string> answer,
                     bool keep_in_memory_only) {
  if (!answer.ok() || keep_in_memory_only) return Answer(key, answer);
  RequestRecord record;
  record.set_payload_digest(entries_[key].payload_digest);
  record.set_response(*answer);
  record.set_time_us(absl::ToUnixMicros(clock_->Now()));
  store::Transaction transaction;
  store::PutProto(&transaction, absl::StrCat(kPrefix, key), record);
  store_->Commit(std::move(transaction), [this, key, answer = std::move(answer)](
                                             absl::StatusOr<store::Revision>) mutable {
    // The operation itself is durable: its answer is true even where noting it failed.
    strand_->Post([this, key, answer = std::move(answer)]() { Answer(key, answer); });
  });
}

void RequestLog::Answer(const std::string& key, const absl::StatusOr<std::string>& answer) {
  const auto it = entries_.find(key);
  if (it == entries_.end()) return;
  std::vector<Waiter> waiters = std::move(it->second.waiters);
  if (answer.ok()) {
    it->second.running = false;
    it->second.waiters.clear();
    it->second.response = *answer;
    it->second.time = clock_->Now();
    order_.emplace_back(it->second.time, key);
  } else {
    entries_.erase(it);
  }
  for (Waiter& waiter : waiters) waiter(answer);
}

void RequestLog::Forget(absl::Time before) {
  store::Transaction transaction;
  while (!order_.empty() && (order_.front().first < before || order_.size() >= kMaxKept) &&
         transaction.deletes().size() < store::kMaxOperations) {
    const std::string key = order_.front().second;
    order_.pop_front();
    entries_.erase(key);
    transaction.Delete(absl::StrCat(kPrefix, key));
  }
  if (transaction.deletes().empty()) return;
  store_->Commit(std::move(transaction), [](absl::StatusOr<store::Revision>) {});
}

}  // namespace keysphere::controller::requests
