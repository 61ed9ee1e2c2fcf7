#ifndef KEYSPHERE_COMMON_RPC_CHANNEL_H_
#define KEYSPHERE_COMMON_RPC_CHANNEL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/identity/certificate.h"
#include "common/identity/credentials.h"
#include "common/identity/identity.h"
#include "common/rpc/link_faults.h"
#include "common/sync/mutex.h"
#include "keysphere/v1/errors.pb.h"

namespace grpc {
class Channel;
}

namespace keysphere::rpc {

namespace internal {
class OutgoingCall;
}

struct ChannelOptions {
  std::string target;  // "ipv4:127.3.0.1:8989"
  // Whom we mean: any other answer at the address is refused in the handshake, before a byte of a
  // message (a recycled port could hand a key to the wrong host).
  identity::Identity peer;
  identity::Credentials credentials;  // the own ones
  clock::Clock* clock = nullptr;      // outlives every channel
  // What the server is told that the client dialled; empty: target without "ipv4:". S3 asks for a
  // fully qualified domain name.
  std::string authority;
  // What a peer that does not answer is called, e.g. REASON_HOST_NOT_RESPONDING.
  v1::Reason unreachable = v1::REASON_UNREACHABLE;

  // With simulated time: deadlines are timers on the clock, and gRPC's own is a guard on wall time.
  bool simulated_time = false;
  LinkFaultSource* link_faults = nullptr;     // outlives every channel
  StreamCounters* stream_counters = nullptr;  // outlives every channel
};

// The connection to one peer, made when first used and again after it broke (100 ms between
// attempts). Calls are made by Client<Service>. Thread safe.
class Channel : public std::enable_shared_from_this<Channel> {
 public:
  // CERT_EXPIRED, CERT_UNTRUSTED: the own certificate does not serve; gRPC would tell no more than
  // "Socket closed".
  static absl::StatusOr<std::shared_ptr<Channel>> Create(ChannelOptions options);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  const ChannelOptions& options() const { return options_; }
  clock::Clock* clock() const { return options_.clock; }
  const std::shared_ptr<grpc::Channel>& grpc_channel() const { return channel_; }

  // Ends all calls under way with `status`, streams too: nobody waits for this peer any more.
  void EndCalls(const absl::Status& status);

  // For OutgoingCall.
  absl::Status CheckOwnCertificate() const;
  LinkFault NextFault() const;
  LinkFault CurrentFault() const;
  void AddCall(const std::shared_ptr<internal::OutgoingCall>& call);
  void RemoveCall(internal::OutgoingCall* call);

 private:
  Channel(ChannelOptions options, identity::CertificateInfo own);
  void Connect();
  // The peer is another than the one meant: every call that waits for it ends with that.
  void OnPeerRefused(const absl::Status& status);
  void OnFaultsChanged();
  std::vector<std::shared_ptr<internal::OutgoingCall>> Calls();

  ChannelOptions options_;  // the private key is dropped after Connect
  const identity::CertificateInfo own_;
  const std::string link_name_;
  std::shared_ptr<grpc::Channel> channel_;
  LinkFaultSource::ListenerId listener_ = 0;
  sync::Mutex mutex_;
  absl::flat_hash_map<internal::OutgoingCall*, std::weak_ptr<internal::OutgoingCall>> calls_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace keysphere::rpc

#endif  // KEYSPHERE_COMMON_RPC_CHANNEL_H_
