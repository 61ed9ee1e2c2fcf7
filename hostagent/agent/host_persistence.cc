// Key Persistence: SetKeyPersistence.
#include <utility>

#include "common/status/status.h"
#include "hostagent/agent/host_agent.h"
#include "hostagent/agent/host_agent_serve.h"
#include "hostagent/agent/persisted_keys.h"

namespace keysphere::hostagent::agent {

using host::v1::SetKeyPersistenceResponse;

void HostAgent::PersistCachedKeys(Callback<SetKeyPersistenceResponse> done) {
  host_.config->Edit(
      [this](const config::HostConfig& config) -> absl::StatusOr<config::ConfigChange> {
        config::ConfigChange change;
        // Switched off again meanwhile.
        if (!PersistsKeys(host_.config->mode(), config)) return change;
        KS_RETURN_IF_ERROR(PersistAll(*host_.config, host_.keys.standard(), config, &change));
        return change;
      },
      [this, done = std::move(done)](const absl::Status& saved) mutable {
        if (!saved.ok()) {
          done(saved);
          return;
        }
        SetKeyPersistenceResponse response;
        response.set_enabled(PersistsKeys(host_.config->mode(), host_.configuration()));
        done(std::move(response));
      });
}

void HostAgent::SetKeyPersistence(const Caller& caller,
                                  const host::v1::SetKeyPersistenceRequest& request,
                                  Callback<SetKeyPersistenceResponse> done) {
  Serve(caller, Right::kEncrypt, request, std::move(done),
        [this](const host::v1::SetKeyPersistenceRequest& req,
               Callback<SetKeyPersistenceResponse> answer) {
          const bool enabled = req.enabled();
          if (enabled && host_.config->mode() != config::MODE_TPM) {
            return answer(status::Error(v1::REASON_TPM_REQUIRED,
                                        "Key Persistence keeps keys under a TPM 2.0 only")
                              .Object("host", host_.options.name)
                              .NextStep("Use a host with a TPM 2.0. Without one, its controller "
                                        "sends the keys again after each boot."));
          }
          host_.config->Submit(
              [enabled](config::HostConfig* config) -> absl::StatusOr<bool> {
                if (config->key_persistence() == enabled) return false;
                config->set_key_persistence(enabled);
                config->clear_persisted_keys();
                return true;
              },
              [this, enabled, answer = std::move(answer)](const absl::Status& saved) mutable {
                if (!saved.ok()) {
                  answer(saved);
                  return;
                }
                host_.log().Info("host.key_persistence", {{"enabled", enabled ? "yes" : "no"}});
                StatusChanged();
                // Keys that come from now on are kept as they come: after those that are cached
                // now, none is missing.
                PersistCachedKeys(std::move(answer));
              });
        });
}

}  // namespace keysphere::hostagent::agent
