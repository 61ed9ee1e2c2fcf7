#ifndef KEYSPHERE_CONTROLLER_PROVIDERS_EXPORT_TICKETS_H_
#define KEYSPHERE_CONTROLLER_PROVIDERS_EXPORT_TICKETS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/crypto/secret_key.h"
#include "common/executor/executor.h"

namespace keysphere::controller::providers {

// Exports whose bundle may be had, in memory only: several of one provider side by side, as each
// administrator has his own; of more than kMaxPerProvider the oldest goes. Of a token only its
// SHA-256 is kept; the password until the download has ended or the time is over. Lives on the
// strand.
class ExportTickets {
 public:
  static constexpr size_t kMaxPerProvider = 16;

  struct Ticket {
    std::string token_sha256;
    std::string user;
    crypto::SecretKey password;  // empty: none
    absl::Time expire_time;
    bool downloading = false;
    clock::Clock::TimerId timer = clock::Clock::kNoTimer;
  };

  ExportTickets(clock::Clock* clock, executor::Strand* strand) : clock_(clock), strand_(strand) {}
  ~ExportTickets();

  // A new token, 32 random bytes in base64url, good once (S117).
  absl::StatusOr<std::string> Issue(absl::string_view provider, absl::string_view user,
                                    crypto::SecretKey password, absl::Time expire_time);
  // The ticket that the token is good for, now downloading. TOKEN_INVALID: another provider's,
  // another user's, expired, used up, or in the middle of a download.
  absl::StatusOr<const Ticket*> Take(absl::string_view provider, absl::string_view user,
                                     absl::string_view token);
  // The download for this token has ended. Complete: the token is used up; else it is good again.
  // Of a token that is void: nothing.
  void Finished(absl::string_view provider, absl::string_view token, bool complete);
  // The provider is gone: all its tokens.
  void Void(absl::string_view provider);

 private:
  using OfProvider = std::map<uint64_t, Ticket>;  // by serial: the oldest first

  // nullptr: there is none.
  Ticket* Find(absl::string_view provider, absl::string_view token, uint64_t* serial);
  void Drop(const std::string& provider, uint64_t serial);
  void Expire(const std::string& provider, uint64_t serial);

  clock::Clock* const clock_;
  executor::Strand* const strand_;
  std::map<std::string, OfProvider, std::less<>> tickets_;  // by provider
  uint64_t last_serial_ = 0;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace keysphere::controller::providers

#endif  // KEYSPHERE_CONTROLLER_PROVIDERS_EXPORT_TICKETS_H_
