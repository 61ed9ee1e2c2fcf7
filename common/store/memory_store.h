#ifndef KEYSPHERE_COMMON_STORE_MEMORY_STORE_H_
#define KEYSPHERE_COMMON_STORE_MEMORY_STORE_H_

#include <memory>

#include "common/executor/executor.h"
#include "common/store/store.h"

namespace keysphere::store {

// A Store in memory, with the limits and the answers of the real one: for in-process simulation
// and tests. Each commit is done by a task that it posts to `executor`, in the order of Commit
// whatever the order in which the executor runs the tasks. May be destroyed while commits wait:
// they still complete.
class MemoryStore : public Store {
 public:
  explicit MemoryStore(executor::Executor* executor);
  MemoryStore(const MemoryStore&) = delete;
  MemoryStore& operator=(const MemoryStore&) = delete;
  ~MemoryStore() override;

  // The next `times` commits that have not begun are refused with `failure` and change nothing.
  void FailCommits(absl::Status failure, int times = 1);

  void Commit(Transaction transaction, CommitCallback done) override;
  absl::StatusOr<absl::optional<Entry>> Get(absl::string_view key) override;
  absl::StatusOr<crypto::SecretKey> GetSecret(absl::string_view key) override;
  absl::StatusOr<std::vector<Entry>> Range(absl::string_view prefix, absl::string_view after,
                                           size_t limit) override;
  absl::StatusOr<Revision> LastRevision() override;

 private:
  struct State;
  executor::Executor* const executor_;
  const std::shared_ptr<State> state_;
};

}  // namespace keysphere::store

#endif  // KEYSPHERE_COMMON_STORE_MEMORY_STORE_H_
