#include "common/clock/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>

namespace keysphere::clock {

static_assert(sizeof(FutexWord) == 4 && FutexWord::is_always_lock_free, "a futex is 4 bytes");

void FutexWait(FutexWord* word, uint32_t expected, absl::Time deadline) {
  const bool forever = deadline == absl::InfiniteFuture();
  const timespec until = absl::ToTimespec(deadline);
  if (!forever && until.tv_sec < 0) return;
  syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, expected,
          forever ? nullptr : &until, nullptr, FUTEX_BITSET_MATCH_ANY);
}

void FutexWakeAll(FutexWord* word) {
  syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace keysphere::clock
