#ifndef KEYSPHERE_CONTROLLER_CHANGES_CHANGES_H_
#define KEYSPHERE_CONTROLLER_CHANGES_CHANGES_H_

#include <deque>
#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/executor/executor.h"
#include "common/store/store.h"

namespace keysphere::controller::changes {

// A change of durable state: what to commit, and what follows in memory.
struct Change {
  // Empty: nothing to commit.
  store::Transaction transaction;
  // Runs on the strand after the commit, with its revision (0 if there was nothing to commit).
  absl::AnyInvocable<void(store::Revision)> apply = [](store::Revision) {};
};

// Changes of one subject, one after another: each is checked against the outcome of the one before,
// so a check holds until its commit. Memory changes only after the commit. Lives on the strand.
class Changes {
 public:
  Changes(store::Store* store, executor::Strand* strand)
      : strand_(strand), state_(std::make_shared<State>(store)) {}
  ~Changes() { state_->closed = true; }
  Changes(const Changes&) = delete;
  Changes& operator=(const Changes&) = delete;

  // Runs `prepare` when all earlier changes are over (perhaps now): it checks, and makes the change
  // or refuses. `done` gets the commit's revision, after apply, or the refusal. Neither runs any
  // more once this object is gone.
  using Prepare = absl::AnyInvocable<absl::StatusOr<Change>()>;
  using Done = absl::AnyInvocable<void(absl::StatusOr<store::Revision>)>;
  void Run(Prepare prepare, Done done);

 private:
  struct State {
    explicit State(store::Store* store_in) : store(store_in) {}
    store::Store* const store;
    bool busy = false;
    bool closed = false;
    std::deque<std::pair<Prepare, Done>> waiting;
  };

  static void Next(executor::Strand* strand, const std::shared_ptr<State>& state);
  // False: the change is being committed, and goes on by itself.
  static bool RunOne(executor::Strand* strand, const std::shared_ptr<State>& state, Prepare prepare,
                     Done done);

  executor::Strand* const strand_;
  const std::shared_ptr<State> state_;
};

}  // namespace keysphere::controller::changes

#endif  // KEYSPHERE_CONTROLLER_CHANGES_CHANGES_H_
