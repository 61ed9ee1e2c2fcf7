#ifndef KEYSPHERE_KMIP_CLIENT_POOL_H_
#define KEYSPHERE_KMIP_CLIENT_POOL_H_

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "common/clock/clock.h"
#include "common/executor/executor.h"
#include "common/sync/mutex.h"
#include "kmip/client/exchange.h"
#include "kmip/client/kmip_client.h"
#include "kmip/net/loop.h"
#include "kmip/net/resolver.h"
#include "kmip/net/tls.h"

namespace keysphere::kmip::client {

class ClientConnection;

// A request on its way. Lives on the loop, but for its token.
struct Call {
  // Reads the answer, which lives only inside this call, and gives what delivers it. `versions` are
  // those of the connection.
  using Answered = absl::AnyInvocable<absl::AnyInvocable<void()>(
      const messages::Response& response, const std::vector<Version>& versions)>;

  Exchange exchange;
  bool may_repeat = false;     // it only reads
  bool needs_exchange = true;  // false: a fresh connection is answer enough
  Answered answered;
  absl::AnyInvocable<void(const absl::Status&)> failed;  // called once, or never

  absl::Duration timeout;
  absl::Time deadline;
  clock::Clock::BusyToken token;
  clock::Clock::TimerId deadline_timer = clock::Clock::kNoTimer;
  clock::Clock::TimerId guard_timer = clock::Clock::kNoTimer;
  clock::Clock::TimerId delay_timer = clock::Clock::kNoTimer;
  bool delayed = false;
  bool started = false;  // it was given to the connections
  bool parked = false;   // without a token: the link is cut
  bool ended = false;
  int attempts = 0;
  ClientConnection* connection = nullptr;
  absl::AnyInvocable<void()> kept;  // how it ended while the link was cut
};

// The connections to one server, and the calls that wait for them. All on the loop, but for what
// says otherwise.
class Pool : public std::enable_shared_from_this<Pool> {
 public:
  Pool(KmipClientOptions options, net::SslCtxPtr tls, net::CertificateFacts own, net::Loop* loop,
       executor::Executor* executor, clock::Clock* clock);
  ~Pool();

  // Thread safe.
  void Submit(std::unique_ptr<Call> call);
  // Ends everything. Thread safe.
  void Close();
  absl::optional<messages::Credential> credential() const;
  executor::Executor* executor() const { return executor_; }
  const KmipClientOptions& options() const { return options_; }
  absl::optional<ServerCertificate> last_certificate();
  int handshakes();

  net::Loop* loop() const { return loop_; }
  // The address to dial, when it is known.
  const std::string& ip() const { return ip_; }
  absl::StatusOr<std::unique_ptr<net::TlsStream>> NewStream(files::Descriptor socket);

  // By connections.
  void OnHandshake(const net::TlsStream& stream);
  void OnIdle(ClientConnection* connection);
  void OnAnswer(ClientConnection* connection, const messages::Response& response);
  void OnEnded(ClientConnection* connection, const absl::Status& why, bool answer_begun);

 private:
  using CallPtr = std::shared_ptr<Call>;

  void Begin(const CallPtr& call);
  void TryStart(const CallPtr& call);
  // Gives waiting calls to connections.
  void Pump();
  void ResolveFirst();
  void Assign(const CallPtr& call, ClientConnection* connection);
  // Takes the call from its connection.
  CallPtr Release(ClientConnection* connection);
  // `outcome` ends the call, now or when the link is whole again.
  void End(const CallPtr& call, absl::AnyInvocable<void()> outcome);
  // `sent`: the server may have the request.
  void Fail(const CallPtr& call, const absl::Status& why, bool sent = true);
  void OnLinksChanged();
  clock::Clock::TimerId At(clock::Clock* clock, absl::Time when, const CallPtr& call,
                           void (Pool::*then)(const CallPtr&));
  // False: the server certainly never got the request.
  static bool MayBeSent(const Call& call);
  void OnDeadline(const CallPtr& call);
  void OnGuard(const CallPtr& call);
  void OnDelayed(const CallPtr& call);
  // End without regard to the link: the call's timers, connection and token go.
  void Deliver(const CallPtr& call, absl::AnyInvocable<void()> outcome);
  void Drop(ClientConnection* connection);
  rpc::LinkFault CurrentFault();

  const KmipClientOptions options_;
  const net::SslCtxPtr tls_;
  const net::CertificateFacts own_;
  net::Loop* const loop_;
  executor::Executor* const executor_;
  clock::Clock* const clock_;
  rpc::LinkFaultSource::ListenerId listener_ = 0;

  bool closed_ = false;
  std::string ip_;
  bool resolving_ = false;
  net::Resolver resolver_;
  std::set<CallPtr> calls_;
  std::deque<CallPtr> waiting_;
  std::map<ClientConnection*, std::shared_ptr<ClientConnection>> connections_;
  std::vector<ClientConnection*> idle_;
  std::map<ClientConnection*, CallPtr> busy_;

  sync::Mutex mutex_;
  absl::optional<ServerCertificate> certificate_ ABSL_GUARDED_BY(mutex_);
  int handshakes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace keysphere::kmip::client

#endif  // KEYSPHERE_KMIP_CLIENT_POOL_H_
