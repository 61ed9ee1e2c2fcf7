#ifndef KEYSPHERE_TOOLS_KEYSPHERE_STANDARD_PROVIDER_H_
#define KEYSPHERE_TOOLS_KEYSPHERE_STANDARD_PROVIDER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "keysphere/v1/key_providers.pb.h"
#include "tools/keysphere/command.h"
#include "tools/keysphere/output.h"
#include "tools/keysphere/secret.h"
#include "tools/keysphere/session.h"

namespace keysphere::cli {

// How a standard provider reaches its KMS, on a command line.
struct StandardArgs {
  std::vector<std::string> servers;
  std::string trust;
  std::string client_certificate;
  std::string client_key;
  absl::optional<std::string> user;  // "": none any more
  SecretOptions password;

  // --server, --trust, --kms-user and the password.
  void AddTo(Command* command);
  // --client-cert and --client-key.
  void AddClientTo(Command* command);
  // Whether any of them was given.
  bool any() const;
  // The caller wipes password and client_private_key. Without --server: all KMS nodes of the
  // simulated cluster, its CA and its certificate for KMIP clients.
  absl::Status Fill(Session* session, v1::StandardProviderSpec* spec) const;
  // What was given, and in `mask` what that is.
  absl::Status FillUpdate(v1::UpdateKeyProviderRequest* request) const;
};

// "HOST:PORT" or "NAME=HOST:PORT".
v1::KmsServer ParseServer(const std::string& text);

// A PEM file.
absl::StatusOr<std::string> ReadText(const std::string& file);

// What a standard provider has and a native one has not.
void AddStandardFields(const v1::StandardProviderInfo& info, Fields* fields);
// A row for each of its servers.
void PrintServers(const v1::StandardProviderInfo& info, std::ostream& out);

}  // namespace keysphere::cli

#endif  // KEYSPHERE_TOOLS_KEYSPHERE_STANDARD_PROVIDER_H_
