#include "controller/providers/export_tickets.h"

#include <openssl/crypto.h>

#include <utility>

#include "absl/strings/escaping.h"
#include "common/crypto/digest.h"
#include "common/status/status.h"

namespace keysphere::controller::providers {
namespace {

constexpr size_t kTokenBytes = 32;

absl::Status InvalidToken(absl::string_view provider) {
  // The same for every cause: it tells nothing about tokens that exist.
  return status::Error(v1::REASON_TOKEN_INVALID,
                       "the token is not good for a download: it is wrong, used up or expired, or "
                       "a download with it goes on")
      .Object("provider", provider)
      .NextStep("Export the provider again.");
}

}  // namespace

ExportTickets::~ExportTickets() {
  for (const auto& [provider, tickets] : tickets_) {
    for (const auto& [serial, ticket] : tickets) clock_->Cancel(ticket.timer);
  }
}

absl::StatusOr<std::string> ExportTickets::Issue(absl::string_view provider, absl::string_view user,
                                                 crypto::SecretKey password,
                                                 absl::Time expire_time) {
  KS_ASSIGN_OR_RETURN(const crypto::SecretKey random, crypto::SecretKey::Random(kTokenBytes));
  const absl::Span<const uint8_t> bytes = random.bytes(crypto::SecretKeyAccess::Token());
  std::string token = absl::WebSafeBase64Escape(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  const std::string name(provider);
  while (tickets_[name].size() >= kMaxPerProvider) Drop(name, tickets_[name].begin()->first);
  const uint64_t serial = ++last_serial_;
  Ticket& ticket = tickets_[name][serial];
  ticket.token_sha256 = crypto::Sha256(token);
  ticket.user = std::string(user);
  ticket.password = std::move(password);
  ticket.expire_time = expire_time;
  ticket.timer = clock_->RunAt(
      expire_time, [this, alive = std::weak_ptr<bool>(alive_), strand = strand_, name, serial]() {
        strand->Post([this, alive, name, serial]() {
          if (!alive.expired()) Expire(name, serial);
        });
      });
  return token;
}

ExportTickets::Ticket* ExportTickets::Find(absl::string_view provider, absl::string_view token,
                                           uint64_t* serial) {
  const std::string sha256 = crypto::Sha256(token);
  const auto it = tickets_.find(provider);
  if (it == tickets_.end()) return nullptr;
  for (auto& [number, ticket] : it->second) {
    if (sha256.size() != ticket.token_sha256.size() ||
        CRYPTO_memcmp(sha256.data(), ticket.token_sha256.data(), sha256.size()) != 0) {
      continue;
    }
    *serial = number;
    return &ticket;
  }
  return nullptr;
}

absl::StatusOr<const ExportTickets::Ticket*> ExportTickets::Take(absl::string_view provider,
                                                                 absl::string_view user,
                                                                 absl::string_view token) {
  uint64_t serial = 0;
  Ticket* const ticket = Find(provider, token, &serial);
  if (ticket == nullptr || ticket->user != user || ticket->downloading ||
      ticket->expire_time <= clock_->Now()) {
    return InvalidToken(provider);
  }
  ticket->downloading = true;
  return ticket;
}

void ExportTickets::Finished(absl::string_view provider, absl::string_view token, bool complete) {
  uint64_t serial = 0;
  Ticket* const ticket = Find(provider, token, &serial);
  if (ticket == nullptr) return;
  ticket->downloading = false;
  if (complete || ticket->expire_time <= clock_->Now()) Drop(std::string(provider), serial);
}

void ExportTickets::Void(absl::string_view provider) {
  const auto it = tickets_.find(provider);
  if (it == tickets_.end()) return;
  for (const auto& [serial, ticket] : it->second) clock_->Cancel(ticket.timer);
  tickets_.erase(it);
}

void ExportTickets::Drop(const std::string& provider, uint64_t serial) {
  const auto it = tickets_.find(provider);
  if (it == tickets_.end()) return;
  const auto ticket = it->second.find(serial);
  if (ticket == it->second.end()) return;
  clock_->Cancel(ticket->second.timer);
  it->second.erase(ticket);
  if (it->second.empty()) tickets_.erase(it);
}

void ExportTickets::Expire(const std::string& provider, uint64_t serial) {
  const auto it = tickets_.find(provider);
  if (it == tickets_.end()) return;
  const auto ticket = it->second.find(serial);
  // A download that goes on ends as it may: Finished voids the ticket then.
  if (ticket == it->second.end() || ticket->second.downloading) return;
  Drop(provider, serial);
}

}  // namespace keysphere::controller::providers
