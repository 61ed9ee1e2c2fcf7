#ifndef KEYSPHERE_CONTROLLER_ENCRYPTION_HOST_READINESS_H_
#define KEYSPHERE_CONTROLLER_ENCRYPTION_HOST_READINESS_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/status/callback.h"
#include "controller/access/access.h"
#include "controller/access/caller.h"
#include "controller/encryption/key_maker.h"
#include "controller/hosts/hosts.h"
#include "controller/providers/providers.h"
#include "controller/remediation/desired_state.h"

namespace keysphere::controller::encryption {

// What must be so before a host may do a crypto operation under a provider: the host holds the
// provider's key and is safe. Lives on the controller's strand.
class HostReadiness {
 public:
  HostReadiness(access::Access* access, providers::Providers* providers, hosts::Hosts* hosts,
                hosts::NeededKeys* needs, KeyMaker* keys)
      : access_(access), providers_(providers), hosts_(hosts), needs_(needs), keys_(keys) {}

  // The provider to use in a cluster: the one named, else the effective default. PROVIDER_MISSING,
  // NO_DEFAULT_PROVIDER; UNSUPPORTED for a key id named under a native provider (S123).
  absl::StatusOr<std::string> Choose(const v1::CryptoKeyId& wanted,
                                     const std::string& cluster) const;
  bool Knows(absl::string_view provider) const { return providers_->Find(provider) != nullptr; }
  // Whether this vCenter has the provider and the host may hold its key (S33).
  bool MayHold(const hosts::HostSession& host, absl::string_view provider) const {
    const providers::Provider* const known = providers_->Find(provider);
    return known != nullptr && remediation::Entitlement(host.Facts(), *known).ok();
  }
  // Whether the host could be given the host key that was derived from the KDK of this check value:
  // the provider's name may stand for another one now. Of a standard provider its KMS tells.
  bool CanDerive(const hosts::HostSession& host, const v1::CryptoKeyId& key,
                 absl::string_view check_value) const {
    if (key.key_id().empty() || !MayHold(host, key.provider_id())) return false;
    const providers::Provider* const provider = providers_->Find(key.provider_id());
    return provider->type == v1::PROVIDER_TYPE_STANDARD || provider->key_check_value == check_value;
  }
  // Why the operation cannot run on this host, as far as that is known here, in S154's order:
  // entitlement, encryption mode that the caller may not switch on, a colliding key.
  absl::Status Refusal(const access::Caller& caller, const hosts::HostSession& host,
                       const std::string& provider) const;

  // Brings the provider's key to the host if it lacks it (S132); a standard provider has none: the
  // host need only be entitled to it. KEY_MISMATCH where the host holds
  // another under that name (S141), TPM_REQUIRED and the like where the host itself refuses,
  // KEY_MISSING_ON_HOST otherwise.
  void EnsureKey(std::shared_ptr<hosts::HostSession> host, const std::string& provider,
                 status::DoneCallback done);
  // EnsureKey, and encryption mode on with a new host key of the provider if it was off:
  // HOST_NOT_SAFE without Cryptographer.RegisterHost. With it, the other hosts of the cluster
  // become safe too (S99); what they answer changes nothing for this one.
  void EnsureReady(const access::Caller& caller, std::shared_ptr<hosts::HostSession> host,
                   const std::string& provider, status::DoneCallback done);
  // Prepares (if incapable) and enables. INVALID_STATE while pendingIncapable.
  void MakeSafe(std::shared_ptr<hosts::HostSession> host, const KeyMaker::HostKey& key,
                status::DoneCallback done);
  // The same with a new key of the provider, once for all that ask meanwhile: VMs are encrypted
  // side by side, and a host takes each step once.
  void BecomeSafe(std::shared_ptr<hosts::HostSession> host, const std::string& provider,
                  status::DoneCallback done);
  // Makes the other connected, entitled hosts of its cluster safe; `done` when all have answered.
  void MakeClusterSafe(const hosts::HostSession& but, const std::string& provider,
                       absl::AnyInvocable<void()> done);
  // One step of a host's encryption mode; `key` with the key itself under a standard provider.
  void SetMode(std::shared_ptr<hosts::HostSession> host,
               host::v1::SetCryptoModeRequest::Action action, const KeyMaker::HostKey& key,
               status::DoneCallback done);

 private:
  access::Access* const access_;
  providers::Providers* const providers_;
  hosts::Hosts* const hosts_;
  hosts::NeededKeys* const needs_;
  KeyMaker* const keys_;
  // By host: who waits for BecomeSafe.
  std::map<std::string, std::vector<status::DoneCallback>> becoming_safe_;
};

}  // namespace keysphere::controller::encryption

#endif  // KEYSPHERE_CONTROLLER_ENCRYPTION_HOST_READINESS_H_
