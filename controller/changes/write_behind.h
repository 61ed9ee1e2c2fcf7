#ifndef KEYSPHERE_CONTROLLER_CHANGES_WRITE_BEHIND_H_
#define KEYSPHERE_CONTROLLER_CHANGES_WRITE_BEHIND_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/clock/clock.h"
#include "common/executor/executor.h"
#include "common/status/callback.h"
#include "common/store/store.h"

namespace keysphere::controller::changes {

// Writes that nobody waits for, batched: one commit at a time, of the last value of each key. What
// could not be committed is tried again every second. Lives on the strand.
class WriteBehind {
 public:
  static constexpr size_t kMaxBatch = 90;
  static constexpr size_t kMaxBatchBytes = 512 << 10;
  static constexpr absl::Duration kRetryAfter = absl::Seconds(1);

  WriteBehind(store::Store* store, executor::Strand* strand, clock::Clock* clock);
  ~WriteBehind();
  WriteBehind(const WriteBehind&) = delete;
  WriteBehind& operator=(const WriteBehind&) = delete;

  // At most store::kMaxValueBytes.
  void Put(absl::string_view key, std::string value);
  void Delete(absl::string_view key);
  // Runs `done` on the strand when all that was put and deleted before is durable: perhaps now.
  // With an error when a commit failed meanwhile, or has failed and is not tried again yet; the
  // writes are tried again all the same.
  void Flushed(status::DoneCallback done);
  // The same, however often a commit fails.
  void WhenDurable(absl::AnyInvocable<void()> done);

 private:
  struct Write {
    absl::optional<std::string> value;  // none: delete
    uint64_t sequence = 0;
  };
  struct State;

  static void Flush(const std::shared_ptr<State>& state);
  static void Committed(const std::shared_ptr<State>& state,
                        const std::map<std::string, uint64_t>& batch, const absl::Status& status);
  static void Answer(const std::shared_ptr<State>& state);
  void Add(absl::string_view key, absl::optional<std::string> value);

  const std::shared_ptr<State> state_;
};

}  // namespace keysphere::controller::changes

#endif  // KEYSPHERE_CONTROLLER_CHANGES_WRITE_BEHIND_H_
