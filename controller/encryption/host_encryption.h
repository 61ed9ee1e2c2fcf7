#ifndef KEYSPHERE_CONTROLLER_ENCRYPTION_HOST_ENCRYPTION_H_
#define KEYSPHERE_CONTROLLER_ENCRYPTION_HOST_ENCRYPTION_H_

#include <memory>
#include <string>

#include "common/status/callback.h"
#include "controller/access/access.h"
#include "controller/access/caller.h"
#include "controller/alarms/alarms.h"
#include "controller/encryption/host_readiness.h"
#include "controller/events/event_log.h"
#include "controller/hosts/hosts.h"
#include "controller/options/options.h"
#include "keysphere/v1/inventory.pb.h"

namespace keysphere::controller::encryption {

// Encryption mode of hosts: the state machine's steps (S95-S98) and its re-enabling (S102). Lives
// on the controller's strand.
class HostEncryption {
 public:
  HostEncryption(access::Access* access, hosts::Hosts* hosts, HostReadiness* readiness,
                 events::EventLog* events, alarms::Alarms* alarms, options::Options* options)
      : access_(access),
        hosts_(hosts),
        readiness_(readiness),
        events_(events),
        alarms_(alarms),
        options_(options) {}

  void PrepareCrypto(const access::Caller& caller, const v1::PrepareCryptoRequest& request,
                     status::Callback<v1::Host> done);
  void EnableCrypto(const access::Caller& caller, const v1::EnableCryptoRequest& request,
                    status::Callback<v1::Host> done);
  void DisableCrypto(const access::Caller& caller, const v1::DisableCryptoRequest& request,
                     status::Callback<v1::Host> done);
  void ChangeKey(const access::Caller& caller, const v1::ChangeKeyRequest& request,
                 status::Callback<v1::Host> done);
  void AddKey(const access::Caller& caller, const v1::AddKeyRequest& request,
              status::Callback<v1::Host> done);
  void ConfigureCryptoKey(const access::Caller& caller,
                          const v1::ConfigureCryptoKeyRequest& request,
                          status::Callback<v1::ConfigureCryptoKeyResponse> done);

  // A host that was safe booted without its host key: gives it the old one or, with
  // vpxd.hostkey.newIfMissing, a new one of the effective default. Where neither can be had it
  // stays incapable until ConfigureCryptoKey (S104, S150).
  void RestoreHostKey(const std::string& host);

 private:
  using Session = std::shared_ptr<hosts::HostSession>;

  void Step(const access::Caller& caller, const std::string& host_name,
            host::v1::SetCryptoModeRequest::Action action, v1::CryptoKeyId key,
            absl::string_view operation, status::Callback<v1::Host> done);
  absl::StatusOr<v1::CryptoKeyId> HostKeyToUse(const hosts::HostSession& host,
                                               const v1::CryptoKeyId& wanted) const;
  void UnlockAll(const access::Caller& caller, Session host, const v1::CryptoKeyId& key,
                 status::Callback<v1::ConfigureCryptoKeyResponse> done);

  access::Access* const access_;
  hosts::Hosts* const hosts_;
  HostReadiness* const readiness_;
  events::EventLog* const events_;
  alarms::Alarms* const alarms_;
  options::Options* const options_;
};

}  // namespace keysphere::controller::encryption

#endif  // KEYSPHERE_CONTROLLER_ENCRYPTION_HOST_ENCRYPTION_H_
