#ifndef KEYSPHERE_COMMON_RPC_LINK_FAULTS_H_
#define KEYSPHERE_COMMON_RPC_LINK_FAULTS_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/time/time.h"

namespace keysphere::rpc {

// What is wrong with the way to a peer. Applied at the caller, on simulated time.
struct LinkFault {
  // Nothing reaches the peer, or it is stopped or not running: calls wait, without a busy token,
  // until the link heals or their deadline passes.
  bool cut_request = false;
  // The peer hears the call, its answer does not come back.
  bool cut_reply = false;
  absl::Duration delay;  // before each call is sent
  bool fail = false;     // this call ends as if nobody answered
};

// The table of link faults. Thread safe.
class LinkFaultSource {
 public:
  using ListenerId = uint64_t;

  virtual ~LinkFaultSource() = default;
  // For a call that begins; uses up one of "fail the next N". `peer` is a SPIFFE URI.
  virtual LinkFault Next(const std::string& peer) = 0;
  // As it is now; uses up nothing.
  virtual LinkFault Current(const std::string& peer) = 0;
  // Calls `changed` after each change of the table, on any thread, until removed; RemoveListener
  // returns when it no longer runs.
  virtual ListenerId AddListener(std::function<void()> changed) = 0;
  virtual void RemoveListener(ListenerId id) = 0;
};

// Counts the messages of server streams, so that simulated time waits for one under way. Both sides
// name a stream by the number that its client gave it. Thread safe.
class StreamCounters {
 public:
  virtual ~StreamCounters() = default;
  virtual void StreamSent(uint64_t stream) = 0;     // at the server, a message was accepted
  virtual void StreamHandled(uint64_t stream) = 0;  // at the client, its callback has returned
  virtual void StreamEnded(uint64_t stream) = 0;    // on either side, nothing more will come
};

}  // namespace keysphere::rpc

#endif  // KEYSPHERE_COMMON_RPC_LINK_FAULTS_H_
