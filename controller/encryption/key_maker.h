#ifndef KEYSPHERE_CONTROLLER_ENCRYPTION_KEY_MAKER_H_
#define KEYSPHERE_CONTROLLER_ENCRYPTION_KEY_MAKER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/random/random.h"
#include "common/status/callback.h"
#include "controller/hosts/hosts.h"
#include "controller/hosts/needed_keys.h"
#include "controller/kms/kms_clusters.h"
#include "keysphere/v1/types.pb.h"

namespace keysphere::controller::encryption {

// Keys for VMs and hosts. Under a native provider a key is no more than a new input of the
// derivation (S35); under a standard one the KMS makes it, one for each object (S38), and nothing
// has changed anywhere, but for an unused key in the KMS, where a step fails (S53). Never revokes
// or destroys one (S39). Lives on the controller's strand.
class KeyMaker {
 public:
  KeyMaker(kms::KmsClusters* kms, hosts::NeededKeys* needs, hosts::Hosts* hosts,
           random::Random* random)
      : kms_(kms), needs_(needs), hosts_(hosts), random_(random) {}

  bool IsStandard(absl::string_view provider) const { return kms_->Find(provider) != nullptr; }
  // Why a key that a host lacks cannot be fetched for it, as far as is known without asking: where
  // its provider is no standard one of this vCenter KEY_MISSING_ON_HOST, else KMS_UNREACHABLE or
  // KEY_MISSING_ON_KMS; UNSPECIFIED: it will be fetched when it is needed.
  v1::Reason WhyNotFetched(const v1::CryptoKeyId& key) const;
  // A new input of a native provider's derivation.
  v1::CryptoKeyId NewName(const std::string& provider) const;

  // For a VM of this host: `wanted` names the provider and perhaps a key of a standard one, else
  // one is made. `done` when the host has it and, under a standard provider, it is active; the
  // other safe hosts of the cluster are sent it too (S55). KMS_UNREACHABLE, KEY_MISSING_ON_KMS.
  using Session = std::shared_ptr<hosts::HostSession>;
  void ForVm(Session host, const v1::CryptoKeyId& wanted, status::Callback<v1::CryptoKeyId> done);

  // A host key; with the key itself under a standard provider, whose host is not safe yet.
  struct HostKey {
    v1::CryptoKeyId id;
    kms::FetchedKey fetched;
  };
  // A new one, active.
  void NewHostKey(const std::string& provider, status::Callback<HostKey> done);
  // One that exists.
  void GetHostKey(const v1::CryptoKeyId& id, status::Callback<HostKey> done);
  // Sends a host's key to the other safe hosts of its cluster, and notes that the host has it.
  void Share(const hosts::HostSession& owner, const HostKey& key);

  // KMS_UNREACHABLE unless the key's KMS answers: for what needs it though the key is cached (S53).
  void AskKms(const v1::CryptoKeyId& key, status::DoneCallback done);

 private:
  // PROVIDER_MISSING.
  absl::StatusOr<std::shared_ptr<kms::KmsCluster>> FindKms(const std::string& provider) const;
  void Activate(const v1::CryptoKeyId& key, status::DoneCallback done);
  // The key itself, made if `id` is empty.
  void Obtain(const std::string& provider, const std::string& id, status::Callback<HostKey> done);
  void SendToOthers(const hosts::HostSession& owner, hosts::KeyNamePtr name,
                    const kms::FetchedKey& fetched);

  kms::KmsClusters* const kms_;
  hosts::NeededKeys* const needs_;
  hosts::Hosts* const hosts_;
  random::Random* const random_;
};

}  // namespace keysphere::controller::encryption

#endif  // KEYSPHERE_CONTROLLER_ENCRYPTION_KEY_MAKER_H_
