#ifndef KEYSPHERE_COMMON_CLOCK_CLOCK_H_
#define KEYSPHERE_COMMON_CLOCK_CLOCK_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace keysphere::clock {

// The only way to time: what it is and being called at a time. Three kinds: the machine's time
// (SystemClock), the shared page of a simulated cluster (PageClock), and the virtual time of one
// process (executor::SimulatedExecutor). Thread safe.
class Clock {
 public:
  using TimerId = uint64_t;
  static constexpr TimerId kNoTimer = 0;

  virtual ~Clock() = default;

  virtual absl::Time Now() = 0;

  // Calls `callback` once, at `when` or as soon as possible after it; never inside this call. The
  // callback must be short: it posts to a strand.
  virtual TimerId RunAt(absl::Time when, absl::AnyInvocable<void()> callback) = 0;
  TimerId RunAfter(absl::Duration delay, absl::AnyInvocable<void()> callback) {
    return RunAt(Now() + delay, std::move(callback));
  }

  // True: the callback will not run. False: it has run, is running, or the id is unknown.
  virtual bool Cancel(TimerId id) = 0;

  // Virtual time stands still while a token lives: the process still has work to do at this
  // instant. The executor holds one for each queued or running task, the clock for each timer that
  // is due, rpc for each unary call. `what` (a literal) is named by NOT_QUIESCENT. The machine's
  // time gives tokens that do nothing.
  class BusyToken {
   public:
    BusyToken() = default;
    BusyToken(BusyToken&& other) noexcept : clock_(other.clock_), what_(other.what_) {
      other.clock_ = nullptr;
    }
    BusyToken& operator=(BusyToken&& other) noexcept {
      Release();
      clock_ = other.clock_;
      what_ = other.what_;
      other.clock_ = nullptr;
      return *this;
    }
    ~BusyToken() { Release(); }
    void Release() {
      if (clock_ != nullptr) clock_->EndBusy(what_);
      clock_ = nullptr;
    }

   private:
    friend class Clock;
    BusyToken(Clock* clock, const char* what) : clock_(clock), what_(what) {}
    Clock* clock_ = nullptr;
    const char* what_ = "";
  };
  BusyToken Busy(const char* what) {
    BeginBusy(what);
    return BusyToken(this, what);
  }

 protected:
  virtual void BeginBusy(const char* /*what*/) {}
  virtual void EndBusy(const char* /*what*/) {}
};

}  // namespace keysphere::clock

#endif  // KEYSPHERE_COMMON_CLOCK_CLOCK_H_
