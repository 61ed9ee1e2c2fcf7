#include "controller/schedule/periodic.h"

#include <algorithm>
#include <utility>

namespace keysphere::controller::schedule {

Periodic::Periodic(executor::Strand* strand, clock::Clock* clock,
                   std::function<absl::Duration()> interval, std::function<void()> run)
    : strand_(strand),
      clock_(clock),
      interval_(std::move(interval)),
      run_(std::move(run)),
      self_(std::make_shared<Periodic*>(this)) {}

Periodic::~Periodic() {
  Stop();
  *self_ = nullptr;
}

void Periodic::Start() {
  running_ = true;
  base_ = clock_->Now();
  Schedule(base_ + interval_());
}

void Periodic::Stop() {
  running_ = false;
  if (timer_ != clock::Clock::kNoTimer) clock_->Cancel(timer_);
  timer_ = clock::Clock::kNoTimer;
}

void Periodic::Retime() {
  if (running_) Schedule(std::max(base_ + interval_(), clock_->Now()));
}

void Periodic::Schedule(absl::Time when) {
  if (timer_ != clock::Clock::kNoTimer) clock_->Cancel(timer_);
  next_ = when;
  timer_ = clock_->RunAt(when, [strand = strand_, self = self_] {
    strand->Post([self] {
      if (*self != nullptr) (*self)->OnTimer();
    });
  });
}

void Periodic::OnTimer() {
  // A timer that was replaced after it had fired finds its time moved.
  if (!running_ || clock_->Now() < next_) return;
  base_ = next_;
  Schedule(base_ + interval_());
  run_();
}

}  // namespace keysphere::controller::schedule
