#include "kmip/net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/epoll.h>

#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/identity/openssl.h"
#include "common/status/status.h"

namespace keysphere::kmip::net {
namespace {

absl::Status Untrusted(absl::string_view what) {
  return status::Error(v1::REASON_CERT_UNTRUSTED, what);
}

// Fetched errors would otherwise be taken for those of the next call.
std::string LastError() {
  const unsigned long code = ERR_peek_last_error();
  const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return reason == nullptr ? "unknown error" : reason;
}

// The alerts by which a peer tells that it does not take our certificate (RFC 8446, 6.2).
bool IsRefusalOfOurs(unsigned long code, bool has_own) {
  constexpr int kAlertOffset = 1000;  // OpenSSL's reason is the alert above it
  switch (ERR_GET_REASON(code) - kAlertOffset) {
    case 42:   // bad_certificate
    case 43:   // unsupported_certificate
    case 44:   // certificate_revoked
    case 45:   // certificate_expired
    case 46:   // certificate_unknown
    case 48:   // unknown_ca
    case 49:   // access_denied
    case 116:  // certificate_required
      return true;
    case 40:  // handshake_failure: how TLS 1.2 tells that it wanted a certificate
      return !has_own;
    default:
      return false;
  }
}

absl::Status LoadOwn(SSL_CTX* context, const TlsFiles& files) {
  const auto chain = identity::ParseCertificates(files.certificate_pem);
  const identity::KeyPtr key = identity::ParseKey(files.key_pem);
  if (chain.empty()) return Untrusted("the own certificate is not PEM");
  if (key == nullptr) return Untrusted("the own private key is not PEM");
  if (SSL_CTX_use_certificate(context, chain[0].get()) != 1 ||
      SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    return Untrusted(absl::StrCat("own certificate and private key: ", LastError()));
  }
  for (size_t i = 1; i < chain.size(); ++i) {
    SSL_CTX_add1_chain_cert(context, chain[i].get());
  }
  return absl::OkStatus();
}

absl::Status LoadTrusted(SSL_CTX* context, const TlsFiles& files, bool is_server) {
  if (files.trusted_pem.empty()) return absl::OkStatus();
  const auto trusted = identity::ParseCertificates(files.trusted_pem);
  if (trusted.empty()) return Untrusted("the trusted certificates are not PEM");
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  for (const identity::X509Ptr& one : trusted) {
    X509_STORE_add_cert(store, one.get());
    if (is_server) SSL_CTX_add_client_CA(context, one.get());
  }
  // A certificate that is listed itself needs no issuer.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  ERR_clear_error();
  return absl::OkStatus();
}

}  // namespace

int VerifyPeer(X509_STORE_CTX* store, void* /*argument*/) {
  auto* const ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  return static_cast<TlsStream*>(SSL_get_app_data(ssl))->Verify(store) ? 1 : 0;
}

namespace {

absl::StatusOr<SslCtxPtr> NewContext(const SSL_METHOD* method, const TlsFiles& files,
                                     bool is_server) {
  SslCtxPtr context(SSL_CTX_new(method));
  if (context == nullptr) return Untrusted(LastError());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_options(context.get(),
                      SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
  // Every connection shows its certificate anew.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context.get(), 0);
  const bool has_own = !files.certificate_pem.empty() || !files.key_pem.empty();
  if (is_server || has_own) KS_RETURN_IF_ERROR(LoadOwn(context.get(), files));
  KS_RETURN_IF_ERROR(LoadTrusted(context.get(), files, is_server));
  SSL_CTX_set_verify(
      context.get(),
      is_server ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(context.get(), VerifyPeer, nullptr);
  ERR_clear_error();
  return context;
}

}  // namespace

absl::StatusOr<SslCtxPtr> NewClientContext(const TlsFiles& files) {
  return NewContext(TLS_client_method(), files, false);
}

absl::StatusOr<SslCtxPtr> NewServerContext(const TlsFiles& files) {
  return NewContext(TLS_server_method(), files, true);
}

absl::StatusOr<std::unique_ptr<TlsStream>> TlsStream::Make(SSL_CTX* context,
                                                           files::Descriptor socket,
                                                           std::string server_name,
                                                           absl::Time now) {
  SslPtr ssl(SSL_new(context));
  if (ssl == nullptr || SSL_set_fd(ssl.get(), socket.get()) != 1) {
    return status::Error(v1::REASON_INTERNAL, absl::StrCat("TLS: ", LastError()));
  }
  std::unique_ptr<TlsStream> stream(
      new TlsStream(std::move(ssl), std::move(socket), std::move(server_name), now));
  SSL_set_app_data(stream->ssl_.get(), stream.get());
  return stream;
}

absl::StatusOr<std::unique_ptr<TlsStream>> TlsStream::Client(SSL_CTX* context,
                                                             files::Descriptor socket,
                                                             std::string server_name,
                                                             absl::Time now) {
  KS_ASSIGN_OR_RETURN(auto stream, Make(context, std::move(socket), std::move(server_name), now));
  in_addr v4;
  in6_addr v6;
  const std::string& name = stream->server_name_;
  // Server Name Indication is for DNS names.
  if (!name.empty() && inet_pton(AF_INET, name.c_str(), &v4) != 1 &&
      inet_pton(AF_INET6, name.c_str(), &v6) != 1) {
    SSL_set_tlsext_host_name(stream->ssl_.get(), name.c_str());
  }
  SSL_set_connect_state(stream->ssl_.get());
  return stream;
}

absl::StatusOr<std::unique_ptr<TlsStream>> TlsStream::Server(SSL_CTX* context,
                                                             files::Descriptor socket,
                                                             absl::Time now) {
  KS_ASSIGN_OR_RETURN(auto stream, Make(context, std::move(socket), "", now));
  SSL_set_accept_state(stream->ssl_.get());
  return stream;
}

TlsStream::~TlsStream() {
  // The peer learns that the end is meant; nobody waits for its answer.
  if (error_.ok() && SSL_is_init_finished(ssl_.get())) SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

bool TlsStream::Verify(X509_STORE_CTX* store) {
  X509* const certificate = X509_STORE_CTX_get0_cert(store);
  if (certificate == nullptr) {
    error_ = Untrusted("the peer shows no certificate");
    return false;
  }
  peer_ = FactsOf(certificate);
  X509_VERIFY_PARAM* const parameters = X509_STORE_CTX_get0_param(store);
  X509_VERIFY_PARAM_set_time(parameters, absl::ToTimeT(now_));
  if (X509_verify_cert(store) != 1) {
    const int code = X509_STORE_CTX_get_error(store);
    const std::string what = absl::StrCat("the certificate of ", status::Quote(peer_->subject),
                                          ": ", X509_verify_cert_error_string(code));
    const bool expired =
        code == X509_V_ERR_CERT_HAS_EXPIRED || code == X509_V_ERR_CERT_NOT_YET_VALID;
    error_ = status::Error(expired ? v1::REASON_CERT_EXPIRED : v1::REASON_CERT_UNTRUSTED, what);
    return false;
  }
  if (server_name_.empty()) return true;
  // A certificate that was trusted by itself counts under any name.
  const STACK_OF(X509)* const chain = X509_STORE_CTX_get0_chain(store);
  if (sk_X509_num(chain) == 1) return true;
  if (X509_check_ip_asc(certificate, server_name_.c_str(), 0) == 1 ||
      X509_check_host(certificate, server_name_.c_str(), server_name_.size(), 0, nullptr) == 1) {
    return true;
  }
  X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
  error_ = Untrusted(absl::StrCat("the certificate of ", status::Quote(peer_->subject),
                                  " is not for ", status::Quote(server_name_)));
  return false;
}

TlsStream::Io TlsStream::Outcome(int result) {
  const int system_error = errno;
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_NONE:
      return Io::kDone;
    case SSL_ERROR_WANT_READ:
      events_ = EPOLLIN;
      return Io::kAgain;
    case SSL_ERROR_WANT_WRITE:
      events_ = EPOLLOUT;
      return Io::kAgain;
    case SSL_ERROR_ZERO_RETURN:
      return Io::kClosed;
    case SSL_ERROR_SYSCALL:
      ERR_clear_error();
      if (error_.ok()) {
        error_ = status::Error(v1::REASON_UNREACHABLE,
                               result == 0 || system_error == 0
                                   ? "the connection was closed"
                                   : absl::StrCat("connection: ", strerror(system_error)));
      }
      return Io::kFailed;
    default:
      break;
  }
  const unsigned long code = ERR_peek_last_error();
  const bool has_own = SSL_get_certificate(ssl_.get()) != nullptr;
  if (!error_.ok()) {
    ERR_clear_error();
  } else if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
    ERR_clear_error();
    error_ = status::Error(v1::REASON_UNREACHABLE, "the connection was closed");
  } else if (IsRefusalOfOurs(code, has_own)) {
    error_ = status::Error(
        v1::REASON_NO_PERMISSION,
        has_own ? absl::StrCat("the peer refuses our certificate: ", LastError())
                : absl::StrCat("the peer wants a certificate, and there is none: ", LastError()));
  } else {
    error_ = status::Error(v1::REASON_UNREACHABLE, absl::StrCat("TLS: ", LastError()));
  }
  return Io::kFailed;
}

TlsStream::Io TlsStream::Handshake() {
  ERR_clear_error();
  errno = 0;
  return Outcome(SSL_do_handshake(ssl_.get()));
}

TlsStream::Io TlsStream::Read(ttlv::Buffer* out, size_t most) {
  uint8_t* const space = out->Extend(most);
  ERR_clear_error();
  errno = 0;
  const int read = SSL_read(ssl_.get(), space, static_cast<int>(most));
  const Io outcome = Outcome(read);
  out->TakeBack(most - (read > 0 ? static_cast<size_t>(read) : 0));
  return outcome;
}

TlsStream::Io TlsStream::Write(absl::Span<const uint8_t> bytes, size_t* written) {
  ERR_clear_error();
  errno = 0;
  *written = 0;
  const int result = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
  if (result > 0) *written = static_cast<size_t>(result);
  const Io outcome = Outcome(result);
  if (outcome == Io::kFailed) HearLastWord();
  return outcome;
}

// A peer that refuses our certificate says so and closes the connection; with TLS 1.3 we write
// meanwhile, and fail.
void TlsStream::HearLastWord() {
  const absl::Status failure = std::exchange(error_, absl::OkStatus());
  uint8_t unused = 0;
  ERR_clear_error();
  errno = 0;
  Outcome(SSL_read(ssl_.get(), &unused, 1));
  if (status::ReasonOf(error_) != v1::REASON_NO_PERMISSION) error_ = failure;
}

}  // namespace keysphere::kmip::net
