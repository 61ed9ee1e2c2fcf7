#include "kmip/server/batch.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "kmip/messages/fields.h"
#include "kmip/ttlv/endian.h"

namespace keysphere::kmip::server {

using messages::ErrorContinuation;
using messages::Refusal;
using messages::RequestItem;
using messages::ResultReason;
using messages::ResultStatus;
using ttlv::Tag;
using ttlv::Writer;

namespace {

// One item makes at most two operations for each of its names and four more.
constexpr size_t kCommitAt = store::kMaxOperations / 2;
constexpr int kMaxAttempts = 20;
constexpr size_t kMaxMessageBytes = 256;

// What clients are told of an error: not what goes on inside the server.
absl::string_view MessageOf(const absl::Status& status) {
  return absl::string_view(status.message()).substr(0, kMaxMessageBytes);
}

bool HasCreate(const messages::Request& request) {
  for (const RequestItem& item : request.items) {
    if (item.operation == messages::Operation::kCreate) return true;
  }
  return false;
}

}  // namespace

Batch::Batch(Engine* engine, ttlv::Buffer request, Engine::Answer answer)
    : engine_(engine), bytes_(std::move(request)), answer_(std::move(answer)) {
  sync::MutexLock lock(&engine_->mutex_);
  ++engine_->under_way_;
}

Batch::~Batch() {
  // The answer may hold what somebody waits for.
  answer_ = nullptr;
  sync::MutexLock lock(&engine_->mutex_);
  --engine_->under_way_;
  engine_->ended_.SignalAll();
}

absl::StatusOr<std::string> Batch::Authenticate(const Caller& caller) const {
  const auto& credential = request_.header.credential;
  if (!credential.has_value()) return absl::StrCat("certificate ", caller.certificate_owner);
  if (credential->type != messages::CredentialType::kUsernameAndPassword ||
      !engine_->options_.users.Check(credential->username, credential->password)) {
    if (engine_->options_.logger != nullptr) {
      engine_->options_.logger->Warning(
          "kmip.wrong_credential",
          {{"user", credential->username}, {"certificate", caller.certificate_owner}});
    }
    return Refusal(ResultReason::kAuthenticationNotSuccessful, "wrong credential");
  }
  return absl::StrCat("user ", credential->username);
}

void Batch::Start(const Caller& caller) {
  const auto message = ttlv::Parse(bytes_.span(), engine_->options_.limits);
  if (!message.ok()) {
    return FailWhole(Refusal(ResultReason::kInvalidMessage, MessageOf(message.status())));
  }
  auto request = messages::ReadRequest(*message);
  if (!request.ok()) {
    return FailWhole(Refusal(ResultReason::kInvalidMessage, MessageOf(request.status())));
  }
  request_ = *std::move(request);
  const messages::RequestHeader& header = request_.header;
  if (!messages::IsSupported(header.version)) {
    return FailWhole(Refusal(ResultReason::kInvalidMessage,
                             absl::StrCat("KMIP ", header.version.major, ".", header.version.minor,
                                          " is not supported; this server has 1.2, 1.1, 1.0")));
  }
  if (header.asynchronous) {
    return FailWhole(
        Refusal(ResultReason::kFeatureNotSupported, "asynchronous operations are not supported"));
  }
  if (header.error_continuation < ErrorContinuation::kContinue ||
      header.error_continuation > ErrorContinuation::kUndo) {
    return FailWhole(
        Refusal(ResultReason::kInvalidField, "unknown Batch Error Continuation Option"));
  }
  const auto owner = Authenticate(caller);
  if (!owner.ok()) return FailWhole(owner.status());
  if (engine_->options_.faults != nullptr) {
    for (const RequestItem& item : request_.items) {
      engine_->options_.faults->OnOperation(item.operation);
    }
  }
  const int64_t now = absl::ToUnixSeconds(engine_->clock_->Now());
  objects_ = std::make_unique<Objects>(engine_->store_, *owner);
  operations_ = std::make_unique<Operations>(objects_.get(), engine_->random_,
                                             engine_->options_.faults, header.version, now);
  Writer writer(&out_);
  ttlv::Store64(out_.Extend(ttlv::kHeaderBytes),
                (static_cast<uint64_t>(Tag::kResponseMessage) << 40) | (uint64_t{1} << 32));
  messages::WriteResponseHeader(header.version, now, 0, &writer);
  count_at_ = out_.size() - 8;
  committed_bytes_ = out_.size();
  Run();
}

absl::Status Batch::RunItem(size_t index) {
  const RequestItem& item = request_.items[index];
  if (item.critical_extension) {
    return Refusal(ResultReason::kFeatureNotSupported, "unknown message extension");
  }
  Writer writer(&out_);
  const Writer::Structure structure = writer.Begin(Tag::kBatchItem);
  writer.Enumeration(Tag::kOperation, item.operation);
  if (item.id.has_value()) writer.Bytes(Tag::kUniqueBatchItemId, *item.id);
  writer.Enumeration(Tag::kResultStatus, ResultStatus::kSuccess);
  const Writer::Structure payload = writer.Begin(Tag::kResponsePayload);
  return operations_->Run(item.operation, item.payload, &writer);
}

void Batch::WriteOutcome(const RequestItem& item, const absl::Status& status, ResultStatus failed) {
  Writer writer(&out_);
  const Writer::Structure structure = writer.Begin(Tag::kBatchItem);
  writer.Enumeration(Tag::kOperation, item.operation);
  if (item.id.has_value()) writer.Bytes(Tag::kUniqueBatchItemId, *item.id);
  writer.Enumeration(Tag::kResultStatus, failed);
  writer.Enumeration(Tag::kResultReason, messages::ResultReasonOf(status));
  if (!status.message().empty()) writer.Text(Tag::kResultMessage, MessageOf(status));
}

void Batch::Run() {
  const ErrorContinuation option = request_.header.error_continuation;
  while (!stopped_ && next_ < request_.items.size()) {
    // What is to be undone together is committed together.
    if (option != ErrorContinuation::kUndo && objects_->operations() >= kCommitAt) {
      return Fits() ? Commit() : RefuseSinceCommit();
    }
    const size_t begin = out_.size();
    const absl::Status status = RunItem(next_);
    ++next_;
    if (status.ok()) continue;
    out_.Truncate(begin);
    if (status::ReasonOf(status) != v1::REASON_KMS_REFUSED && !absl::IsInvalidArgument(status)) {
      // The store did not answer: what the item has changed so far is not known.
      objects_->DropChanges();
      FailSinceCommit(status);
    } else if (option == ErrorContinuation::kUndo) {
      UndoBefore(next_ - 1);
      WriteOutcome(request_.items[next_ - 1], status, ResultStatus::kFailed);
    } else {
      WriteOutcome(request_.items[next_ - 1], status, ResultStatus::kFailed);
    }
    stopped_ = option != ErrorContinuation::kContinue;
  }
  if (!Fits()) return RefuseSinceCommit();
  if (!objects_->changed()) return Finish();
  if (objects_->operations() > store::kMaxOperations) {
    return FailWhole(
        Refusal(ResultReason::kFeatureNotSupported, "so many changes cannot be undone together"));
  }
  Commit();
}

void Batch::UndoBefore(size_t failed) {
  objects_->DropChanges();
  out_.Truncate(committed_bytes_);
  for (size_t i = 0; i < failed; ++i) {
    WriteOutcome(request_.items[i], Refusal(ResultReason::kOperationCanceled, "undone"),
                 ResultStatus::kUndone);
  }
}

void Batch::Commit() {
  engine_->store_->Commit(objects_->TakeChanges(),
                          [self = shared_from_this()](absl::StatusOr<store::Revision> revision) {
                            self->Committed(std::move(revision));
                          });
}

void Batch::Committed(absl::StatusOr<store::Revision> revision) {
  if (absl::IsAborted(revision.status()) && ++attempts_ < kMaxAttempts) {
    out_.Truncate(committed_bytes_);
    next_ = committed_items_;
    stopped_ = false;
    operations_->set_placeholder(committed_placeholder_);
    engine_->executor_->Post([self = shared_from_this()] { self->Run(); });
    return;
  }
  if (!revision.ok()) {
    FailSinceCommit(revision.status());
  } else if (engine_->options_.faults != nullptr && HasCreate(request_)) {
    engine_->options_.faults->OnCreated();
  }
  committed_bytes_ = out_.size();
  committed_items_ = next_;
  committed_placeholder_ = operations_->placeholder();
  if (stopped_ || next_ == request_.items.size()) return Finish();
  engine_->executor_->Post([self = shared_from_this()] { self->Run(); });
}

void Batch::FailSinceCommit(const absl::Status& status) {
  out_.Truncate(committed_bytes_);
  // Fits counts on failures without a message.
  const bool limited = request_.header.maximum_response_size.has_value();
  const absl::Status told = limited ? Refusal(messages::ResultReasonOf(status), "") : status;
  for (size_t i = committed_items_; i < next_; ++i) {
    WriteOutcome(request_.items[i], told, ResultStatus::kFailed);
  }
  operations_->set_placeholder("");
  stopped_ = request_.header.error_continuation != ErrorContinuation::kContinue;
}

bool Batch::Fits() {
  const auto& most = request_.header.maximum_response_size;
  if (!most.has_value()) return true;
  // After a commit there is no way back: each item that is left must have room to fail in.
  const size_t end = out_.size();
  const absl::Status failure = Refusal(ResultReason::kResponseTooLarge, "");
  for (size_t i = next_; !stopped_ && i < request_.items.size(); ++i) {
    WriteOutcome(request_.items[i], failure, ResultStatus::kFailed);
  }
  const int64_t needed = static_cast<int64_t>(out_.size());
  out_.Truncate(end);
  return needed <= *most;
}

void Batch::RefuseSinceCommit() {
  const bool goes_on = request_.header.error_continuation == ErrorContinuation::kContinue;
  if (committed_items_ > 0) {
    objects_->DropChanges();
    next_ = goes_on ? request_.items.size() : committed_items_ + 1;
    FailSinceCommit(Refusal(ResultReason::kResponseTooLarge, ""));
  }
  // Otherwise nothing is done, and the whole is refused.
  Finish();
}

void Batch::Finish() {
  const auto& most = request_.header.maximum_response_size;
  if (most.has_value() && static_cast<int64_t>(out_.size()) > *most) {
    return FailWhole(Refusal(ResultReason::kResponseTooLarge,
                             absl::StrCat("the answer has ", out_.size(), " bytes")));
  }
  ttlv::Store32(out_.mutable_data() + count_at_, static_cast<uint32_t>(next_));
  ttlv::Store32(out_.mutable_data() + 4, static_cast<uint32_t>(out_.size() - ttlv::kHeaderBytes));
  answer_(std::move(out_));
}

void Batch::FailWhole(const absl::Status& status) {
  if (objects_ != nullptr) objects_->DropChanges();
  answer_(engine_->Failure(bytes_.span(), messages::ResultReasonOf(status), MessageOf(status)));
}

}  // namespace keysphere::kmip::server
