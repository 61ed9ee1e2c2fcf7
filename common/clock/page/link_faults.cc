#include "common/clock/page/link_faults.h"

#include <sched.h>

namespace keysphere::clock::page {
namespace {

// Reads of a table that a master, killed while it wrote, left odd.
constexpr int kMaxRetries = 1000;

bool Matches(uint32_t entry, int slot) {
  return entry == static_cast<uint32_t>(slot) + 1 || entry == kAnySlot + 1;
}

void Merge(const Link& link, LinkFault* fault) {
  fault->cut |= link.cut.load() != 0;
  fault->delay += absl::Nanoseconds(link.delay_ns.load());
  fault->fail_next += link.fail_next.load();
}

}  // namespace

void LinkFaults::Read(int peer, LinkState* state) const {
  *state = LinkState();
  const uint32_t flags = page_->slot(peer).flags;
  state->live = (flags & (kLive | kStarting | kEnding)) == kLive;
  state->stopped = (flags & kStopped) != 0;
  for (int i = 0; i < page_->used_links(); ++i) {
    const Link& link = page_->link(i);
    const uint32_t from = link.from;
    if (from == 0) continue;
    const uint32_t to = link.to;
    if (Matches(from, self_) && Matches(to, peer)) Merge(link, &state->out);
    if (Matches(from, peer) && Matches(to, self_)) Merge(link, &state->back);
  }
  state->back.fail_next = 0;
}

LinkState LinkFaults::Lookup(int peer) const {
  LinkState state;
  if (peer < 0 || peer >= page_->slot_count()) return state;
  const FutexWord& sequence = page_->header().links_sequence;
  for (int i = 0; i < kMaxRetries; ++i) {
    const uint32_t before = sequence;
    Read(peer, &state);
    if (before % 2 == 0 && sequence == before) break;
    sched_yield();
  }
  return state;
}

bool LinkFaults::TakeFailure(int peer) const {
  if (peer < 0 || peer >= page_->slot_count()) return false;
  for (int i = 0; i < page_->used_links(); ++i) {
    Link& link = page_->link(i);
    if (!Matches(link.from, self_) || !Matches(link.to, peer)) continue;
    uint32_t left = link.fail_next;
    while (left > 0) {
      if (link.fail_next.compare_exchange_weak(left, left - 1)) return true;
    }
  }
  return false;
}

}  // namespace keysphere::clock::page
