// Operations that change or end a VM's encryption or lock.
#include <utility>

#include "common/crypto/secret_key.h"
#include "common/status/status.h"
#include "hostagent/agent/crypto_mode.h"
#include "hostagent/agent/key_ids.h"
#include "hostagent/agent/lock_reasons.h"
#include "hostagent/agent/vm_registry.h"

namespace keysphere::hostagent::agent {
namespace {

using host::v1::HostVm;

// Bytes of a disk that one task works on.
constexpr uint64_t kStepBytes = 1 << 20;
// Percent between two things that watchers hear of a job's progress.
constexpr int kProgressStep = 5;

}  // namespace

std::vector<absl::Status> VmRegistry::NewKeyRefusals(const v1::CryptoKeyId& key) const {
  std::vector<absl::Status> refusals;
  if (host_->cluster().empty()) {
    refusals.push_back(status::Error(v1::REASON_NOT_IN_CLUSTER, "the host is in no cluster")
                           .Object("host", host_->options.name)
                           .NextStep("move the host into a cluster"));
  }
  if (!host_->safe()) {
    refusals.push_back(status::Error(v1::REASON_HOST_NOT_SAFE, "encryption mode of the host is off")
                           .Object("host", host_->options.name)
                           .NextStep("enable encryption mode of the host"));
  }
  refusals.push_back(CheckKeyHere(host_->keys, key.provider_id(), key.key_id()));
  return refusals;
}

void VmRegistry::RunJob(const VmPtr& vm, Step then) {
  vm->strand.Post([this, vm, then = std::move(then)]() mutable {
    VmRecord::Files& files = vm->files;
    const absl::StatusOr<bool> done = files.job->Step(kStepBytes);
    if (done.ok() && !*done) {
      TellProgress(vm);
      RunJob(vm, std::move(then));  // others may have a turn
      return;
    }
    EndJob(&files);
    absl::StatusOr<FileView> found =
        done.ok() ? absl::StatusOr<FileView>(Look(&files)) : done.status();
    host_->strand.Post(
        [then = std::move(then), found = std::move(found)]() mutable { then(std::move(found)); });
  });
}

void VmRegistry::TellProgress(const VmPtr& vm) {
  const vm::VmJob::Progress progress = vm->files.job->progress();
  if (progress.total_bytes == 0) return;
  const int percent = static_cast<int>(progress.done_bytes * 100 / progress.total_bytes);
  if (percent < vm->files.told_percent + kProgressStep) return;
  vm->files.told_percent = percent;
  host_->strand.Post([this, vm, percent] {
    if (host_->watchers.empty()) return;
    host::v1::HostEvent event;
    event.mutable_vm_progress()->set_vm(vm->name());
    event.mutable_vm_progress()->set_percent(percent);
    host_->watchers.Publish(std::move(event));
  });
}

void VmRegistry::EndJob(VmRecord::Files* files) {
  files->job.reset();
  files->told_percent = 0;
  if (files->job_ended) std::exchange(files->job_ended, nullptr)();
}

void VmRegistry::FinishChange(const VmPtr& vm, absl::StatusOr<FileView> found, Done done) {
  if (!found.ok()) {
    done(RefusalOf(*host_, found.status()));
    return;
  }
  Adopt(vm.get(), *found);
  Changed(vm.get());
  done(ToProto(*vm));
}

void VmRegistry::Encrypt(const host::v1::EncryptHostVmRequest& request, Done done) {
  RunOn<HostVm>(request.vm(), std::move(done), [this, request](const VmPtr& vm, Done answer) {
    absl::Status allowed = CheckKeyId(request.key(), request.vm());
    if (allowed.ok()) {
      std::vector<absl::Status> refusals = NewKeyRefusals(request.key());
      refusals.push_back(CheckOff(*vm));
      if (!vm->encrypted() || vm->locked()) refusals.push_back(CheckUsable(*vm));
      allowed = status::First(refusals);
    }
    if (!allowed.ok()) {
      answer(allowed);
      return;
    }
    OnVm(
        vm,
        [this, request](VmRecord::Files* files) -> absl::Status {
          KS_ASSIGN_OR_RETURN(
              const crypto::SecretKey kek,
              host_->keys.VmKek(request.key().provider_id(), request.key().key_id()));
          const auto disks =
              request.skip_hard_disks() ? vm::DiskSelection::None() : vm::DiskSelection::All();
          KS_ASSIGN_OR_RETURN(files->job,
                              files->folder->Encrypt(kek, ToKeyId(request.key()), disks));
          return absl::OkStatus();
        },
        [this, vm, answer = std::move(answer)](const absl::Status& started) mutable {
          if (!started.ok()) {
            answer(RefusalOf(*host_, started));
            return;
          }
          RunJob(vm,
                 [this, vm, answer = std::move(answer)](absl::StatusOr<FileView> found) mutable {
                   FinishChange(vm, std::move(found), std::move(answer));
                 });
        });
  });
}

void VmRegistry::Decrypt(const std::string& name, Done done) {
  RunOn<HostVm>(name, std::move(done), [this](const VmPtr& vm, Done answer) {
    const absl::Status allowed = status::First({CheckOff(*vm), CheckUsable(*vm)});
    if (!allowed.ok()) {
      answer(allowed);
      return;
    }
    OnVm(
        vm,
        [this](VmRecord::Files* files) -> absl::Status {
          const auto lookup = [this](const vm::KeyId& key) {
            return host_->keys.VmKek(key.provider, key.key_id);
          };
          KS_ASSIGN_OR_RETURN(files->job, files->folder->Decrypt(lookup));
          return absl::OkStatus();
        },
        [this, vm, answer = std::move(answer)](const absl::Status& started) mutable {
          if (!started.ok()) {
            answer(RefusalOf(*host_, started));
            return;
          }
          RunJob(vm,
                 [this, vm, answer = std::move(answer)](absl::StatusOr<FileView> found) mutable {
                   if (found.ok()) SetWaiting(vm.get(), false);
                   FinishChange(vm, std::move(found), std::move(answer));
                 });
        });
  });
}

void VmRegistry::AddVtpm(const host::v1::AddHostVmVtpmRequest& request, Done done) {
  RunOn<HostVm>(request.vm(), std::move(done), [this, request](const VmPtr& vm, Done answer) {
    std::vector<absl::Status> refusals = {CheckOff(*vm), CheckUsable(*vm)};
    const bool encrypts = request.has_key() && !vm->encrypted();
    if (encrypts) {
      const absl::Status key = CheckKeyId(request.key(), request.vm());
      if (!key.ok()) {
        answer(key);
        return;
      }
      for (absl::Status& refusal : NewKeyRefusals(request.key())) {
        refusals.push_back(std::move(refusal));
      }
    }
    const absl::Status allowed = status::First(refusals);
    if (!allowed.ok()) {
      answer(allowed);
      return;
    }
    OnVm(
        vm,
        [this, request, encrypts](VmRecord::Files* files) -> absl::StatusOr<FileView> {
          const auto lookup = [this](const vm::KeyId& key) {
            return host_->keys.VmKek(key.provider, key.key_id);
          };
          crypto::SecretKey kek;
          if (encrypts) {
            KS_ASSIGN_OR_RETURN(
                kek, host_->keys.VmKek(request.key().provider_id(), request.key().key_id()));
          }
          KS_RETURN_IF_ERROR(
              files->folder->AddVtpm(lookup, encrypts ? &kek : nullptr, ToKeyId(request.key())));
          return Look(files);
        },
        [this, vm, answer = std::move(answer)](absl::StatusOr<FileView> found) mutable {
          FinishChange(vm, std::move(found), std::move(answer));
        });
  });
}

void VmRegistry::Unlock(const std::string& name, Done done) {
  RunOn<HostVm>(name, std::move(done), [this](const VmPtr& vm, Done answer) {
    if (!vm->locked() && !vm->waiting) {
      answer(ToProto(*vm));
      return;
    }
    OnVm(
        vm, [this](VmRecord::Files* files) { return Look(files); },
        [this, vm, answer = std::move(answer)](FileView found) mutable {
          const absl::Status failure = found.problem.ok() ? found.unwrap : found.problem;
          // It ends a lock, or the wait after a boot, and makes none (S134).
          if (failure.ok() || vm->locked()) {
            AdoptJudgement(vm.get(), found);
            Changed(vm.get());
          }
          if (failure.ok()) {
            answer(ToProto(*vm));
          } else {
            answer(RefusalOf(*host_, failure));
          }
        });
  });
}

void VmRegistry::UnlockAll(Callback<host::v1::UnlockAllHostVmsResponse> done) {
  std::vector<VmPtr> vms;
  for (const auto& [name, vm] : vms_) {
    if (vm->locked() || vm->waiting) vms.push_back(vm);
  }
  struct State {
    size_t left = 0;
    host::v1::UnlockAllHostVmsResponse response;
    Callback<host::v1::UnlockAllHostVmsResponse> done;
  };
  auto state = std::make_shared<State>();
  state->left = vms.size() + 1;
  state->done = std::move(done);
  const auto one_done = [state] {
    if (--state->left == 0) state->done(std::move(state->response));
  };
  for (const VmPtr& vm : vms) {
    Enqueue(vm, [this, vm, state, one_done](absl::AnyInvocable<void()> end) mutable {
      if (vm->gone || vm->running || (!vm->locked() && !vm->waiting)) {
        end();
        one_done();
        return;
      }
      OnVm(
          vm, [this](VmRecord::Files* files) { return Look(files); },
          [this, vm, state, one_done, end = std::move(end)](const FileView& found) mutable {
            const bool works = found.problem.ok() && found.unwrap.ok();
            if (works || vm->locked()) {
              AdoptJudgement(vm.get(), found);
              Changed(vm.get());
            }
            if (works) {
              state->response.add_unlocked_vms(vm->name());
            } else {
              HostVm* still = state->response.add_still_locked();
              *still = ToProto(*vm);
              if (vm->waiting) {
                const vm::KeyId key = ToKeyId(vm->view.key_id());
                *still->mutable_vm()->mutable_lock() = ExplainLock(*host_, key, false);
              }
            }
            end();
            one_done();
          });
    });
  }
  one_done();
}

}  // namespace keysphere::hostagent::agent
