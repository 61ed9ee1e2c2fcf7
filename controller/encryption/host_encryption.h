#ifndef KEYSPHERE_CONTROLLER_ENCRYPTION_HOST_ENCRYPTION_H_
#define KEYSPHERE_CONTROLLER_ENCRYPTION_HOST_ENCRYPTION_H_

#include <memory>
#include <string>
#include <vector>

#include "common/status/callback.h"
#include "controller/access/access.h"
#include "controller/access/caller.h"
#include "controller/alarms/alarms.h"
#include "controller/encryption/host_readiness.h"
#include "controller/encryption/key_maker.h"
#include "controller/events/event_log.h"
#include "controller/hosts/hosts.h"
#include "controller/options/options.h"
#include "keysphere/v1/inventory.pb.h"

namespace keysphere::controller::encryption {

// Encryption mode of hosts: the state machine's steps (S95-S98) and its re-enabling (S102). Lives
// on the controller's strand.
class HostEncryption {
 public:
  struct Deps {
    access::Access* access;
    hosts::Hosts* hosts;
    hosts::NeededKeys* needs;
    HostReadiness* readiness;
    KeyMaker* keys;
    events::EventLog* events;
    alarms::Alarms* alarms;
    options::Options* options;
  };
  explicit HostEncryption(const Deps& deps)
      : access_(deps.access),
        hosts_(deps.hosts),
        needs_(deps.needs),
        readiness_(deps.readiness),
        keys_(deps.keys),
        events_(deps.events),
        alarms_(deps.alarms),
        options_(deps.options) {}

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

  void SetKeyPersistence(const access::Caller& caller, const v1::SetKeyPersistenceRequest& request,
                         status::Callback<v1::Host> done);
  void WriteCoreDump(const access::Caller& caller, const v1::WriteCoreDumpRequest& request,
                     status::Callback<v1::WriteCoreDumpResponse> done);
  void ReadCoreDump(const access::Caller& caller, const v1::ReadCoreDumpRequest& request,
                    status::Callback<v1::ReadCoreDumpResponse> done);

  // A host that was safe booted without its host key: gives it the old one or, with
  // vpxd.hostkey.newIfMissing, a new one of the effective default or of a native provider that it
  // holds. Where none can be had it stays incapable until ConfigureCryptoKey (S104, S150), and an
  // alarm says so (S90).
  void RestoreHostKey(const std::string& host, absl::AnyInvocable<void()> done);

 private:
  using Session = std::shared_ptr<hosts::HostSession>;

  void Step(const access::Caller& caller, const std::string& host_name,
            host::v1::SetCryptoModeRequest::Action action, v1::CryptoKeyId key,
            absl::string_view operation, status::Callback<v1::Host> done);
  // A key that a host could be given: one that exists, or a new one where the id is empty.
  using Candidates = std::vector<v1::CryptoKeyId>;
  absl::StatusOr<Candidates> HostKeysToUse(const hosts::HostSession& host,
                                           const v1::CryptoKeyId& wanted) const;
  // The first that can be had; the first's error if none can.
  void FirstHostKey(Session host, Candidates candidates, absl::Status error,
                    status::Callback<KeyMaker::HostKey> done);
  void TellHostKeyMissing(const hosts::HostSession& host, const absl::Status& why);
  void Unlock(const access::Caller& caller, Session host, const v1::CryptoKeyId& key,
              status::Callback<v1::ConfigureCryptoKeyResponse> done);
  void UnlockAll(const access::Caller& caller, Session host, const v1::CryptoKeyId& key,
                 status::Callback<v1::ConfigureCryptoKeyResponse> done);

  access::Access* const access_;
  hosts::Hosts* const hosts_;
  hosts::NeededKeys* const needs_;
  HostReadiness* const readiness_;
  KeyMaker* const keys_;
  events::EventLog* const events_;
  alarms::Alarms* const alarms_;
  options::Options* const options_;
};

}  // namespace keysphere::controller::encryption

#endif  // KEYSPHERE_CONTROLLER_ENCRYPTION_HOST_ENCRYPTION_H_
