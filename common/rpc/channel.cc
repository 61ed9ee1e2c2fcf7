#include "common/rpc/channel.h"

#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/grpc_init.h"
#include "common/rpc/limits.h"
#include "common/rpc/outgoing_call.h"
#include "common/rpc/peer_check.h"
#include "common/status/status.h"

namespace keysphere::rpc {
namespace {

constexpr int kReconnectBackoffMs = 100;
// How long one attempt to connect may take, TLS included.
constexpr int kConnectTimeoutMs = 5000;

grpc::ChannelArguments ArgumentsOf(const ChannelOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  // gRPC's own backoff knows wall time alone, and would hide a restarted peer for many seconds;
  // backing off is the domain's, on the Clock.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectBackoffMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectBackoffMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);
  // A connection belongs to one channel: it was made with that channel's certificate and check.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (!options.authority.empty()) {
    arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, options.authority);
  }
  return arguments;
}

}  // namespace

Channel::Channel(ChannelOptions options, identity::CertificateInfo own)
    : options_(std::move(options)), own_(std::move(own)), link_name_(LinkName(options_.peer)) {}

absl::StatusOr<std::shared_ptr<Channel>> Channel::Create(ChannelOptions options) {
  InitGrpc();
  KeepGrpcRunning();
  const identity::Credentials& own = options.credentials;
  KS_ASSIGN_OR_RETURN(
      identity::CertificateInfo info,
      identity::CheckCertificate(own.certificate_pem, own.ca_pem, options.clock->Now()));
  std::shared_ptr<Channel> channel(new Channel(std::move(options), std::move(info)));
  channel->Connect();
  return channel;
}

void Channel::Connect() {
  const std::weak_ptr<Channel> weak = weak_from_this();
  const identity::Identity expected = options_.peer;
  grpc::experimental::TlsChannelCredentialsOptions tls;
  tls.set_certificate_provider(NewCertificateProvider(options_.credentials));
  tls.watch_root_certs();
  tls.watch_identity_key_cert_pairs();
  // The name in the certificate that counts is the URI, which gRPC does not compare.
  tls.set_check_call_host(false);
  tls.set_certificate_verifier(NewPeerVerifier(
      options_.clock,
      [expected](const identity::Identity& peer) -> absl::Status {
        if (peer == expected) return absl::OkStatus();
        return status::Error(v1::REASON_CERT_UNTRUSTED,
                             absl::StrCat("expected ", expected.ToUri(), ", but there answers ",
                                          peer.ToUri()))
            .NextStep("Check the address: another process has it.");
      },
      // In gRPC's handshake, which holds its lock: the channel must not even be locked here, since
      // it might then end here, and with it the handshake.
      [weak, clock = options_.clock](const absl::Status& refusal) {
        clock->RunAt(clock->Now(), [weak, refusal] {
          if (const std::shared_ptr<Channel> self = weak.lock()) self->OnPeerRefused(refusal);
        });
      }));
  channel_ = grpc::CreateCustomChannel(options_.target, grpc::experimental::TlsCredentials(tls),
                                       ArgumentsOf(options_));
  options_.credentials.key_pem = identity::SecretPem();

  if (options_.link_faults == nullptr) return;
  listener_ = options_.link_faults->AddListener([weak] {
    if (const std::shared_ptr<Channel> self = weak.lock()) self->OnFaultsChanged();
  });
}

Channel::~Channel() {
  if (listener_ != 0) options_.link_faults->RemoveListener(listener_);
}

absl::Status Channel::CheckOwnCertificate() const {
  return identity::CheckValidity(own_, clock()->Now());
}

LinkFault Channel::NextFault() const {
  return options_.link_faults == nullptr ? LinkFault() : options_.link_faults->Next(link_name_);
}

LinkFault Channel::CurrentFault() const {
  return options_.link_faults == nullptr ? LinkFault() : options_.link_faults->Current(link_name_);
}

void Channel::AddCall(const std::shared_ptr<internal::OutgoingCall>& call) {
  sync::MutexLock lock(&mutex_);
  calls_[call.get()] = call;
}

void Channel::RemoveCall(internal::OutgoingCall* call) {
  sync::MutexLock lock(&mutex_);
  calls_.erase(call);
}

std::vector<std::shared_ptr<internal::OutgoingCall>> Channel::Calls() {
  std::vector<std::shared_ptr<internal::OutgoingCall>> calls;
  sync::MutexLock lock(&mutex_);
  for (const auto& [unused, weak] : calls_) {
    if (std::shared_ptr<internal::OutgoingCall> call = weak.lock())
      calls.push_back(std::move(call));
  }
  return calls;
}

void Channel::OnPeerRefused(const absl::Status& status) {
  // There is one connection, and it was just refused: no call of this channel is under way.
  EndCalls(status);
}

void Channel::EndCalls(const absl::Status& status) {
  for (const auto& call : Calls()) call->EndUnanswered(status);
}

void Channel::OnFaultsChanged() {
  for (const auto& call : Calls()) call->OnFaultsChanged();
}

}  // namespace keysphere::rpc
