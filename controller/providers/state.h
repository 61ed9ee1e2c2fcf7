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

namespace keysphere::controller::providers {

constexpr char kProviderPrefix[] = "provider/";
constexpr char kKdkPrefix[] = "provider-kdk/";
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

struct Providers::State {
  explicit State(Deps deps_in)
      : deps(std::move(deps_in)),
        changes(deps.store, deps.strand),
        tickets(deps.clock, deps.strand),
        reminder(deps.clock, deps.strand, deps.events, deps.alarms, deps.options) {}

  const Deps deps;
  const ProviderUse* use = nullptr;
  ProviderListener* listener = nullptr;
  std::map<std::string, Provider, std::less<>> providers;
  std::string global_default;
  std::map<std::string, std::string, std::less<>> cluster_defaults;
  changes::Changes changes;
  ExportTickets tickets;
  BackupReminder reminder;
  // Bundles handed out whose download has not ended: the key id in them, by provider and the digest
  // of the token.
  std::map<std::pair<std::string, std::string>, std::string> handed_out;
  const std::shared_ptr<bool> alive = std::make_shared<bool>(true);

  const Provider* Find(absl::string_view name) const;
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
