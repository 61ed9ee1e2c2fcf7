#include "controller/changes/changes.h"

namespace keysphere::controller::changes {

void Changes::Run(Prepare prepare, Done done) {
  state_->waiting.emplace_back(std::move(prepare), std::move(done));
  Next(strand_, state_);
}

void Changes::Next(executor::Strand* strand, const std::shared_ptr<State>& state) {
  while (!state->busy && !state->closed && !state->waiting.empty()) {
    auto [prepare, done] = std::move(state->waiting.front());
    state->waiting.pop_front();
    state->busy = true;
    if (!RunOne(strand, state, std::move(prepare), std::move(done))) return;
    state->busy = false;
  }
}

bool Changes::RunOne(executor::Strand* strand, const std::shared_ptr<State>& state, Prepare prepare,
                     Done done) {
  absl::StatusOr<Change> change = prepare();
  if (!change.ok()) {
    done(change.status());
    return true;
  }
  const store::Transaction& transaction = change->transaction;
  if (transaction.puts().empty() && transaction.deletes().empty()) {
    change->apply(0);
    done(store::Revision{0});
    return true;
  }
  state->store->Commit(
      std::move(change->transaction),
      [strand, state, apply = std::move(change->apply),
       done = std::move(done)](absl::StatusOr<store::Revision> revision) mutable {
        strand->Post([strand, state, apply = std::move(apply), done = std::move(done),
                      revision = std::move(revision)]() mutable {
          if (state->closed) return;
          if (revision.ok()) apply(*revision);
          done(std::move(revision));
          state->busy = false;
          Next(strand, state);
        });
      });
  return false;
}

}  // namespace keysphere::controller::changes
