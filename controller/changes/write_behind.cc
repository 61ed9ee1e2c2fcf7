#include "controller/changes/write_behind.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/status/status.h"

namespace keysphere::controller::changes {

struct WriteBehind::State {
  store::Store* store;
  executor::Strand* strand;
  clock::Clock* clock;
  std::map<std::string, Write> dirty;  // not durable yet; what is being committed too
  uint64_t last_sequence = 0;
  bool committing = false;
  bool closed = false;
  clock::Clock::TimerId retry = clock::Clock::kNoTimer;
  absl::Status failure;  // why it waits for that timer

  // By the sequence that must be durable first.
  std::multimap<uint64_t, status::DoneCallback> waiting;
  std::multimap<uint64_t, absl::AnyInvocable<void()>> waiting_for_ever;

  // All writes up to this one are durable.
  uint64_t Durable() const {
    uint64_t oldest = last_sequence + 1;
    for (const auto& [key, write] : dirty) oldest = std::min(oldest, write.sequence);
    return oldest - 1;
  }
};

WriteBehind::WriteBehind(store::Store* store, executor::Strand* strand, clock::Clock* clock)
    : state_(std::make_shared<State>()) {
  state_->store = store;
  state_->strand = strand;
  state_->clock = clock;
}

WriteBehind::~WriteBehind() {
  state_->closed = true;
  if (state_->retry != clock::Clock::kNoTimer) state_->clock->Cancel(state_->retry);
}

void WriteBehind::Put(absl::string_view key, std::string value) {
  KS_CHECK(value.size() <= store::kMaxValueBytes);
  Add(key, std::move(value));
}

void WriteBehind::Delete(absl::string_view key) { Add(key, absl::nullopt); }

void WriteBehind::Add(absl::string_view key, absl::optional<std::string> value) {
  Write& write = state_->dirty[std::string(key)];
  write.value = std::move(value);
  write.sequence = ++state_->last_sequence;
  Flush(state_);
}

void WriteBehind::Flushed(status::DoneCallback done) {
  if (state_->dirty.empty()) return done(absl::OkStatus());
  if (state_->retry != clock::Clock::kNoTimer) return done(state_->failure);
  state_->waiting.emplace(state_->last_sequence, std::move(done));
}

void WriteBehind::WhenDurable(absl::AnyInvocable<void()> done) {
  if (state_->dirty.empty()) return done();
  state_->waiting_for_ever.emplace(state_->last_sequence, std::move(done));
}

void WriteBehind::Flush(const std::shared_ptr<State>& state) {
  if (state->committing || state->closed || state->dirty.empty()) return;
  if (state->retry != clock::Clock::kNoTimer) return;  // it waits
  // The oldest first, so that whoever waits gets on.
  std::vector<std::pair<uint64_t, const std::string*>> order;
  order.reserve(state->dirty.size());
  for (const auto& [key, write] : state->dirty) order.emplace_back(write.sequence, &key);
  if (order.size() > kMaxBatch) {
    std::nth_element(order.begin(), order.begin() + kMaxBatch, order.end());
    order.resize(kMaxBatch);
  }
  std::sort(order.begin(), order.end());
  store::Transaction transaction;
  std::map<std::string, uint64_t> batch;
  size_t bytes = 0;
  for (const auto& [sequence, key] : order) {
    const Write& write = state->dirty.at(*key);
    bytes += key->size() + (write.value ? write.value->size() : 0);
    if (bytes > kMaxBatchBytes && !batch.empty()) break;
    if (write.value) {
      transaction.Put(*key, *write.value);
    } else {
      transaction.Delete(*key);
    }
    batch.emplace(*key, sequence);
  }
  state->committing = true;
  state->store->Commit(std::move(transaction), [state, batch = std::move(batch)](
                                                   absl::StatusOr<store::Revision> result) mutable {
    executor::Strand* const strand = state->strand;
    strand->Post([state = std::move(state), batch = std::move(batch), status = result.status()]() {
      Committed(state, batch, status);
    });
  });
}

void WriteBehind::Committed(const std::shared_ptr<State>& state,
                            const std::map<std::string, uint64_t>& batch,
                            const absl::Status& status) {
  state->committing = false;
  if (state->closed) return;
  if (status.ok()) {
    for (const auto& [key, sequence] : batch) {
      const auto it = state->dirty.find(key);
      if (it != state->dirty.end() && it->second.sequence == sequence) state->dirty.erase(it);
    }
  } else {
    state->failure = status;
    state->retry = state->clock->RunAfter(
        kRetryAfter, [weak = std::weak_ptr<State>(state), strand = state->strand]() {
          strand->Post([weak]() {
            const std::shared_ptr<State> state = weak.lock();
            if (state == nullptr || state->closed) return;
            state->retry = clock::Clock::kNoTimer;
            Flush(state);
          });
        });
    auto waiting = std::exchange(state->waiting, {});
    for (auto& [sequence, done] : waiting) done(status);
  }
  Flush(state);
  Answer(state);
}

void WriteBehind::Answer(const std::shared_ptr<State>& state) {
  const uint64_t durable = state->Durable();
  const auto take = [durable](auto* waiting) {
    auto end = waiting->upper_bound(durable);
    std::vector<typename std::decay_t<decltype(*waiting)>::mapped_type> ready;
    for (auto it = waiting->begin(); it != end; ++it) ready.push_back(std::move(it->second));
    waiting->erase(waiting->begin(), end);
    return ready;
  };
  auto waiting = take(&state->waiting);
  auto for_ever = take(&state->waiting_for_ever);
  for (auto& done : for_ever) {
    if (!state->closed) done();
  }
  for (auto& done : waiting) {
    if (!state->closed) done(absl::OkStatus());
  }
}

}  // namespace keysphere::controller::changes
