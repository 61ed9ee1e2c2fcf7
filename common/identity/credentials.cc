#include "common/identity/credentials.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/identity/openssl.h"
#include "common/status/status.h"

namespace keysphere::identity {
namespace {

constexpr size_t kMaxPemFile = 1 << 20;

absl::Status FileError(absl::string_view verb, const std::string& path, int error) {
  v1::Reason reason = v1::REASON_STORAGE_ERROR;
  if (error == ENOENT) reason = v1::REASON_NOT_FOUND;
  if (error == ENOSPC || error == EDQUOT) reason = v1::REASON_STORAGE_FULL;
  if (error == EROFS || error == EACCES) reason = v1::REASON_STORAGE_READ_ONLY;
  return status::Error(
      reason, absl::StrCat("cannot ", verb, " ", status::Quote(path), ": ", std::strerror(error)));
}

// An open file descriptor.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  const int fd_;
};

int OpenForWrite(const std::string& path) {
  return open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
}

absl::Status WriteAndSync(const std::string& path, absl::string_view bytes) {
  const Fd file(OpenForWrite(path));
  if (file.get() < 0 || fchmod(file.get(), 0600) != 0) return FileError("write", path, errno);
  while (!bytes.empty()) {
    const ssize_t written = write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError("write", path, errno);
    bytes.remove_prefix(written);
  }
  if (fsync(file.get()) != 0) return FileError("sync", path, errno);
  return absl::OkStatus();
}

}  // namespace

SecretPem::SecretPem(SecretPem&& other) noexcept : bytes_(std::move(other.bytes_)) {
  other.bytes_.clear();
}
SecretPem& SecretPem::operator=(SecretPem&& other) noexcept {
  if (this != &other) {
    Wipe();
    bytes_ = std::move(other.bytes_);
    other.bytes_.clear();
  }
  return *this;
}
SecretPem::~SecretPem() { Wipe(); }
void SecretPem::Wipe() {
  if (!bytes_.empty()) OPENSSL_cleanse(bytes_.data(), bytes_.size());
}

CredentialFiles CredentialFiles::In(absl::string_view dir, absl::string_view stem) {
  return CredentialFiles{absl::StrCat(dir, "/ca.crt"), absl::StrCat(dir, "/", stem, ".crt"),
                         absl::StrCat(dir, "/", stem, ".key")};
}

absl::StatusOr<SecretPem> ReadPemFile(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return FileError("read", path, errno);
  struct stat info = {};
  if (fstat(file.get(), &info) != 0) return FileError("read", path, errno);
  if (!S_ISREG(info.st_mode) || static_cast<size_t>(info.st_size) > kMaxPemFile) {
    return status::Error(v1::REASON_CERT_UNTRUSTED,
                         absl::StrCat("not a PEM file: ", status::Quote(path)));
  }
  std::vector<char> bytes(info.st_size);
  size_t length = 0;
  int error = 0;
  while (length < bytes.size()) {
    const ssize_t got = read(file.get(), bytes.data() + length, bytes.size() - length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) error = errno;
    if (got <= 0) break;
    length += got;
  }
  SecretPem pem(absl::string_view(bytes.data(), length));
  if (!bytes.empty()) OPENSSL_cleanse(bytes.data(), bytes.size());
  if (error != 0) return FileError("read", path, error);
  return pem;
}

absl::Status WritePemFile(const std::string& path, absl::string_view pem) {
  const std::string temporary = absl::StrCat(path, ".new");
  absl::Status written = WriteAndSync(temporary, pem);
  if (written.ok() && rename(temporary.c_str(), path.c_str()) != 0) {
    written = FileError("write", path, errno);
  }
  if (!written.ok()) {
    unlink(temporary.c_str());
    return written;
  }
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Fd directory(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || fsync(directory.get()) != 0) return FileError("sync", folder, errno);
  return absl::OkStatus();
}

absl::StatusOr<Credentials> Credentials::Load(const CredentialFiles& files) {
  Credentials credentials;
  KS_ASSIGN_OR_RETURN(const SecretPem ca, ReadPemFile(files.ca));
  KS_ASSIGN_OR_RETURN(const SecretPem certificate, ReadPemFile(files.certificate));
  KS_ASSIGN_OR_RETURN(credentials.key_pem, ReadPemFile(files.key));
  credentials.ca_pem = std::string(ca.view());
  credentials.certificate_pem = std::string(certificate.view());

  const std::vector<X509Ptr> chain = ParseCertificates(certificate.view());
  const KeyPtr key = ParseKey(credentials.key_pem.view());
  if (chain.empty() || key == nullptr || X509_check_private_key(chain[0].get(), key.get()) != 1) {
    return status::Error(
        v1::REASON_CERT_UNTRUSTED,
        absl::StrCat("not a certificate and its key: ", status::Quote(files.certificate), " and ",
                     status::Quote(files.key)));
  }
  if (ParseCertificates(ca.view()).empty()) {
    return status::Error(v1::REASON_CERT_UNTRUSTED,
                         absl::StrCat("not a certificate in PEM: ", status::Quote(files.ca)));
  }
  return credentials;
}

absl::Status Credentials::Write(const CredentialFiles& files) const {
  KS_RETURN_IF_ERROR(WritePemFile(files.ca, ca_pem));
  KS_RETURN_IF_ERROR(WritePemFile(files.key, key_pem.view()));
  return WritePemFile(files.certificate, certificate_pem);
}

Credentials Credentials::Clone() const {
  return Credentials{ca_pem, certificate_pem, SecretPem(key_pem.view())};
}

}  // namespace keysphere::identity
