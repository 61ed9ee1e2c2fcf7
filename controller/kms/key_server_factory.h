#ifndef KEYSPHERE_CONTROLLER_KMS_KEY_SERVER_FACTORY_H_
#define KEYSPHERE_CONTROLLER_KMS_KEY_SERVER_FACTORY_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/crypto/secret_key.h"
#include "keysphere/v1/key_providers.pb.h"
#include "kmip/client/key_server.h"

namespace keysphere::controller::kms {

// Held by all that use it at a time, and wiped when the last lets go.
using SharedKey = std::shared_ptr<const crypto::SecretKey>;

// What a standard provider is made of, with its secrets.
struct KmsConfig {
  std::string provider;
  std::vector<v1::KmsServer> servers;  // at least one; names and addresses are complete
  std::string user_name;
  SharedKey password;                // nullptr: none
  std::string trusted_certificates;  // PEM
  std::string client_certificate;    // PEM; empty: none yet
  SharedKey client_private_key;      // PEM; nullptr: none yet
};

// Makes the way to one server of a provider. It connects when it is first asked. Fake: the nodes of
// tests/cluster, over kmip/client's FakeKeyServer.
class KeyServerFactory {
 public:
  virtual ~KeyServerFactory() = default;
  // INVALID_ARGUMENT, CERT_UNTRUSTED where the configuration cannot serve.
  virtual absl::StatusOr<std::unique_ptr<kmip::client::KeyServer>> Connect(
      const KmsConfig& config, const v1::KmsServer& server) = 0;
};

}  // namespace keysphere::controller::kms

#endif  // KEYSPHERE_CONTROLLER_KMS_KEY_SERVER_FACTORY_H_
