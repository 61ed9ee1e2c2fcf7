#ifndef KEYSPHERE_CONTROLLER_SCHEDULE_PERIODIC_H_
#define KEYSPHERE_CONTROLLER_SCHEDULE_PERIODIC_H_

#include <functional>
#include <memory>

#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/executor/executor.h"

namespace keysphere::controller::schedule {

// Runs something at intervals that an option sets. The first run is one interval after the start;
// runs are that far apart, however late one comes (S70). Lives on the controller's strand.
class Periodic {
 public:
  // `interval` is asked whenever the next run is timed. Both outlive it.
  Periodic(executor::Strand* strand, clock::Clock* clock, std::function<absl::Duration()> interval,
           std::function<void()> run);
  ~Periodic();
  Periodic(const Periodic&) = delete;
  Periodic& operator=(const Periodic&) = delete;

  void Start();
  void Stop();
  bool running() const { return running_; }
  // The interval has changed: the next run is timed anew from the last one; at once if that is
  // past.
  void Retime();
  // InfiniteFuture before the start.
  absl::Time next() const { return next_; }

 private:
  void Schedule(absl::Time when);
  void OnTimer();

  executor::Strand* const strand_;
  clock::Clock* const clock_;
  const std::function<absl::Duration()> interval_;
  const std::function<void()> run_;
  clock::Clock::TimerId timer_ = clock::Clock::kNoTimer;
  bool running_ = false;
  absl::Time base_;  // the last run, or the start
  absl::Time next_ = absl::InfiniteFuture();
  // Timers post to the strand and may outlive this.
  const std::shared_ptr<Periodic*> self_;
};

}  // namespace keysphere::controller::schedule

#endif  // KEYSPHERE_CONTROLLER_SCHEDULE_PERIODIC_H_
