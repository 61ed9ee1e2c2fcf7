#ifndef KEYSPHERE_CONTROLLER_PROVIDERS_PROVIDERS_H_
#define KEYSPHERE_CONTROLLER_PROVIDERS_PROVIDERS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/crypto/bundle.h"
#include "common/crypto/secret_key.h"
#include "common/executor/executor.h"
#include "common/random/random.h"
#include "common/status/callback.h"
#include "common/store/store.h"
#include "controller/access/caller.h"
#include "controller/alarms/alarms.h"
#include "controller/events/event_log.h"
#include "controller/kms/kms_clusters.h"
#include "controller/options/options.h"
#include "keysphere/v1/key_providers.pb.h"

namespace keysphere::controller::providers {

// The instance of what is not written yet: then it is the revision of its record.
inline constexpr int64_t kNewInstance = 0;

// What only a standard provider has.
struct StandardParts {
  kms::KmsConfig config;
  kms::SharedKey csr_key;  // PEM, of the last request for a certificate; nullptr: none is open
  // Another one where the KMS may be another, or may show us other keys (S152).
  int64_t instance = kNewInstance;
};

// A key provider as the rest of the controller needs it. `kdk` is set for native ones, `standard`
// for the others, which need no backup here.
struct Provider {
  std::string name;
  // Another one for each provider that ever was, also of the same name.
  std::string incarnation;
  v1::ProviderType type = v1::PROVIDER_TYPE_NATIVE;
  std::string key_id;
  std::string key_check_value;  // 8 bytes
  bool tpm_required = false;
  bool has_backup = false;
  bool backup_suggested = false;
  absl::Time create_time;
  crypto::SecretKey kdk;
  std::shared_ptr<const StandardParts> standard;
  int64_t etag = 0;  // the store's revision of its record
};

// What providers ask of the inventory; answered by hosts::Hosts. A fake is enough for tests.
class ProviderUse {
 public:
  virtual ~ProviderUse() = default;
  virtual bool ClusterExists(absl::string_view cluster) const = 0;
  // Entitled connected hosts that do not hold this very key yet (S121).
  virtual std::vector<std::string> HostsLacking(const Provider& provider) const = 0;
  // VMs of the inventory whose home or a disk names it (S85).
  virtual int VmsUsing(absl::string_view provider) const = 0;
};

// What happened to a provider, for the one who pushes keys to hosts. Called after the commit.
class ProviderListener {
 public:
  virtual ~ProviderListener() = default;
  // Hosts may hold its key from now on: first backup, or import (S132). Also a changed key id of a
  // usable provider (S122). Only adds travel.
  virtual void OnProviderUsable(const Provider& provider) = 0;
  virtual void OnProviderDeleted(absl::string_view name) = 0;
};

// The key providers of one vCenter, its defaults, and native providers' backups. Records and KDKs
// are durable (KDKs as secret values). Lives on the controller's strand; pointers that it gives are
// good until the task ends.
class Providers {
 public:
  static constexpr int kMaxProviders = 32;  // S10

  struct Deps {
    store::Store* store;
    executor::Strand* strand;
    clock::Clock* clock;
    random::Random* random;
    events::EventLog* events;
    alarms::Alarms* alarms;
    options::Options* options;
    // Where standard providers' servers are asked; nullptr: this vCenter has none of them.
    kms::KmsClusters* kms = nullptr;
    std::string vcenter_name;
    std::string version;                 // "8.0.3"; before 7.0.2 no NKP (S22)
    std::vector<std::string> dns_names;  // names under which export works (S3)
    // Where bundles are made and read: PBKDF2 takes 39 ms. nullptr: on the strand.
    executor::Executor* work = nullptr;
    // The rounds of PBKDF2 for bundles that are made: 1 in simulations.
    int bundle_iterations = crypto::kBundleIterations;
  };
  static absl::StatusOr<std::unique_ptr<Providers>> Load(Deps deps);
  ~Providers();

  // Both outlive it; set before anything is asked.
  void Connect(const ProviderUse* use, ProviderListener* listener);
  // Called when the servers of a standard provider were checked because somebody asked, or were
  // changed; and when it is gone.
  using OfKms = std::function<void(const std::string& provider)>;
  void OnKms(OfKms checked, OfKms gone);
  // Starts the backup reminders (S88).
  void Start();

  // By name.
  std::vector<const Provider*> All() const;
  // nullptr: none.
  const Provider* Find(absl::string_view name) const;
  // The name of the cluster's default, else the global one (S126). NO_DEFAULT_PROVIDER where there
  // is none, or where it names a provider that is gone, whatever provider has its name now (S160).
  absl::StatusOr<std::string> EffectiveDefault(absl::string_view cluster) const;
  // A cluster's own default as set; empty: none set.
  std::string ClusterDefault(absl::string_view cluster) const;
  // The provider that it names was deleted.
  bool ClusterDefaultIsGone(absl::string_view cluster) const;
  std::string GlobalDefault() const;
  // The cluster was deleted, so its default goes too.
  void ForgetCluster(absl::string_view cluster);

  // Those below take what they need from the request before they return and overwrite its secret
  // fields (key, password, bundle) with zeros: the caller's message must not be a const object.

  void CreateKeyProvider(const access::Caller& caller, const v1::CreateKeyProviderRequest& request,
                         status::Callback<v1::KeyProvider> done);
  void GetKeyProvider(const access::Caller& caller, const v1::GetKeyProviderRequest& request,
                      status::Callback<v1::KeyProvider> done);
  void ListKeyProviders(const access::Caller& caller, const v1::ListKeyProvidersRequest& request,
                        status::Callback<v1::ListKeyProvidersResponse> done);
  void ListKmsClusters(const access::Caller& caller, const v1::ListKmsClustersRequest& request,
                       status::Callback<v1::ListKmsClustersResponse> done);
  void UpdateKeyProvider(const access::Caller& caller, const v1::UpdateKeyProviderRequest& request,
                         status::Callback<v1::KeyProvider> done);
  void DeleteKeyProvider(const access::Caller& caller, const v1::DeleteKeyProviderRequest& request,
                         status::Callback<v1::DeleteKeyProviderResponse> done);
  void SetDefaultKeyProvider(const access::Caller& caller,
                             const v1::SetDefaultKeyProviderRequest& request,
                             status::Callback<v1::SetDefaultKeyProviderResponse> done);
  void ExportKeyProvider(const access::Caller& caller, const v1::ExportKeyProviderRequest& request,
                         status::Callback<v1::ExportKeyProviderResponse> done);
  // Takes the token and gives the bundle, which the caller wipes; DownloadFinished tells that the
  // client has all of it: only then the provider counts as backed up and the token is used up (S2).
  void BeginDownload(const access::Caller& caller, const v1::DownloadKeyProviderRequest& request,
                     status::Callback<std::string> done);
  void DownloadFinished(const access::Caller& caller, const v1::DownloadKeyProviderRequest& request,
                        bool complete, status::DoneCallback done);
  void ImportKeyProvider(const access::Caller& caller, const v1::ImportKeyProviderRequest& request,
                         status::Callback<v1::ImportKeyProviderResponse> done);

  // Of standard providers: UNSUPPORTED for a native one.
  void CheckKmsServers(const access::Caller& caller, const v1::CheckKmsServersRequest& request,
                       status::Callback<v1::KeyProvider> done);
  void RetrieveKmsServerCertificate(
      const access::Caller& caller, const v1::RetrieveKmsServerCertificateRequest& request,
      status::Callback<v1::RetrieveKmsServerCertificateResponse> done);
  void TrustKmsServer(const access::Caller& caller, const v1::TrustKmsServerRequest& request,
                      status::Callback<v1::KeyProvider> done);
  void GenerateKmsClientCsr(const access::Caller& caller,
                            const v1::GenerateKmsClientCsrRequest& request,
                            status::Callback<v1::GenerateKmsClientCsrResponse> done);
  void SetKmsClientCertificate(const access::Caller& caller,
                               const v1::SetKmsClientCertificateRequest& request,
                               status::Callback<v1::KeyProvider> done);

 private:
  struct State;
  explicit Providers(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace keysphere::controller::providers

#endif  // KEYSPHERE_CONTROLLER_PROVIDERS_PROVIDERS_H_
