#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "controller/kms/certificates.h"
#include "controller/providers/providers.h"
#include "controller/providers/state.h"
#include "controller/timestamps/timestamps.h"

// How a vCenter and a KMS come to trust each other, and how the KMS does.
namespace keysphere::controller::providers {

void Providers::CheckKmsServers(const access::Caller&, const v1::CheckKmsServersRequest& request,
                                status::Callback<v1::KeyProvider> done) {
  const absl::StatusOr<const Provider*> provider = state_->FindStandard(request.name());
  if (!provider.ok()) return done(provider.status());
  State* const state = state_.get();
  // Shared: the check calls back once, through a function that may be copied.
  auto answer = std::make_shared<status::Callback<v1::KeyProvider>>(std::move(done));
  state->deps.kms->Find(request.name())
      ->Check(state->deps.options->CertificateThreshold(),
              [state, weak = std::weak_ptr<bool>(state->alive), name = request.name(), answer] {
                if (weak.expired()) return;
                const Provider* const now = state->Find(name);
                if (now == nullptr) return (*answer)(NoProvider(name));
                if (state->kms_checked) state->kms_checked(name);
                (*answer)(state->Describe(*now));
              });
}

void Providers::RetrieveKmsServerCertificate(
    const access::Caller&, const v1::RetrieveKmsServerCertificateRequest& request,
    status::Callback<v1::RetrieveKmsServerCertificateResponse> done) {
  const absl::StatusOr<const Provider*> provider = state_->FindStandard(request.name());
  if (!provider.ok()) return done(provider.status());
  state_->deps.kms->Find(request.name())
      ->PresentedCertificate(
          request.server(),
          [done = std::move(done)](absl::StatusOr<kms::KmsCluster::Presented> shown) mutable {
            if (!shown.ok()) return done(shown.status());
            v1::RetrieveKmsServerCertificateResponse response;
            response.set_certificate(shown->certificate.pem);
            response.set_fingerprint(shown->certificate.sha256);
            response.set_subject(shown->certificate.subject);
            *response.mutable_expire_time() = timestamps::ToProto(shown->certificate.not_after);
            response.set_trusted(shown->trusted);
            done(std::move(response));
          });
}

void Providers::TrustKmsServer(const access::Caller&, const v1::TrustKmsServerRequest& request,
                               status::Callback<v1::KeyProvider> done) {
  if (absl::Status valid = CheckCertificates(request.certificate(), "certificate"); !valid.ok()) {
    return done(valid);
  }
  state_->ChangeStandard(
      request.name(), "",
      [pem = request.certificate()](StandardParts* parts) -> absl::Status {
        std::string& trusted = parts->config.trusted_certificates;
        if (trusted.find(pem) != std::string::npos) return absl::OkStatus();
        if (trusted.size() + pem.size() + 1 > kMaxPem) {
          return status::Error(v1::REASON_TOO_LARGE, "there are too many trusted certificates")
              .Object("provider", parts->config.provider)
              .NextStep("Set standard.trusted_certificates anew.");
        }
        if (!trusted.empty() && trusted.back() != '\n') trusted += '\n';
        trusted += pem;
        return absl::OkStatus();
      },
      std::move(done));
}

void Providers::GenerateKmsClientCsr(const access::Caller&,
                                     const v1::GenerateKmsClientCsrRequest& request,
                                     status::Callback<v1::GenerateKmsClientCsrResponse> done) {
  absl::StatusOr<kms::NewRequest> made = kms::MakeRequest(state_->deps.vcenter_name);
  if (!made.ok()) return done(made.status());
  const kms::SharedKey key = std::make_shared<const crypto::SecretKey>(std::move(made->key_pem));
  state_->ChangeStandard(
      request.name(), "",
      [key](StandardParts* parts) {
        parts->csr_key = key;
        return absl::OkStatus();
      },
      [csr = made->csr_pem,
       done = std::move(done)](const absl::StatusOr<v1::KeyProvider>& changed) mutable {
        if (!changed.ok()) return done(changed.status());
        v1::GenerateKmsClientCsrResponse response;
        response.set_csr(csr);
        done(std::move(response));
      });
}

void Providers::SetKmsClientCertificate(const access::Caller&,
                                        const v1::SetKmsClientCertificateRequest& request,
                                        status::Callback<v1::KeyProvider> done) {
  absl::StatusOr<kms::SharedKey> given =
      TakeSecret(request.private_key(), kMaxKeyPem, "private_key");
  if (!given.ok()) return done(given.status());
  if (absl::Status valid = CheckCertificates(request.certificate(), "certificate"); !valid.ok()) {
    return done(valid);
  }
  state_->ChangeStandard(
      request.name(), "",
      [given = *given, certificate = request.certificate()](StandardParts* parts) -> absl::Status {
        const kms::SharedKey key = given != nullptr ? given : parts->csr_key;
        if (key == nullptr) {
          return status::Error(v1::REASON_INVALID_STATE,
                               "no request for a certificate was made: its key is needed")
              .Object("provider", parts->config.provider)
              .NextStep("Make a request, or give the private key too.");
        }
        KS_RETURN_IF_ERROR(kms::CheckPair(certificate, *key));
        parts->config.client_certificate = certificate;
        parts->config.client_private_key = key;
        parts->instance = kNewInstance;
        if (given == nullptr) parts->csr_key = nullptr;
        return absl::OkStatus();
      },
      std::move(done));
}

}  // namespace keysphere::controller::providers
