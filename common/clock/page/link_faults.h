#ifndef KEYSPHERE_COMMON_CLOCK_PAGE_LINK_FAULTS_H_
#define KEYSPHERE_COMMON_CLOCK_PAGE_LINK_FAULTS_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/clock/page/page_file.h"

namespace keysphere::clock::page {

constexpr int kAnySlot = 0xfffe;  // as `from` or `to` of a link: every slot

// One direction of a link, as the faults have made it.
struct LinkFault {
  bool cut = false;
  absl::Duration delay;
  uint32_t fail_next = 0;  // this many calls fail at once (UNAVAILABLE)
};

// What a caller must know about the way to a peer.
struct LinkState {
  LinkFault out;         // requests: from the caller to the peer
  LinkFault back;        // answers: from the peer to the caller (fail_next is 0)
  bool live = true;      // a process runs in the peer's slot, is READY and is not ending
  bool stopped = false;  // it is paused
  // A call has to be parked, without a busy token, until this changes or its deadline comes.
  bool blocked() const { return out.cut || back.cut || stopped || !live; }
};

// Reads the link faults of a page for the process in `self`. Lock-free and thread safe.
class LinkFaults {
 public:
  LinkFaults(const PageFile* page, int self) : page_(page), self_(self) {}

  // The slot of the process of this name ("host/esx-3"); -1: no participant, so without faults.
  // Looks through all slots: keep the answer.
  int SlotOf(absl::string_view name) const { return page_->SlotOf(name); }
  // The way to `peer`, faults of several matching entries together: cut if one cuts, delays summed.
  // For -1: no faults.
  LinkState Lookup(int peer) const;
  // Takes one of the failures that the way to `peer` has left. False: none; the call goes on.
  bool TakeFailure(int peer) const;

 private:
  void Read(int peer, LinkState* state) const;

  const PageFile* const page_;
  const int self_;
};

}  // namespace keysphere::clock::page

#endif  // KEYSPHERE_COMMON_CLOCK_PAGE_LINK_FAULTS_H_
