#include "common/rpc/page_links.h"

#include <utility>

namespace keysphere::rpc {
namespace {

LinkFault FaultOf(const clock::page::LinkState& state) {
  LinkFault fault;
  // Nobody hears at a process that is down or paused. One that died while a call was under way is
  // another thing: its connection breaks, and the caller hears that.
  fault.cut_request = state.out.cut || state.stopped || !state.live;
  fault.cut_reply = state.back.cut || state.stopped;
  fault.delay = state.out.delay + state.back.delay;
  return fault;
}

}  // namespace

PageLinks::~PageLinks() { clock_->OnLinksChanged(nullptr); }

int PageLinks::SlotOf(const std::string& peer) {
  {
    sync::MutexLock lock(&slots_mutex_);
    const auto known = slots_.find(peer);
    if (known != slots_.end()) return known->second;
  }
  const int slot = clock_->links().SlotOf(peer);
  // Who is no participant may become one.
  if (slot < 0) return slot;
  sync::MutexLock lock(&slots_mutex_);
  slots_[peer] = slot;
  return slot;
}

LinkFault PageLinks::Current(const std::string& peer) {
  return FaultOf(clock_->links().Lookup(SlotOf(peer)));
}

LinkFault PageLinks::Next(const std::string& peer) {
  const int slot = SlotOf(peer);
  LinkFault fault = FaultOf(clock_->links().Lookup(slot));
  fault.fail = clock_->links().TakeFailure(slot);
  return fault;
}

LinkFaultSource::ListenerId PageLinks::AddListener(std::function<void()> changed) {
  bool subscribe = false;
  ListenerId id = 0;
  {
    sync::MutexLock lock(&mutex_);
    id = ++last_;
    listeners_[id] = std::move(changed);
    subscribe = !subscribed_;
    subscribed_ = true;
  }
  if (subscribe) clock_->OnLinksChanged([this] { OnChanged(); });
  return id;
}

void PageLinks::RemoveListener(ListenerId id) {
  sync::MutexLock lock(&mutex_);
  listeners_.erase(id);
  // A listener may itself be what ends its owner.
  while (calling_ == id && calling_thread_ != std::this_thread::get_id()) called_.Wait(&mutex_);
}

void PageLinks::OnChanged() {
  ListenerId done = 0;
  while (true) {
    std::function<void()> listener;
    {
      sync::MutexLock lock(&mutex_);
      const auto next = listeners_.upper_bound(done);
      if (next == listeners_.end()) return;
      done = calling_ = next->first;
      calling_thread_ = std::this_thread::get_id();
      listener = next->second;
    }
    listener();
    listener = nullptr;
    sync::MutexLock lock(&mutex_);
    calling_ = 0;
    called_.SignalAll();
  }
}

}  // namespace keysphere::rpc
