#ifndef KEYSPHERE_CONTROLLER_API_KMIP_KEY_SERVERS_H_
#define KEYSPHERE_CONTROLLER_API_KMIP_KEY_SERVERS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "common/daemon/daemon.h"
#include "controller/kms/key_server_factory.h"
#include "kmip/net/loop.h"

namespace keysphere::controller::api {

// Ways to key servers over KMIP and TLS, of this process. Outlives them. Their one thread begins
// with the first.
class KmipKeyServers : public kms::KeyServerFactory {
 public:
  explicit KmipKeyServers(daemon::Daemon* daemon) : daemon_(daemon) {}

  absl::StatusOr<std::unique_ptr<kmip::client::KeyServer>> Connect(
      const kms::KmsConfig& config, const v1::KmsServer& server) override;

 private:
  daemon::Daemon* const daemon_;
  std::unique_ptr<kmip::net::Loop> loop_;
};

}  // namespace keysphere::controller::api

#endif  // KEYSPHERE_CONTROLLER_API_KMIP_KEY_SERVERS_H_
