#ifndef KEYSPHERE_COMMON_IDENTITY_CREDENTIALS_H_
#define KEYSPHERE_COMMON_IDENTITY_CREDENTIALS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/identity/identity.h"

namespace keysphere::identity {

// A private key in PEM, wiped when it goes. Move-only. (The keys of TLS; those of providers, VMs
// and disks are crypto::SecretKey.)
class SecretPem {
 public:
  SecretPem() = default;
  explicit SecretPem(absl::string_view pem) : bytes_(pem.begin(), pem.end()) {}
  SecretPem(SecretPem&& other) noexcept;
  SecretPem& operator=(SecretPem&& other) noexcept;
  ~SecretPem();

  absl::string_view view() const { return absl::string_view(bytes_.data(), bytes_.size()); }

 private:
  void Wipe();
  std::vector<char> bytes_;  // not std::string: a move must leave no copy
};

// Where a process finds what it needs for TLS. Paths of PEM files.
struct CredentialFiles {
  std::string ca;           // the certificate that all peers' certificates come from
  std::string certificate;  // the own one
  std::string key;          // its private key, mode 0600

  // DIR/ca.crt, DIR/STEM.crt, DIR/STEM.key.
  static CredentialFiles In(absl::string_view dir, absl::string_view stem);
};

// What a process needs for TLS, in memory.
struct Credentials {
  std::string ca_pem;
  std::string certificate_pem;
  SecretPem key_pem;

  // Reads the three files, and checks that key and certificate belong together.
  // NOT_FOUND, STORAGE_ERROR: a file cannot be read; CERT_UNTRUSTED: not PEM, or no pair.
  static absl::StatusOr<Credentials> Load(const CredentialFiles& files);
  // Writes the three files, 0600.
  absl::Status Write(const CredentialFiles& files) const;
  Credentials Clone() const;
};

// Reads a PEM file of at most 1 MiB.
absl::StatusOr<SecretPem> ReadPemFile(const std::string& path);
// Writes it whole or not at all (new file, fsync, rename, fsync of the folder), mode 0600.
absl::Status WritePemFile(const std::string& path, absl::string_view pem);

}  // namespace keysphere::identity

#endif  // KEYSPHERE_COMMON_IDENTITY_CREDENTIALS_H_
