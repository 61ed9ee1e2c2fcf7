#include "kmip/server/engine.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status/status.h"
#include "kmip/server/batch.h"
#include "kmip/ttlv/writer.h"

namespace keysphere::kmip::server {
namespace {

absl::Span<const uint8_t> Bytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

absl::StatusOr<Users> Users::Parse(absl::string_view text) {
  Users users;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty() || line[0] == '#') continue;
    const size_t space = line.find(' ');
    if (space == absl::string_view::npos || space == 0 || space + 1 == line.size()) {
      return status::Error(v1::REASON_INVALID_ARGUMENT,
                           absl::StrCat("line ", number, " of the users is not NAME PASSWORD"));
    }
    KS_ASSIGN_OR_RETURN(crypto::SecretKey password,
                        crypto::SecretKey::CopyOf(Bytes(line.substr(space + 1))));
    const std::string name(line.substr(0, space));
    if (!users.passwords_.emplace(name, std::move(password)).second) {
      return status::Error(v1::REASON_INVALID_ARGUMENT,
                           absl::StrCat("line ", number, " of the users has the user ",
                                        status::Quote(name), " for the second time"));
    }
  }
  return users;
}

bool Users::Check(absl::string_view name, absl::string_view password) const {
  const auto found = passwords_.find(std::string(name));
  if (found == passwords_.end()) return false;
  const auto given = crypto::SecretKey::CopyOf(Bytes(password));
  return given.ok() && given->Equals(found->second);
}

Engine::Engine(store::Store* store, executor::Executor* executor, clock::Clock* clock,
               random::Random* random, Options options)
    : store_(store),
      executor_(executor),
      clock_(clock),
      random_(random),
      options_(std::move(options)) {}

Engine::~Engine() {
  sync::MutexLock lock(&mutex_);
  while (under_way_ > 0) ended_.Wait(&mutex_);
}

void Engine::Handle(ttlv::Buffer request, const Caller& caller, Answer answer) {
  std::make_shared<Batch>(this, std::move(request), std::move(answer))->Start(caller);
}

ttlv::Buffer Engine::Failure(absl::Span<const uint8_t> request, messages::ResultReason reason,
                             absl::string_view message) {
  using ttlv::Tag;
  ttlv::Buffer buffer;
  ttlv::Writer writer(&buffer);
  const ttlv::Writer::Structure whole = writer.Begin(Tag::kResponseMessage);
  const auto version = messages::VersionOf(request);
  messages::WriteResponseHeader(
      version.has_value() && messages::IsSupported(*version) ? *version : messages::kVersion12,
      absl::ToUnixSeconds(clock_->Now()), 1, &writer);
  const ttlv::Writer::Structure item = writer.Begin(Tag::kBatchItem);
  writer.Enumeration(Tag::kResultStatus, messages::ResultStatus::kFailed);
  writer.Enumeration(Tag::kResultReason, reason);
  writer.Text(Tag::kResultMessage, message);
  return buffer;
}

}  // namespace keysphere::kmip::server
