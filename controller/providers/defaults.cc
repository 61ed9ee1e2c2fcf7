#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "common/store/proto_store.h"
#include "controller/providers/providers.h"
#include "controller/providers/records.pb.h"
#include "controller/providers/state.h"

// Which provider is used where none is named.
namespace keysphere::controller::providers {

std::string Providers::GlobalDefault() const { return state_->global_default; }

std::string Providers::ClusterDefault(absl::string_view cluster) const {
  const auto it = state_->cluster_defaults.find(cluster);
  return it == state_->cluster_defaults.end() ? "" : it->second.provider;
}

bool Providers::ClusterDefaultIsGone(absl::string_view cluster) const {
  const auto it = state_->cluster_defaults.find(cluster);
  return it != state_->cluster_defaults.end() && state_->Find(it->second) == nullptr;
}

absl::StatusOr<std::string> Providers::EffectiveDefault(absl::string_view cluster) const {
  const std::string own = ClusterDefault(cluster);
  if (!own.empty()) {
    if (!ClusterDefaultIsGone(cluster)) return own;
    return status::Error(v1::REASON_NO_DEFAULT_PROVIDER,
                         absl::StrCat("the default key provider ", status::Quote(own),
                                      " of cluster ", status::Quote(cluster), " was deleted"))
        .Object("cluster", cluster)
        .NextStep("Set the cluster's default anew, or clear it so that the global one counts.");
  }
  if (!state_->global_default.empty()) return state_->global_default;
  return status::Error(v1::REASON_NO_DEFAULT_PROVIDER,
                       "no key provider is named and there is no default")
      .NextStep("Name a key provider, or set a default.");
}

void Providers::SetDefaultKeyProvider(const access::Caller& caller,
                                      const v1::SetDefaultKeyProviderRequest& request,
                                      status::Callback<v1::SetDefaultKeyProviderResponse> done) {
  auto former = std::make_shared<std::string>();
  State* const state = state_.get();
  const auto prepare = [this, state, former, user = caller.user, name = request.name(),
                        cluster = request.cluster()]() -> absl::StatusOr<changes::Change> {
    if (!name.empty() && Find(name) == nullptr) return NoProvider(name);
    const bool clears_leftover = name.empty() && !ClusterDefault(cluster).empty();
    if (!cluster.empty() && state->use != nullptr && !state->use->ClusterExists(cluster) &&
        !clears_leftover) {
      return status::Error(v1::REASON_NOT_FOUND,
                           absl::StrCat("no cluster ", status::Quote(cluster)))
          .Object("cluster", cluster)
          .NextStep("List the clusters.");
    }
    *former = cluster.empty() ? state->global_default : ClusterDefault(cluster);
    changes::Change change;
    // One that is gone is set anew by choosing the provider that has its name now (S160).
    const bool revives = !cluster.empty() && ClusterDefaultIsGone(cluster) && !name.empty();
    if (*former == name && !revives) return change;
    const std::string incarnation = name.empty() ? "" : Find(name)->incarnation;
    const std::string key =
        cluster.empty() ? kGlobalDefaultKey : absl::StrCat(kClusterDefaultPrefix, cluster);
    if (name.empty()) {
      change.transaction.Delete(key);
    } else {
      DefaultRecord record;
      record.set_provider(name);
      record.set_incarnation(incarnation);
      store::PutProto(&change.transaction, key, record);
    }
    change.apply = [state, former, user, name, cluster, incarnation](store::Revision) {
      if (cluster.empty()) {
        state->global_default = name;
      } else if (name.empty()) {
        state->cluster_defaults.erase(cluster);
      } else {
        state->cluster_defaults[cluster] = {name, incarnation};
      }
      state->Append(events::kDefaultChanged, user, name.empty() ? *former : name,
                    absl::StrCat(cluster.empty() ? "The default key provider"
                                                 : absl::StrCat("The default key provider of "
                                                                "cluster ",
                                                                cluster),
                                 name.empty() ? " was cleared" : absl::StrCat(" is ", name)),
                    {{"former", *former}, {"cluster", cluster}});
    };
    return change;
  };
  state->changes.Run(prepare, [former, done = std::move(done)](
                                  const absl::StatusOr<store::Revision>& result) mutable {
    if (!result.ok()) return done(result.status());
    v1::SetDefaultKeyProviderResponse response;
    response.set_former_default(*former);
    done(std::move(response));
  });
}

void Providers::ForgetCluster(absl::string_view cluster) {
  v1::SetDefaultKeyProviderRequest request;
  request.set_cluster(std::string(cluster));
  if (ClusterDefault(cluster).empty()) return;
  SetDefaultKeyProvider(access::Caller(), request,
                        [](const absl::StatusOr<v1::SetDefaultKeyProviderResponse>&) {});
}

}  // namespace keysphere::controller::providers
