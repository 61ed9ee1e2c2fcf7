#ifndef KEYSPHERE_COMMON_STORE_COMMIT_AND_WAIT_H_
#define KEYSPHERE_COMMON_STORE_COMMIT_AND_WAIT_H_

#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "common/store/store.h"
#include "common/sync/mutex.h"

namespace keysphere::store {

// For tests of stores that answer on a thread of their own.
inline absl::StatusOr<Revision> CommitAndWait(Store* store, Transaction transaction) {
  sync::Mutex mutex;
  sync::CondVar answered;
  absl::optional<absl::StatusOr<Revision>> answer;
  store->Commit(std::move(transaction), [&](absl::StatusOr<Revision> result) {
    sync::MutexLock lock(&mutex);
    answer = std::move(result);
    answered.SignalAll();
  });
  sync::MutexLock lock(&mutex);
  while (!answer.has_value()) answered.Wait(&mutex);
  return *answer;
}

}  // namespace keysphere::store

#endif  // KEYSPHERE_COMMON_STORE_COMMIT_AND_WAIT_H_
