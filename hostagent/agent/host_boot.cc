// How a host starts and stops.
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/kdf.h"
#include "common/status/status.h"
#include "hostagent/agent/host_agent.h"
#include "hostagent/agent/making_notes.h"
#include "hostagent/agent/persisted_keys.h"

namespace keysphere::hostagent::agent {
namespace {

using config::HostConfigStore;

HostConfigStore::Place PlaceOf(const HostOptions& options) {
  return {options.state_dir, options.tpm, options.files};
}

struct Opened {
  absl::Status status;
  std::vector<std::string> unfinished;  // VMs
  std::unique_ptr<HostConfigStore> store;
  crypto::SecretKey recovery_key;  // of a new configuration
};

// Core dumps that a loss of power left half done.
void RemoveHalfDumps(const HostOptions& options) {
  const std::string folder = DumpFolder(options);
  const absl::StatusOr<std::vector<std::string>> names = options.files->List(folder);
  if (!names.ok()) return;  // there never was one
  for (const std::string& name : *names) {
    if (!absl::EndsWith(name, ".part")) continue;
    options.files->Remove(absl::StrCat(folder, "/", name)).IgnoreError();
  }
}

Opened OpenOrCreate(const HostOptions& options) {
  Opened opened;
  RemoveHalfDumps(options);
  opened.unfinished = MakingNotes(options.files, options.state_dir).List();
  const absl::StatusOr<bool> exists = HostConfigStore::Exists(PlaceOf(options));
  if (!exists.ok()) {
    opened.status = exists.status();
  } else if (*exists) {
    absl::StatusOr<std::unique_ptr<HostConfigStore>> store =
        HostConfigStore::Open(PlaceOf(options));
    opened.status = store.status();
    if (store.ok()) opened.store = *std::move(store);
  } else {
    absl::StatusOr<HostConfigStore::Created> created = HostConfigStore::Create(PlaceOf(options));
    opened.status = created.status();
    if (created.ok()) {
      opened.store = std::move(created->store);
      opened.recovery_key = std::move(created->recovery_key);
    }
  }
  return opened;
}

}  // namespace

void HostAgent::Boot(absl::AnyInvocable<void(absl::Status)> done) {
  file_strand_.Post([this, done = std::move(done)]() mutable {
    auto opened = std::make_shared<Opened>(OpenOrCreate(host_.options));
    host_.strand.Post([this, opened, done = std::move(done)]() mutable {
      boot_id_ = host_.options.random->Uuid();
      unfinished_ = std::move(opened->unfinished);
      absl::StatusOr<crypto::TransportKey> transport_key = crypto::TransportKey::Generate();
      if (!transport_key.ok()) {
        done(transport_key.status());
        return;
      }
      transport_key_ = *std::move(transport_key);
      if (status::ReasonOf(opened->status) == v1::REASON_RECOVERY_REQUIRED) {
        host_.log().Warning("host.recovery_required", {{"host", host_.options.name}});
        phase_ = Phase::kRecoveryRequired;
        done(absl::OkStatus());
        return;
      }
      if (!opened->status.ok()) {
        done(opened->status);
        return;
      }
      recovery_key_ = std::move(opened->recovery_key);
      ContinueBoot(std::move(opened->store), std::move(done));
    });
  });
}

void HostAgent::ProvideRecoveryKey(const Caller& caller,
                                   const host::v1::ProvideRecoveryKeyRequest& request,
                                   Callback<host::v1::GetHostStatusResponse> done) {
  host_.strand.Post([this, caller, request, done = std::move(done)]() mutable {
    absl::Status allowed = Admit(caller, Right::kRecovery, kAnyEpoch);
    if (allowed.ok() && phase_ != Phase::kRecoveryRequired) {
      allowed = status::Error(v1::REASON_INVALID_STATE, "the host's configuration is open")
                    .Object("host", host_.options.name);
    }
    if (!allowed.ok()) {
      done(allowed);
      return;
    }
    phase_ = Phase::kStarting;  // one at a time
    file_strand_.Post([this, request = std::move(request), done = std::move(done)]() mutable {
      absl::StatusOr<std::unique_ptr<HostConfigStore>> opened =
          HostConfigStore::OpenWithRecoveryKey(PlaceOf(host_.options), request.recovery_key());
      auto store = std::make_shared<decltype(opened)>(std::move(opened));
      host_.strand.Post([this, store, done = std::move(done)]() mutable {
        if (!store->ok()) {
          phase_ = Phase::kRecoveryRequired;
          done(store->status());
          return;
        }
        ContinueBoot(*std::move(*store),
                     [this, done = std::move(done)](const absl::Status& booted) mutable {
                       if (booted.ok()) {
                         done(Status());
                       } else {
                         done(booted);
                       }
                     });
      });
    });
  });
}

absl::Status HostAgent::LoadKeys() {
  for (const config::Kdk& kdk : host_.configuration().kdks()) {
    KS_ASSIGN_OR_RETURN(crypto::SecretKey key,
                        host_.config->OpenSecret(
                            config::KdkSecretName(kdk.provider(), kdk.key_id()), kdk.sealed_key()));
    KS_ASSIGN_OR_RETURN(const std::string check_value, crypto::KeyCheckValue(key));
    if (check_value != kdk.kcv()) {
      return status::Error(v1::REASON_CHECK_VALUE_MISMATCH,
                           "a key in the host's configuration is not what it says")
          .Object("provider", kdk.provider());
    }
    host_.keys.Put(EntryOf(kdk), std::move(key));
  }
  KS_ASSIGN_OR_RETURN(std::vector<keys::StandardKey> persisted, LoadPersistedKeys(*host_.config));
  for (keys::StandardKey& key : persisted) host_.keys.standard().Put(std::move(key));
  return absl::OkStatus();
}

void HostAgent::ContinueBoot(std::unique_ptr<HostConfigStore> store,
                             absl::AnyInvocable<void(absl::Status)> done) {
  host_.config = std::make_unique<ConfigWriter>(&host_.strand, host_.options.executor,
                                                host_.lifetime, std::move(store));
  generation_ = static_cast<int64_t>(host_.configuration().attachment().generation());
  const absl::Status loaded = LoadKeys();
  if (!loaded.ok()) {
    done(loaded);
    return;
  }
  vms_ = std::make_unique<VmRegistry>(&host_, [this] { CryptoModeChanged(); });
  host_.config->Submit(
      [this](config::HostConfig* config) -> absl::StatusOr<bool> {
        bool changed =
            BootCryptoMode(host_.keys, host_.options.random->Uuid(), config->mutable_host_key());
        // Without encryption mode a host takes no keys of standard providers (S98, S151), and so it
        // does not keep those that it had.
        if (StateOf(config->host_key()) != v1::CRYPTO_STATE_SAFE &&
            !config->persisted_keys().empty()) {
          config->clear_persisted_keys();
          host_.keys.standard().Clear();
          changed = true;
        }
        return changed;
      },
      [this, done = std::move(done)](const absl::Status& saved) mutable {
        if (!saved.ok()) {
          done(saved);
          return;
        }
        CryptoModeChanged();
        BootVms(std::move(done));
      });
}

void HostAgent::BootVms(absl::AnyInvocable<void(absl::Status)> done) {
  vms_->Boot([this, done = std::move(done)]() mutable {
    phase_ = Phase::kOpen;
    was_waiting_ = vms_->waiting();
    awaits_host_key_ = AwaitsHostKey(host_.keys, host_.configuration().host_key());
    WaitForKeys();
    host_.log().Info("host.booted",
                     {{"host", host_.options.name},
                      {"boot_id", boot_id_},
                      {"controller", host_.configuration().attachment().controller()},
                      {"crypto_state", v1::CryptoState_Name(host_.crypto_state())},
                      {"keys", host_.keys.size()},
                      {"vms", host_.configuration().vms_size()}});
    // Nobody waits for it.
    file_strand_.Post([this, unfinished = std::move(unfinished_)] {
      MakingNotes(host_.options.files, host_.options.state_dir)
          .CleanUp(unfinished, host_.options.logger);
    });
    done(absl::OkStatus());
  });
}

void HostAgent::WaitForKeys() {
  host_.options.clock->Cancel(key_wait_timer_);
  if (!was_waiting_ && !awaits_host_key_) return;
  key_wait_timer_ = host_.options.clock->RunAfter(
      host_.options.boot_key_wait,
      host_.lifetime.Guard([this] { host_.strand.Post([this] { KeysDidNotCome(); }); }));
}

void HostAgent::KeysDidNotCome() {
  if (phase_ != Phase::kOpen) return;
  // Its controller is here, and ends the first sync, however long a KMS lets it wait. When its
  // watch ends the wait begins anew.
  if (!host_.watchers.empty()) return;
  if (!std::exchange(awaits_host_key_, false)) return EndKeyWait();
  host_.config->Submit(
      [this](config::HostConfig* config) -> absl::StatusOr<bool> {
        return MakeOwnHostKey(host_.keys, host_.options.random->Uuid(), config->mutable_host_key());
      },
      [this](const absl::Status& made) {
        if (made.ok()) CryptoModeChanged();
        EndKeyWait();
      });
}

void HostAgent::EndKeyWait() {
  if (phase_ != Phase::kOpen) return;
  vms_->JudgeWaiting([this](const std::vector<std::string>& locked) {
    host_.log().Info("host.key_wait_ended", {{"locked_vms", locked.size()}});
    NoteBootComplete();
  });
}

void HostAgent::NoteBootComplete() {
  if (!was_waiting_ || vms_->waiting()) return;
  was_waiting_ = false;
  if (!awaits_host_key_) host_.options.clock->Cancel(key_wait_timer_);
  StatusChanged();
}

Callback<host::v1::HostVm> HostAgent::NotingBootComplete(Callback<host::v1::HostVm> done) {
  return [this, done = std::move(done)](absl::StatusOr<host::v1::HostVm> result) mutable {
    NoteBootComplete();
    done(std::move(result));
  };
}

void HostAgent::Shutdown(absl::AnyInvocable<void(absl::Status)> done) {
  host_.strand.Post([this, done = std::move(done)]() mutable {
    const bool open = phase_ == Phase::kOpen;
    phase_ = Phase::kStopped;
    host_.options.clock->Cancel(key_wait_timer_);
    host_.watchers.EndAll(status::Error(v1::REASON_SHUTTING_DOWN, "the host stops")
                              .Object("host", host_.options.name));
    auto stop_tpm = [this, done = std::move(done)]() mutable {
      host_.keys.Clear();
      host_key_ = crypto::SecretKey();
      file_strand_.Post([this, done = std::move(done)]() mutable {
        const absl::Status stopped =
            host_.options.tpm->usable() ? host_.options.tpm->Shutdown() : absl::OkStatus();
        host_.strand.Post([stopped, done = std::move(done)]() mutable { done(stopped); });
      });
    };
    if (!open) {
      stop_tpm();
      return;
    }
    vms_->PowerOffAll([this, stop_tpm = std::move(stop_tpm)]() mutable {
      // Behind every write that is under way.
      host_.config->Submit(
          [](config::HostConfig*) -> absl::StatusOr<bool> { return false; },
          [stop_tpm = std::move(stop_tpm)](const absl::Status&) mutable { stop_tpm(); });
    });
  });
}

}  // namespace keysphere::hostagent::agent
