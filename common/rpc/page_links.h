#ifndef KEYSPHERE_COMMON_RPC_PAGE_LINKS_H_
#define KEYSPHERE_COMMON_RPC_PAGE_LINKS_H_

#include <functional>
#include <map>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "common/clock/page/page_clock.h"
#include "common/rpc/link_faults.h"
#include "common/sync/mutex.h"

namespace keysphere::rpc {

// The link faults and stream counters of a simulated cluster, from the page that its clock maps. A
// process without channels gives it to its Gate alone, and is then not woken by link changes.
class PageLinks : public LinkFaultSource, public StreamCounters {
 public:
  // `clock` outlives it; nobody else uses its OnLinksChanged.
  explicit PageLinks(clock::page::PageClock* clock) : clock_(clock) {}
  ~PageLinks() override;

  LinkFault Next(const std::string& peer) override;
  LinkFault Current(const std::string& peer) override;
  ListenerId AddListener(std::function<void()> changed) override;
  void RemoveListener(ListenerId id) override;

  uint64_t OpenStream() override { return clock_->OpenStream(); }
  void StreamSent(uint64_t stream) override { clock_->StreamSent(stream); }
  void StreamHandled(uint64_t stream) override { clock_->StreamHandled(stream); }
  void CloseStream(uint64_t stream) override { clock_->CloseStream(stream); }

 private:
  int SlotOf(const std::string& peer);
  void OnChanged();

  clock::page::PageClock* const clock_;
  sync::Mutex slots_mutex_;
  absl::flat_hash_map<std::string, int> slots_ ABSL_GUARDED_BY(slots_mutex_);
  sync::Mutex mutex_;
  sync::CondVar called_;
  ListenerId last_ ABSL_GUARDED_BY(mutex_) = 0;
  ListenerId calling_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread::id calling_thread_ ABSL_GUARDED_BY(mutex_);
  bool subscribed_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<ListenerId, std::function<void()>> listeners_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace keysphere::rpc

#endif  // KEYSPHERE_COMMON_RPC_PAGE_LINKS_H_
