#ifndef KEYSPHERE_COMMON_RPC_LINK_FAULTS_H_
#define KEYSPHERE_COMMON_RPC_LINK_FAULTS_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/identity/identity.h"

namespace keysphere::rpc {

// What is wrong with the way to a peer. Applied at the caller, on simulated time.
struct LinkFault {
  // Nothing reaches the peer, or it is stopped or not running: calls wait, without a busy token,
  // until the link heals or their deadline passes.
  bool cut_request = false;
  // The peer hears the call; its answer does not come back until the link heals.
  bool cut_reply = false;
  absl::Duration delay;  // before each call is sent
  bool fail = false;     // this call ends as if nobody answered
};

// "host/esx-3": how the table names a process.
inline std::string LinkName(const identity::Identity& identity) {
  return absl::StrCat(identity::KindName(identity.kind), "/", identity.name);
}

// The table of link faults. Thread safe.
class LinkFaultSource {
 public:
  using ListenerId = uint64_t;

  virtual ~LinkFaultSource() = default;
  // For a call that begins; uses up one of "fail the next N". `peer` is as LinkName() makes it.
  virtual LinkFault Next(const std::string& peer) = 0;
  // As it is now; uses up nothing.
  virtual LinkFault Current(const std::string& peer) = 0;
  // Calls `changed` after each change of the table, on any thread, until removed; RemoveListener
  // returns when it no longer runs, unless it is called in it.
  virtual ListenerId AddListener(std::function<void()> changed) = 0;
  virtual void RemoveListener(ListenerId id) = 0;
};

// Counts the messages of server streams, so that simulated time waits for one under way: what was
// sent and not handled, until the stream is closed. Thread safe.
class StreamCounters {
 public:
  virtual ~StreamCounters() = default;
  // At the client: a number by which both sides name the stream; 0: it is not counted.
  virtual uint64_t OpenStream() = 0;
  // At the server: a message, or the end, was queued.
  virtual void StreamSent(uint64_t stream) = 0;
  // At the client, which holds a busy token: a message has come.
  virtual void StreamHandled(uint64_t stream) = 0;
  // At the client, likewise: the end has come, and with it all that was sent.
  virtual void CloseStream(uint64_t stream) = 0;
};

}  // namespace keysphere::rpc

#endif  // KEYSPHERE_COMMON_RPC_LINK_FAULTS_H_
