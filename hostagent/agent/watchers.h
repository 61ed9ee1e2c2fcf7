#ifndef KEYSPHERE_HOSTAGENT_AGENT_WATCHERS_H_
#define KEYSPHERE_HOSTAGENT_AGENT_WATCHERS_H_

#include <cstdint>
#include <map>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "keysphere/host/v1/host_management.pb.h"

namespace keysphere::hostagent::agent {

// A watcher's end of WatchHost. Both run on the host's strand and must not call the host back.
struct WatchSink {
  // False: it takes no more (gone, or too slow): it is dropped.
  absl::AnyInvocable<bool(const host::v1::HostEvent&)> on_event;
  // The host ended it; not called after on_event said false or the watcher cancelled.
  absl::AnyInvocable<void(absl::Status)> on_end;
};

// Who watches a host. A controller has one watch: a new one ends the former. On one strand.
class Watchers {
 public:
  // `snapshot` becomes its first message.
  void Add(uint64_t id, WatchSink sink, host::v1::HostEvent snapshot);
  void Remove(uint64_t id);
  void EndAll(const absl::Status& why);

  // Whether anybody would see an event: messages need not be made for nobody.
  bool empty() const { return sinks_.empty(); }
  // Numbers the event and hands it out.
  void Publish(host::v1::HostEvent event);

 private:
  std::map<uint64_t, WatchSink> sinks_;
  int64_t sequence_ = 0;
};

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_WATCHERS_H_
