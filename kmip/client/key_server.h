#ifndef KEYSPHERE_KMIP_CLIENT_KEY_SERVER_H_
#define KEYSPHERE_KMIP_CLIENT_KEY_SERVER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/crypto/secret_key.h"
#include "common/status/callback.h"
#include "kmip/messages/enums.h"

namespace keysphere::kmip::client {

// A version of KMIP: 1.1.
struct Version {
  int major = 0;
  int minor = 0;
  friend bool operator==(const Version& a, const Version& b) {
    return a.major == b.major && a.minor == b.minor;
  }
};

using KeyState = messages::State;

// A custom attribute with a text value: {"x-Vendor", "…"}.
struct TextAttribute {
  std::string name;
  std::string value;
};

// What a key server's certificate says, of the last handshake that came so far.
struct ServerCertificate {
  std::string pem;  // of the server's certificate alone
  std::string subject;
  std::string sha256;  // of its DER form, hexadecimal
  absl::Time not_before;
  absl::Time not_after;
};

// The answer of a key server to "are you well".
struct Health {
  std::vector<Version> versions;  // by preference, as the server lists them
};

// One node of a key server. An AES-256 key is named by the unique identifier that the server gave
// it. Never revokes or destroys a key (S129).
//
// `timeout` is for the whole call on the Clock, connecting included. `done` runs once, on the
// executor that the implementation was given, never inside the call. Errors, which do not name the
// server (who asks several does):
//   KMS_UNREACHABLE          no connection, or it ended before the answer came, or the server is
//                            too busy; the request may have been carried out, unless the metadata
//                            "sent" is "false"
//   DEADLINE_EXCEEDED        no answer within `timeout`; the same
//   CERT_UNTRUSTED, CERT_EXPIRED  the server's certificate, or our own
//   KMS_VERSION_UNSUPPORTED  the server does not speak KMIP 1.1; the message names what it has
//   KMS_BAD_RESPONSE         the answer is no answer to the request (another id, another algorithm
//                            or length of key, malformed)
//   NOT_FOUND                the server has no such key (or shows it to others only)
//   INVALID_STATE            the key's state forbids it (destroyed, not pre-active, …)
//   NO_PERMISSION            the server refuses this client or its credential; with the metadata
//                            "sent" = "false" it took our certificate not even for a connection
//   OVERLOADED               too many calls are under way already; nothing was sent
//   KMS_REFUSED              any other refusal; the message holds KMIP's reason. Metadata
//                            "server_failed" = "true": a General Failure, which another node may
//                            not have
// Thread safe.
class KeyServer {
 public:
  virtual ~KeyServer() = default;

  // A connection stands (DiscoverVersions once per connection, S129) and the server answers on it.
  virtual void CheckHealth(absl::Duration timeout, status::Callback<Health> done) = 0;

  // Makes a symmetric AES-256 key for encryption and decryption, pre-active: its identifier. Not
  // repeated after an error: the server may have made a key that nobody knows.
  virtual void CreateKey(absl::Duration timeout, status::Callback<std::string> done) = 0;

  // UNSUPPORTED: the server has no Add Attribute (PyKMIP's); the key serves without them.
  virtual void AddAttributes(std::string uid, std::vector<TextAttribute> attributes,
                             absl::Duration timeout, status::DoneCallback done) = 0;

  // One answer for each of `uids`, in their order: the key (32 bytes) or why not. In batches. An
  // error of the whole call is one that concerns no single key.
  using Keys = std::vector<absl::StatusOr<crypto::SecretKey>>;
  virtual void GetKeys(std::vector<std::string> uids, absl::Duration timeout,
                       status::Callback<Keys> done) = 0;

  // Pre-active becomes active; INVALID_STATE in any other state.
  virtual void Activate(std::string uid, absl::Duration timeout, status::DoneCallback done) = 0;

  // As GetKeys.
  using States = std::vector<absl::StatusOr<KeyState>>;
  virtual void GetStates(std::vector<std::string> uids, absl::Duration timeout,
                         status::Callback<States> done) = 0;

  // Of the last handshake, refused ones included; none before the first.
  virtual absl::optional<ServerCertificate> LastCertificate() = 0;
};

}  // namespace keysphere::kmip::client

#endif  // KEYSPHERE_KMIP_CLIENT_KEY_SERVER_H_
