#include "common/rpc/peer_check.h"

#include <openssl/crypto.h>

#include <utility>

#include "common/identity/certificate.h"
#include "common/status/grpc.h"
#include "common/status/status.h"

namespace keysphere::rpc {
namespace {

class PeerVerifier : public grpc::experimental::ExternalCertificateVerifier {
 public:
  PeerVerifier(clock::Clock* clock, PeerPolicy policy,
               std::function<void(const absl::Status&)> refused)
      : clock_(clock), policy_(std::move(policy)), refused_(std::move(refused)) {}

  bool Verify(grpc::experimental::TlsCustomVerificationCheckRequest* request,
              std::function<void(grpc::Status)> /*callback*/, grpc::Status* sync_status) override {
    const absl::Status checked = Check(*request);
    *sync_status = status::ToGrpc(checked);
    if (!checked.ok()) refused_(checked);
    return true;  // answered at once
  }

  void Cancel(grpc::experimental::TlsCustomVerificationCheckRequest* /*request*/) override {}

 private:
  absl::Status Check(const grpc::experimental::TlsCustomVerificationCheckRequest& request) {
    const grpc::string_ref pem = request.peer_cert();
    KS_ASSIGN_OR_RETURN(const identity::CertificateInfo peer,
                        identity::ReadCertificate(absl::string_view(pem.data(), pem.size())));
    KS_RETURN_IF_ERROR(identity::CheckValidity(peer, clock_->Now()));
    return policy_(peer.identity);
  }

  clock::Clock* const clock_;
  const PeerPolicy policy_;
  const std::function<void(const absl::Status&)> refused_;
};

}  // namespace

std::shared_ptr<grpc::experimental::CertificateVerifier> NewPeerVerifier(
    clock::Clock* clock, PeerPolicy policy, std::function<void(const absl::Status&)> refused) {
  return grpc::experimental::ExternalCertificateVerifier::Create<PeerVerifier>(
      clock, std::move(policy), std::move(refused));
}

std::shared_ptr<grpc::experimental::CertificateProviderInterface> NewCertificateProvider(
    const identity::Credentials& credentials) {
  std::vector<grpc::experimental::IdentityKeyCertPair> pairs(1);
  const absl::string_view key = credentials.key_pem.view();
  pairs[0].private_key.assign(key.data(), key.size());
  pairs[0].certificate_chain = credentials.certificate_pem;
  auto provider = std::make_shared<grpc::experimental::StaticDataCertificateProvider>(
      credentials.ca_pem, pairs);
  OPENSSL_cleanse(&pairs[0].private_key[0], pairs[0].private_key.size());
  return provider;
}

}  // namespace keysphere::rpc
