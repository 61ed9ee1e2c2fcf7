#ifndef KEYSPHERE_COMMON_CLOCK_FUTEX_H_
#define KEYSPHERE_COMMON_CLOCK_FUTEX_H_

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

namespace keysphere::clock {

using FutexWord = std::atomic<uint32_t>;

// Sleeps while `*word` is `expected`, at most until `deadline` of the machine's wall time
// (InfiniteFuture: for ever). May return early: check the condition. Works across processes that
// map the word.
void FutexWait(FutexWord* word, uint32_t expected, absl::Time deadline);

// Wakes everybody who sleeps on `word`, which was changed before.
void FutexWakeAll(FutexWord* word);

}  // namespace keysphere::clock

#endif  // KEYSPHERE_COMMON_CLOCK_FUTEX_H_
