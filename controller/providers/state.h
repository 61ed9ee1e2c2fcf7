#ifndef KEYSPHERE_CONTROLLER_PROVIDERS_STATE_H_
#define KEYSPHERE_CONTROLLER_PROVIDERS_STATE_H_

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "controller/changes/changes.h"
#include "controller/providers/backup_reminder.h"
#include "controller/providers/export_tickets.h"
#include "controller/providers/providers.h"
#include "controller/providers/records.pb.h"

namespace keysphere::controller::providers {

constexpr char kProviderPrefix[] = "provider/";
constexpr char kKdkPrefix[] = "provider-kdk/";
constexpr char kPasswordPrefix[] = "provider-password/";
constexpr char kClientKeyPrefix[] = "provider-client-key/";
constexpr char kCsrKeyPrefix[] = "provider-csr-key/";
constexpr char kGlobalDefaultKey[] = "default/global";
constexpr char kClusterDefaultPrefix[] = "default/cluster/";

absl::Status NoProvider(absl::string_view name);
absl::Status ProviderExists(absl::string_view name);
// CONFLICT unless `etag` is empty or the provider's.
absl::Status CheckEtag(const Provider& provider, absl::string_view etag);
// Puts the provider's record.
void PutRecord(store::Transaction* transaction, const Provider& provider);
// A provider without its key.
Provider WithoutKey(const Provider& provider);
// Overwrites a secret field of a request.
void Wipe(const std::string& field);
// "Native key provider" or "Standard key provider", as events begin.
absl::string_view KindOf(const Provider& provider);

// ---- Standard providers (standard.cc) ----

inline constexpr size_t kMaxPem = 64 << 10;
inline constexpr size_t kMaxKeyPem = 4096;

// A secret field of a request, which is overwritten; nullptr for an empty one. INVALID_ARGUMENT
// where it has more than `most` bytes.
absl::StatusOr<kms::SharedKey> TakeSecret(const std::string& field, size_t most,
                                          absl::string_view name);
// INVALID_ARGUMENT where a field of certificates is too large, or not PEM.
absl::Status CheckCertificates(const std::string& pem, absl::string_view name);

// As its record of that revision says.
std::shared_ptr<const StandardParts> AsOf(const StandardParts& parts, store::Revision revision);
// From its record and the store's secrets.
absl::StatusOr<std::shared_ptr<const StandardParts>> LoadStandard(store::Store* store,
                                                                  const ProviderRecord& record,
                                                                  store::Revision revision);
void PutStandard(const StandardParts& parts, ProviderRecord* record);
// The secrets that `parts` have, and not those that only `former` (may be nullptr) had.
absl::Status PutStandardSecrets(const StandardParts& parts, const StandardParts* former,
                                store::Transaction* transaction);
// Deletes the secrets of a provider that goes.
void DeleteStandardSecrets(const StandardParts& parts, store::Transaction* transaction);

// The provider that a cluster was given as its default.
struct ChosenDefault {
  std::string provider;
  std::string incarnation;
};

struct Providers::State {
  explicit State(Deps deps_in)
      : deps(std::move(deps_in)),
        changes(deps.store, deps.strand),
        tickets(deps.clock, deps.strand),
        reminder(deps.clock, deps.strand, deps.events, deps.alarms, deps.options) {}

  const Deps deps;
  const ProviderUse* use = nullptr;
  ProviderListener* listener = nullptr;
  OfKms kms_checked;
  OfKms kms_gone;
  std::map<std::string, Provider, std::less<>> providers;
  std::string global_default;
  std::map<std::string, ChosenDefault, std::less<>> cluster_defaults;
  changes::Changes changes;
  ExportTickets tickets;
  BackupReminder reminder;
  // Bundles handed out whose download has not ended: the key id in them, by provider and the digest
  // of the token.
  std::map<std::pair<std::string, std::string>, std::string> handed_out;
  const std::shared_ptr<bool> alive = std::make_shared<bool>(true);

  const Provider* Find(absl::string_view name) const;
  // The very provider that was chosen, not another of its name; nullptr: it was deleted (S160).
  const Provider* Find(const ChosenDefault& chosen) const;
  absl::Status Load();
  absl::Status LoadDefaults();
  v1::KeyProvider Describe(const Provider& provider) const;
  v1::ProviderHealth HealthOf(const Provider& provider) const;
  std::vector<std::string> Warnings() const;

  // VERSION_UNSUPPORTED on a vCenter before 7.0 U2 (S22).
  absl::Status CheckVersion() const;
  // ALREADY_EXISTS (S6); TOO_LARGE for the 33rd (S10).
  absl::Status CheckNew(absl::string_view name) const;
  // Makes it durable, then known: for create and import.
  void Add(const std::string& user, std::shared_ptr<Provider> provider, bool imported,
           status::Callback<v1::KeyProvider> done);
  void Added(const std::string& user, bool imported, Provider provider);
  void CreateStandard(const std::string& user, const v1::CreateKeyProviderRequest& request,
                      status::Callback<v1::KeyProvider> done);
  // Changes a standard provider: `edit` changes a copy of its parts, or refuses. `done` when it is
  // durable and its servers are asked with what it is now.
  using Edit = absl::AnyInvocable<absl::Status(StandardParts*)>;
  void ChangeStandard(const std::string& name, const std::string& etag, Edit edit,
                      status::Callback<v1::KeyProvider> done);
  // NOT_FOUND; UNSUPPORTED for a native one.
  absl::StatusOr<const Provider*> FindStandard(absl::string_view name) const;
  // From now on its servers are asked with this; they are checked at once.
  void Connect(const Provider& provider);
  void DescribeStandard(const Provider& provider, v1::KeyProvider* proto) const;
  void UpdateStandard(const v1::UpdateKeyProviderRequest& request,
                      status::Callback<v1::KeyProvider> done);
  // The bundle that is going to the user was read in full.
  void BackedUp(const std::string& user, const std::string& name, const std::string& key_id,
                status::DoneCallback done);
  // AllBackedUp, if that is so now (S88).
  void TellAllBackedUp();
  int64_t Append(absl::string_view type, const std::string& user, absl::string_view provider,
                 absl::string_view message, std::map<std::string, std::string> arguments = {});
  // Runs `work` where it may take long, then `then` with its result on the strand.
  template <typename Result>
  void Work(absl::AnyInvocable<Result()> work, absl::AnyInvocable<void(Result)> then) {
    if (deps.work == nullptr) return then(work());
    deps.work->Post([strand = deps.strand, weak = std::weak_ptr<bool>(alive),
                     work = std::move(work), then = std::move(then)]() mutable {
      strand->Post([weak, result = work(), then = std::move(then)]() mutable {
        if (!weak.expired()) then(std::move(result));
      });
    });
  }
};

}  // namespace keysphere::controller::providers

#endif  // KEYSPHERE_CONTROLLER_PROVIDERS_STATE_H_
