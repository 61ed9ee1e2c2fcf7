// Power and the guest's view of a VM.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "hostagent/agent/errors.h"
#include "hostagent/agent/key_ids.h"
#include "hostagent/agent/lock_reasons.h"
#include "hostagent/agent/vm_registry.h"

namespace keysphere::hostagent::agent {

using host::v1::HostVm;

namespace {

// Who has what was asked for needs no next step.
absl::Status Already(const VmRecord& vm, absl::string_view state) {
  return status::Error(v1::REASON_INVALID_POWER_STATE,
                       absl::StrCat("the VM is powered ", state, " already"))
      .Object("vm", vm.name());
}

bool SameKey(const v1::CryptoKeyId& shown, const absl::optional<vm::KeyId>& key) {
  return key.has_value() ? ToKeyId(shown) == *key : shown.key_id().empty();
}

}  // namespace

void VmRegistry::PowerOn(const std::string& name, bool may_enable_host, const std::string& user,
                         Done done) {
  RunOn<HostVm>(name, std::move(done), [this, may_enable_host, user](const VmPtr& vm, Done answer) {
    if (vm->running) {
      answer(Already(*vm, "on"));
    } else {
      DecidePowerOn(vm, may_enable_host, user, std::move(answer));
    }
  });
}

void VmRegistry::DecidePowerOn(const VmPtr& vm, bool may_enable_host, const std::string& user,
                               Done done) {
  const absl::Status usable = CheckUsable(*vm);
  if (!usable.ok()) {
    done(usable);
    return;
  }
  if (!vm->encrypted()) {
    StartPowerOn(vm, may_enable_host, user, std::move(done));
    return;
  }
  const vm::KeyId key{vm->view.key_id().provider_id(), vm->view.key_id().key_id()};
  std::vector<absl::Status> refusals;
  if (vm->waiting) {
    refusals = CausesOfMissingKey(*host_, key, false);
    refusals.push_back(
        status::Error(v1::REASON_KEYS_PENDING, "the host has not got its keys since its boot")
            .Object("vm", vm->name())
            .NextStep("wait for the first synchronisation with the controller"));
  } else if (!host_->safe()) {
    // What cannot be enabled, for want of a right or of a key to derive a host key from, is
    // refused as it is.
    const bool can_enable = host_->crypto_state() != v1::CRYPTO_STATE_PENDING_INCAPABLE;
    if (!may_enable_host || !can_enable || !host_->keys.Holds(key.provider)) {
      refusals = CausesOfMissingKey(*host_, key, false);
    }
  }
  if (!refusals.empty()) {
    done(status::First(refusals));
  } else if (!host_->safe()) {
    EnableHostThenPowerOn(vm, user, std::move(done));
  } else {
    StartPowerOn(vm, may_enable_host, user, std::move(done));
  }
}

void VmRegistry::EnableHostThenPowerOn(const VmPtr& vm, const std::string& user, Done done) {
  // First the real unwrap: a host is not enabled for a VM that it cannot open (S151).
  OnVm(
      vm, [this](VmRecord::Files* files) { return Look(files); },
      [this, vm, user, done = std::move(done)](FileView found) mutable {
        if (!found.problem.ok() || !found.unwrap.ok()) {
          done(RefusalOf(*host_, found.problem.ok() ? found.unwrap : found.problem));
          return;
        }
        Adopt(vm.get(), found);
        if (!vm->encrypted()) {
          StartPowerOn(vm, /*may_enable_host=*/true, user, std::move(done));
          return;
        }
        const std::string provider = vm->view.key_id().provider_id();
        host_->config->Submit(
            [this, provider](config::HostConfig* config) {
              return EnableFor(provider, host_->options.random->Uuid(), host_->keys,
                               config->mutable_host_key());
            },
            [this, vm, user, done = std::move(done)](const absl::Status& enabled) mutable {
              if (!enabled.ok()) {
                done(About(enabled, "host", host_->options.name));
                return;
              }
              status_changed_();
              StartPowerOn(vm, /*may_enable_host=*/true, user, std::move(done));
            });
      });
}

void VmRegistry::StartPowerOn(const VmPtr& vm, bool may_enable_host, const std::string& user,
                              Done done) {
  struct Started {
    absl::Status status;
    FileView found;
    bool as_known = true;  // encrypted or plain, as was thought
  };
  QuicklyOnVm(
      vm,
      [this, encrypted = vm->encrypted()](VmRecord::Files* files) {
        Started started;
        const auto lookup = [this](const vm::KeyId& key) {
          return host_->keys.VmKek(key.provider, key.key_id);
        };
        absl::StatusOr<std::unique_ptr<vm::RunningVm>> running = files->folder->PowerOn(lookup);
        started.status = running.status();
        started.found = Describe(*files->folder);
        started.as_known = files->folder->encrypted() == encrypted;
        if (running.ok() && started.as_known) files->running = *std::move(running);
        return started;
      },
      [this, vm, may_enable_host, user, done = std::move(done)](const Started& started) mutable {
        const bool same_key = SameKey(vm->view.key_id(), started.found.description.key_id);
        // It read the files. Another host of the datastore may have changed them.
        if (started.status.ok() || !same_key) Adopt(vm.get(), started.found);
        const bool goes_on = started.status.ok() && started.as_known;  // which tells the change too
        if (!goes_on && !same_key) Changed(vm.get());
        if (!started.status.ok()) {
          // Not judged by this (S67): a VM whose key is missing is not locked.
          done(RefusalOf(*host_, started.status));
          return;
        }
        if (!started.as_known) {
          DecidePowerOn(vm, may_enable_host, user, std::move(done));
          return;
        }
        vm->running = true;
        vm->written = false;
        vm->view.set_power_state(v1::POWER_STATE_ON);
        Changed(vm.get(), user);
        done(ToProto(*vm, user));
      });
}

void VmRegistry::PowerOff(const std::string& name, const std::string& user, Done done) {
  RunOn<HostVm>(name, std::move(done), [this, user](const VmPtr& vm, Done answer) {
    if (!vm->running) {
      answer(Already(*vm, "off"));
      return;
    }
    const auto stop = [](VmRecord::Files* files) {
      const absl::Status flushed = files->running->Flush();
      files->running.reset();  // its keys are wiped
      return flushed;
    };
    auto stopped = [this, vm, user,
                    answer = std::move(answer)](const absl::Status& flushed) mutable {
      if (!flushed.ok()) {
        host_->log().Error("vm.flush_failed", {{"vm", vm->name()}, {"error", flushed}});
      }
      vm->running = false;
      vm->view.set_power_state(v1::POWER_STATE_OFF);
      Changed(vm.get(), user);
      answer(ToProto(*vm, user));
    };
    if (vm->written) {
      OnVm(vm, stop, std::move(stopped));
    } else {
      QuicklyOnVm(vm, stop, std::move(stopped));
    }
  });
}

void VmRegistry::Reset(const std::string& name, Done done) {
  RunOn<HostVm>(name, std::move(done), [this](const VmPtr& vm, Done answer) {
    const absl::Status on = CheckOn(*vm);
    if (!on.ok()) {
      answer(on);
      return;
    }
    // The keys in the VM's memory serve the new start of the guest (S156).
    OnVm(
        vm, [](VmRecord::Files* files) { return files->running->Flush(); },
        [this, vm, answer = std::move(answer)](const absl::Status& flushed) mutable {
          if (!flushed.ok()) {
            answer(flushed);
            return;
          }
          Changed(vm.get());
          answer(ToProto(*vm));
        });
  });
}

namespace {

// The disk that a request names; empty: the first.
absl::StatusOr<vm::GuestDisk*> FindDisk(vm::RunningVm* running, const v1::Vm& view,
                                        const std::string& label) {
  if (!label.empty()) return running->Disk(label);
  if (view.disks().empty()) {
    return status::Error(v1::REASON_NOT_FOUND, "the VM has no disk").Object("vm", view.name());
  }
  return running->Disk(view.disks(0).label());
}

absl::Status CheckRange(int64_t offset, int64_t length) {
  if (offset < 0 || length < 0 || length > VmRegistry::kMaxGuestBytes) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         "offset must not be negative and at most 1 MiB goes in one call");
  }
  return absl::OkStatus();
}

}  // namespace

void VmRegistry::ReadDisk(const host::v1::ReadGuestDiskRequest& request,
                          Callback<host::v1::ReadGuestDiskResponse> done) {
  using Response = host::v1::ReadGuestDiskResponse;
  RunOn<Response>(
      request.vm(), std::move(done), [this, request](const VmPtr& vm, Callback<Response> answer) {
        absl::Status allowed = CheckOn(*vm);
        if (allowed.ok()) allowed = CheckRange(request.offset(), request.length());
        if (!allowed.ok()) {
          answer(allowed);
          return;
        }
        OnVm(
            vm,
            [request, view = vm->view](VmRecord::Files* files) -> absl::StatusOr<Response> {
              KS_ASSIGN_OR_RETURN(vm::GuestDisk * disk,
                                  FindDisk(files->running.get(), view, request.disk()));
              Response response;
              response.set_capacity_bytes(static_cast<int64_t>(disk->bytes()));
              std::string* data = response.mutable_data();
              data->resize(static_cast<size_t>(request.length()));
              KS_RETURN_IF_ERROR(disk->Read(
                  static_cast<uint64_t>(request.offset()),
                  absl::MakeSpan(reinterpret_cast<uint8_t*>(&(*data)[0]), data->size())));
              return response;
            },
            std::move(answer));
      });
}

void VmRegistry::WriteDisk(const host::v1::WriteGuestDiskRequest& request,
                           Callback<host::v1::WriteGuestDiskResponse> done) {
  using Response = host::v1::WriteGuestDiskResponse;
  RunOn<Response>(
      request.vm(), std::move(done), [this, request](const VmPtr& vm, Callback<Response> answer) {
        absl::Status allowed = CheckOn(*vm);
        if (allowed.ok()) {
          allowed = CheckRange(request.offset(), static_cast<int64_t>(request.data().size()));
        }
        if (!allowed.ok()) {
          answer(allowed);
          return;
        }
        vm->written = true;
        OnVm(
            vm,
            [request, view = vm->view](VmRecord::Files* files) -> absl::StatusOr<Response> {
              KS_ASSIGN_OR_RETURN(vm::GuestDisk * disk,
                                  FindDisk(files->running.get(), view, request.disk()));
              KS_RETURN_IF_ERROR(disk->Write(
                  static_cast<uint64_t>(request.offset()),
                  absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(request.data().data()),
                                      request.data().size())));
              if (request.flush()) KS_RETURN_IF_ERROR(disk->Flush());
              return Response();
            },
            std::move(answer));
      });
}

}  // namespace keysphere::hostagent::agent
