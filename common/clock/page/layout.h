#ifndef KEYSPHERE_COMMON_CLOCK_PAGE_LAYOUT_H_
#define KEYSPHERE_COMMON_CLOCK_PAGE_LAYOUT_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>

#include "absl/strings/string_view.h"
#include "common/clock/futex.h"

// What the page of simulated time holds: a header, then for each slot (one process) the fields that
// are scanned and those that are only shown, then the streams, then the link faults. Everything is
// a lock-free atomic in memory that several processes map; zero bytes are the initial state unless
// said otherwise. Times are nanoseconds since the Unix epoch.
namespace keysphere::clock::page {

constexpr uint64_t kMagic = 0x31636b6c63736b65;  // "ekscklc1"
constexpr uint32_t kVersion = 1;
constexpr int kMaxSlots = 4096;
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// A text that is written while others read it: they may see a mixture, never a race.
template <size_t kWords>
class AtomicText {
 public:
  void Set(absl::string_view text) {
    for (size_t i = 0; i < kWords; ++i) {
      uint64_t word = 0;
      const size_t begin = i * 8;
      if (begin < text.size()) {
        std::memcpy(&word, text.data() + begin, std::min<size_t>(8, text.size() - begin));
      }
      words_[i].store(word, std::memory_order_relaxed);
    }
  }
  std::string Get() const {
    char bytes[kWords * 8];
    for (size_t i = 0; i < kWords; ++i) {
      const uint64_t word = words_[i].load(std::memory_order_relaxed);
      std::memcpy(bytes + i * 8, &word, 8);
    }
    return std::string(bytes, strnlen(bytes, sizeof(bytes)));
  }

 private:
  std::array<std::atomic<uint64_t>, kWords> words_;
};

struct Header {
  std::atomic<uint64_t> magic;  // written last
  std::atomic<uint32_t> version;
  std::atomic<uint32_t> slots;
  std::atomic<uint32_t> streams;
  std::atomic<uint32_t> links;
  // Entries from here on were never used: scans end there.
  std::atomic<uint32_t> used_slots;
  std::atomic<uint32_t> used_streams;
  std::atomic<uint32_t> used_links;
  std::atomic<int64_t> now_ns;
  std::atomic<double> rate;  // virtual seconds a real second; 0: time stands still
  // A seqlock over the link table and the flags of slots: odd while the master writes.
  FutexWord links_sequence;
  // The master sleeps on `activity`; who may have made the cluster quiet wakes it if it waits.
  FutexWord activity;
  std::atomic<uint32_t> master_waits;
};

enum SlotFlag : uint32_t {
  kLive = 1,          // a process has it open
  kStopped = 2,       // it is paused: time does not wait for it
  kStarting = 4,      // it was spawned and is not READY: time waits for it
  kWatchesLinks = 8,  // it is woken, and waited for, when links change
  kEnding = 16        // it was told to end: nobody should begin to speak to it
};

struct alignas(64) Slot {
  std::atomic<int64_t> skew_ns;           // this process' now is the page's plus this
  std::atomic<int64_t> next_deadline_ns;  // of its first timer, in its own time; initially kNever
  std::atomic<uint64_t> epoch;            // rises whenever busy leaves 0
  std::atomic<uint32_t> busy;
  std::atomic<uint32_t> flags;       // SlotFlag
  FutexWord wake;                    // rises when its timer thread has to look
  std::atomic<uint32_t> links_seen;  // the links_sequence that it has acted on
  std::atomic<int32_t> pid;
};
static_assert(sizeof(Slot) == 64, "one cache line a slot");

constexpr int kTokens = 12;  // kinds of busy tokens that a process tells apart; the last: the rest

struct SlotText {
  AtomicText<12> name;
  std::array<AtomicText<4>, kTokens> what;
  std::array<std::atomic<uint32_t>, kTokens> count;
};

struct Stream {
  // Generation (32 bits, rises with each use) and messages in flight (32 bits) in one word, so that
  // a late sender cannot touch the stream that came after its own.
  std::atomic<uint64_t> state;
  std::atomic<uint32_t> owner;   // slot + 1 of who opened it; 0: free
  std::atomic<uint32_t> sender;  // slot + 1 of who sent last; 0: nobody
};

struct Link {
  std::atomic<uint32_t> from;  // slot + 1, or kAnySlot + 1; 0: the entry is free
  std::atomic<uint32_t> to;
  std::atomic<uint32_t> cut;
  std::atomic<uint32_t> fail_next;  // this many calls fail
  std::atomic<int64_t> delay_ns;
};

static_assert(std::atomic<uint64_t>::is_always_lock_free &&
                  std::atomic<double>::is_always_lock_free,
              "the page is shared between processes");

}  // namespace keysphere::clock::page

#endif  // KEYSPHERE_COMMON_CLOCK_PAGE_LAYOUT_H_
