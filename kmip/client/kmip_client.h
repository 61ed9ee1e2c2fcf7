#ifndef KEYSPHERE_KMIP_CLIENT_KMIP_CLIENT_H_
#define KEYSPHERE_KMIP_CLIENT_KMIP_CLIENT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "common/clock/clock.h"
#include "common/executor/executor.h"
#include "common/identity/credentials.h"
#include "common/rpc/link_faults.h"
#include "kmip/client/key_server.h"
#include "kmip/net/host_port.h"
#include "kmip/net/loop.h"

namespace keysphere::kmip::client {

struct KmipClientOptions {
  std::string host;  // an IP address or a DNS name; the server's certificate must bear it
  int port = net::kKmipPort;
  // Whom to trust: authorities, or servers' own certificates (under any name). Empty: nobody, so
  // that LastCertificate alone can be learnt.
  std::string trusted_pem;
  // Empty, with the key: none yet, so that servers refuse (NO_PERMISSION).
  std::string certificate_pem;
  identity::SecretPem key_pem;
  // User name and password for servers that want them; empty: none.
  std::string username;
  identity::SecretPem password;
  int max_connections = 4;
  // Calls under way, those included that wait for a connection or for a link to heal. More are
  // refused: OVERLOADED.
  int max_calls = 4096;
  int keys_per_request = 50;  // in a batch of GetKeys and GetStates

  // On simulated time a call in flight holds a busy token, so that its deadline comes only while
  // it is parked (the link is cut): `wall` guards it then, for 30 s. Null: `clock` is real.
  clock::Clock* wall = nullptr;
  // What is wrong with the way to the server, and under what name. May be null.
  rpc::LinkFaultSource* link_faults = nullptr;
  std::string link_name;
};

// A KeyServer over KMIP 1.1 and TLS 1.2 or 1.3. Keeps its connections and makes new ones where they
// end; one request at a time on each. A request is sent again only if it reads, and if the
// connection that it went over had been idle and ended without an answer.
class KmipClient : public KeyServer {
 public:
  // All outlive the client and its callbacks. CERT_UNTRUSTED: certificate or key are not PEM or no
  // pair. Connects when it is first needed.
  static absl::StatusOr<std::unique_ptr<KmipClient>> Create(KmipClientOptions options,
                                                            net::Loop* loop,
                                                            executor::Executor* executor,
                                                            clock::Clock* clock);
  // Ends the calls under way with CANCELLED.
  ~KmipClient() override;

  void CheckHealth(absl::Duration timeout, status::Callback<Health> done) override;
  void CreateKey(absl::Duration timeout, status::Callback<std::string> done) override;
  void AddAttributes(std::string uid, std::vector<TextAttribute> attributes, absl::Duration timeout,
                     status::DoneCallback done) override;
  void GetKeys(std::vector<std::string> uids, absl::Duration timeout,
               status::Callback<Keys> done) override;
  void Activate(std::string uid, absl::Duration timeout, status::DoneCallback done) override;
  void GetStates(std::vector<std::string> uids, absl::Duration timeout,
                 status::Callback<States> done) override;
  absl::optional<ServerCertificate> LastCertificate() override;

  // How many connections were made so far.
  int handshakes();

 private:
  explicit KmipClient(std::shared_ptr<class Pool> pool) : pool_(std::move(pool)) {}
  const std::shared_ptr<class Pool> pool_;
};

}  // namespace keysphere::kmip::client

#endif  // KEYSPHERE_KMIP_CLIENT_KMIP_CLIENT_H_
