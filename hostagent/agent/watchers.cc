#include "hostagent/agent/watchers.h"

#include <utility>

#include "common/status/status.h"

namespace keysphere::hostagent::agent {

void Watchers::Add(uint64_t id, WatchSink sink, host::v1::HostEvent snapshot) {
  EndAll(status::Error(v1::REASON_CANCELLED, "the controller began a new watch"));
  snapshot.set_sequence(++sequence_);
  if (sink.on_event(snapshot)) sinks_.emplace(id, std::move(sink));
}

void Watchers::Remove(uint64_t id) { sinks_.erase(id); }

void Watchers::EndAll(const absl::Status& why) {
  std::map<uint64_t, WatchSink> ended = std::move(sinks_);
  sinks_.clear();
  for (auto& [id, sink] : ended) sink.on_end(why);
}

void Watchers::Publish(host::v1::HostEvent event) {
  event.set_sequence(++sequence_);
  for (auto it = sinks_.begin(); it != sinks_.end();) {
    it = it->second.on_event(event) ? std::next(it) : sinks_.erase(it);
  }
}

}  // namespace keysphere::hostagent::agent
