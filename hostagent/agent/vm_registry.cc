#include "hostagent/agent/vm_registry.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "hostagent/agent/errors.h"
#include "hostagent/agent/key_ids.h"
#include "hostagent/agent/lock_reasons.h"

namespace keysphere::hostagent::agent {
namespace {

using host::v1::HostVm;

v1::CryptoKeyId ToProtoKey(const vm::KeyId& key) {
  v1::CryptoKeyId id;
  id.set_provider_id(key.provider);
  id.set_key_id(key.key_id);
  return id;
}

}  // namespace

VmRegistry::~VmRegistry() {
  for (const std::weak_ptr<VmRecord>& record : records_) {
    const VmPtr vm = record.lock();
    if (vm == nullptr) continue;
    vm->files.running.reset();
    vm->files.job.reset();
    vm->files.folder.reset();
  }
}

VmPtr VmRegistry::Find(const std::string& name) const {
  const auto it = vms_.find(name);
  return it == vms_.end() ? nullptr : it->second;
}

VmPtr VmRegistry::NewRecord(const std::string& id, const std::string& name,
                            const std::string& vmx_path, const std::string& file_path) {
  auto vm = std::make_shared<VmRecord>(host_->options.executor, host_->lifetime);
  vm->id = id;
  vm->files.path = file_path;
  vm->view.set_name(name);
  vm->view.set_host(host_->options.name);
  vm->view.set_vmx_path(vmx_path);
  vm->view.set_power_state(v1::POWER_STATE_OFF);
  vm->view.set_lock_state(v1::LOCK_STATE_UNLOCKED);
  if (records_.size() >= 2 * vms_.size() + 64) {
    records_.erase(std::remove_if(records_.begin(), records_.end(),
                                  [](const auto& record) { return record.expired(); }),
                   records_.end());
  }
  records_.push_back(vm);
  return vm;
}

void VmRegistry::Enqueue(const VmPtr& vm,
                         absl::AnyInvocable<void(absl::AnyInvocable<void()>)> body) {
  if (!vm->busy) {  // at once: this is the host's strand
    vm->busy = true;
    body([this, vm] { EndOperation(vm); });
    return;
  }
  vm->queue.push_back(
      [this, vm, body = std::move(body)]() mutable { body([this, vm] { EndOperation(vm); }); });
}

void VmRegistry::EndOperation(const VmPtr& vm) {
  if (vm->queue.empty()) {
    vm->busy = false;
    return;
  }
  executor::Task next = std::move(vm->queue.front());
  vm->queue.pop_front();
  // Not inside the caller: operations that end at once would pile up on the stack.
  host_->strand.Post(std::move(next));
}

FileView VmRegistry::Describe(const vm::VmFolder& folder) {
  FileView found;
  found.description = folder.Describe();
  return found;
}

FileView VmRegistry::Look(VmRecord::Files* files) const {
  FileView found;
  if (files->folder == nullptr) {
    absl::StatusOr<std::unique_ptr<vm::VmFolder>> opened =
        vm::VmFolder::Open(*host_->options.files, files->path);
    found.problem = opened.status();
    if (opened.ok()) files->folder = *std::move(opened);
  } else {
    found.problem = files->folder->Refresh();
  }
  if (found.problem.ok() && files->folder->encrypted()) {
    const auto lookup = [this](const vm::KeyId& key) {
      return host_->keys.VmKek(key.provider, key.key_id);
    };
    found.unwrap = files->folder->UnwrapHome(lookup).status();
  }
  if (Classify(found.unwrap) == Failure::kFiles) found.problem = found.unwrap;
  if (!found.problem.ok()) {
    found.description.key_id = vm::VmFolder::ReadKeyId(*host_->options.files, files->path);
    return found;
  }
  found.description = files->folder->Describe();
  found.missing = files->folder->CheckDisksAreThere();
  return found;
}

void VmRegistry::Adopt(VmRecord* vm, const FileView& found) {
  vm->problem = datastores_.Shown(About(found.problem, "vm", vm->name()));
  const vm::VmDescription& description = found.description;
  v1::Vm& view = vm->view;
  if (!found.problem.ok()) {
    // S81: a VM that shows no key is not encrypted. What else was known of it stays.
    if (description.key_id.has_value()) {
      *view.mutable_key_id() = ToProtoKey(*description.key_id);
      view.set_migrate_encryption("required");
    }
    return;
  }
  view.set_uuid(description.uuid);
  if (description.key_id.has_value()) {
    *view.mutable_key_id() = ToProtoKey(*description.key_id);
  } else {
    view.clear_key_id();
  }
  view.clear_disks();
  for (const vm::DiskDescription& disk : description.disks) {
    v1::VmDisk* out = view.add_disks();
    out->set_label(disk.device);
    out->set_capacity_bytes(static_cast<int64_t>(disk.bytes));
    out->set_file_name(disk.file);
    if (disk.key_id.has_value()) *out->mutable_key_id() = ToProtoKey(*disk.key_id);
  }
  view.set_vtpm(description.vtpm);
  view.set_migrate_encryption(description.migrate_encryption_required ? "required"
                                                                      : "opportunistic");
  view.set_guest_os(description.guest_os);
}

bool VmRegistry::AdoptJudgement(VmRecord* vm, const FileView& found) {
  const bool was_locked = vm->locked();
  Adopt(vm, found);
  SetWaiting(vm, false);
  const bool locked = !found.problem.ok() || !found.unwrap.ok();
  vm->wrong_check_value =
      Classify(found.unwrap) == Failure::kWrongKey
          ? host_->keys.CheckValue(vm->view.key_id().provider_id(), vm->view.key_id().key_id())
          : "";
  vm->view.set_lock_state(locked ? v1::LOCK_STATE_LOCKED : v1::LOCK_STATE_UNLOCKED);
  vm->view.clear_lock();
  Explain(vm);
  return locked && !was_locked;
}

void VmRegistry::SetWaiting(VmRecord* vm, bool waiting) {
  if (vm->waiting == waiting) return;
  vm->waiting = waiting;
  waiting_ += waiting ? 1 : -1;
  vm->view.set_lock_state(waiting ? v1::LOCK_STATE_UNSPECIFIED : v1::LOCK_STATE_UNLOCKED);
}

bool VmRegistry::WrongKeyStill(const VmRecord& vm) const {
  return !vm.wrong_check_value.empty() &&
         vm.wrong_check_value ==
             host_->keys.CheckValue(vm.view.key_id().provider_id(), vm.view.key_id().key_id());
}

void VmRegistry::Explain(VmRecord* vm) {
  if (!vm->locked()) {
    vm->view.clear_lock();
  } else if (!vm->problem.ok()) {
    *vm->view.mutable_lock() = ExplainFiles(*host_, vm->problem);
  } else {
    const vm::KeyId key{vm->view.key_id().provider_id(), vm->view.key_id().key_id()};
    const v1::LockCause judged = vm->view.lock().cause();
    *vm->view.mutable_lock() = ExplainLock(*host_, key, WrongKeyStill(*vm));
    // What is to be done changes with what the host is told; the cause is that of the judgement.
    if (judged != v1::LOCK_CAUSE_UNSPECIFIED) vm->view.mutable_lock()->set_cause(judged);
  }
}

void VmRegistry::RefreshExplanations() {
  for (const auto& [name, vm] : vms_) {
    if (!vm->locked() || vm->gone) continue;
    const std::string before = vm->view.lock().SerializeAsString();
    Explain(vm.get());
    if (vm->view.lock().SerializeAsString() != before) Changed(vm.get());
  }
}

void VmRegistry::Boot(absl::AnyInvocable<void()> done) {
  auto left = std::make_shared<size_t>(1);
  auto finish = std::make_shared<absl::AnyInvocable<void()>>(std::move(done));
  const auto one_done = [left, finish] {
    if (--*left == 0) (*finish)();
  };
  for (const config::RegisteredVm& saved : host_->configuration().vms()) {
    const absl::StatusOr<std::string> path = datastores_.Resolve(saved.vmx_path());
    const VmPtr vm = NewRecord(saved.id(), saved.name(), saved.vmx_path(), path.ok() ? *path : "");
    vms_[saved.name()] = vm;
    if (!path.ok()) {  // its datastore is not here: shown, not lost
      FileView missing;
      missing.problem = path.status();
      AdoptJudgement(vm.get(), missing);
      continue;
    }
    ++*left;
    Enqueue(vm, [this, vm, one_done](absl::AnyInvocable<void()> end) mutable {
      OnVm(
          vm, [this](VmRecord::Files* files) { return Look(files); },
          [this, vm, one_done, end = std::move(end)](FileView found) mutable {
            if (found.problem.ok() && Classify(found.unwrap) == Failure::kKeyMissing) {
              Adopt(vm.get(), found);
              SetWaiting(vm.get(), true);
            } else {
              AdoptJudgement(vm.get(), found);
            }
            end();
            one_done();
          });
    });
  }
  host_->strand.Post(one_done);
}

VmRegistry::Judgement VmRegistry::Judge(VmRecord::Files* files, const RemovedKeys* removed,
                                        const v1::CryptoKeyId& known) const {
  Judgement judgement;
  if (removed != nullptr && files->folder != nullptr) {
    v1::CryptoKeyId named = known;
    if (files->folder->Refresh().ok()) {
      const vm::KeyId* const key = files->folder->key_id();
      named = key == nullptr ? v1::CryptoKeyId() : ToProtoKey(*key);
    }
    if (!removed->Has(named)) {
      judgement.judged = false;
      if (!(ToKeyId(named) == ToKeyId(known))) judgement.found = Describe(*files->folder);
      return judgement;
    }
  }
  judgement.found = Look(files);
  return judgement;
}

void VmRegistry::JudgeEach(std::vector<VmPtr> vms, std::shared_ptr<const RemovedKeys> removed,
                           Judged done) {
  struct State {
    size_t left = 0;
    std::vector<std::string> locked;
    Judged done;
  };
  auto state = std::make_shared<State>();
  state->left = vms.size() + 1;
  state->done = std::move(done);
  const auto one_done = [state] {
    if (--state->left == 0) state->done(std::move(state->locked));
  };
  for (const VmPtr& vm : vms) {
    Enqueue(vm, [this, vm, removed, state, one_done](absl::AnyInvocable<void()> end) mutable {
      if (vm->gone || vm->running) {
        end();
        one_done();
        return;
      }
      OnVm(
          vm,
          [this, removed, known = vm->view.key_id()](VmRecord::Files* files) {
            return Judge(files, removed.get(), known);
          },
          [this, vm, state, one_done, end = std::move(end)](const Judgement& judgement) mutable {
            if (judgement.judged && AdoptJudgement(vm.get(), *judgement.found)) {
              state->locked.push_back(vm->name());
            } else if (!judgement.judged && judgement.found.has_value()) {
              Adopt(vm.get(), *judgement.found);
            }
            if (judgement.found.has_value()) Changed(vm.get());
            end();
            one_done();
          });
    });
  }
  one_done();
}

void VmRegistry::JudgeWaiting(Judged done) {
  std::vector<VmPtr> vms;
  for (const auto& [name, vm] : vms_) {
    if (vm->waiting) vms.push_back(vm);
  }
  JudgeEach(std::move(vms), nullptr, std::move(done));
}

void VmRegistry::JudgeAfterPurge(const RemovedKeys& removed, Judged done) {
  if (removed.native.empty() && removed.standard.empty()) return done({});
  ++purges_;
  std::vector<VmPtr> vms;
  std::vector<VmPtr> later;
  for (const auto& [name, vm] : vms_) {
    // A tick ends no lock (S68): what is locked stays so, whatever came in the place of a key.
    if (vm->running || vm->waiting || vm->locked()) continue;
    // The tick does not wait for the long work on a VM that these keys do not concern.
    (vm->busy && !removed.Has(vm->view.key_id()) ? later : vms).push_back(vm);
  }
  const auto keys = std::make_shared<const RemovedKeys>(removed);
  JudgeEach(std::move(later), keys, [](const std::vector<std::string>&) {});
  JudgeEach(std::move(vms), keys, std::move(done));
}

void VmRegistry::PowerOffAll(absl::AnyInvocable<void()> done) {
  auto left = std::make_shared<size_t>(vms_.size() + 1);
  auto finish = std::make_shared<absl::AnyInvocable<void()>>(std::move(done));
  const auto one_done = [left, finish] {
    if (--*left == 0) (*finish)();
  };
  for (const auto& entry : vms_) {
    const VmPtr vm = entry.second;
    Enqueue(vm, [this, vm, one_done](absl::AnyInvocable<void()> end) mutable {
      OnVm(
          vm,
          [](VmRecord::Files* files) {
            const absl::Status flushed =
                files->running == nullptr ? absl::OkStatus() : files->running->Flush();
            files->running.reset();
            files->job.reset();
            files->folder.reset();
            return flushed;
          },
          [this, vm, one_done, end = std::move(end)](const absl::Status& flushed) mutable {
            if (!flushed.ok()) {
              host_->log().Error("vm.flush_failed", {{"vm", vm->name()}, {"error", flushed}});
            }
            vm->running = false;
            vm->view.set_power_state(v1::POWER_STATE_OFF);
            end();
            one_done();
          });
    });
  }
  one_done();
}

HostVm VmRegistry::ToProto(const VmRecord& vm, const std::string& user) const {
  HostVm out;
  out.set_user(user);
  *out.mutable_vm() = vm.view;
  out.set_generation(vm.generation);
  return out;
}

void VmRegistry::Changed(VmRecord* vm, const std::string& user) {
  ++vm->generation;
  if (host_->watchers.empty() || vm->gone) return;
  host::v1::HostEvent event;
  *event.mutable_vm_changed() = ToProto(*vm, user);
  host_->watchers.Publish(std::move(event));
}

std::vector<HostVm> VmRegistry::List() const {
  std::vector<HostVm> all;
  all.reserve(vms_.size());
  for (const auto& [name, vm] : vms_) all.push_back(ToProto(*vm));
  return all;
}

absl::StatusOr<HostVm> VmRegistry::Get(const std::string& name) const {
  const VmPtr vm = Find(name);
  if (vm == nullptr) {
    return status::Error(v1::REASON_NOT_FOUND, "the host has no such VM").Object("vm", name);
  }
  return ToProto(*vm);
}

void VmRegistry::Count(host::v1::HostStats* stats) const {
  stats->set_vms(static_cast<int64_t>(vms_.size()));
  int64_t running = 0;
  int64_t locked = 0;
  for (const auto& [name, vm] : vms_) {
    if (vm->running) ++running;
    if (vm->locked()) ++locked;
  }
  stats->set_running_vms(running);
  stats->set_locked_vms(locked);
}

absl::Status VmRegistry::CheckUsable(const VmRecord& vm) const {
  if (!vm.problem.ok()) return FilesRefusal(vm.problem);
  if (vm.locked()) return LockedRefusal(*host_, vm.view, WrongKeyStill(vm));
  return absl::OkStatus();
}

absl::Status VmRegistry::CheckOff(const VmRecord& vm) const {
  if (!vm.running) return absl::OkStatus();
  return status::Error(v1::REASON_INVALID_POWER_STATE, "the VM must be powered off")
      .Object("vm", vm.name())
      .NextStep("power it off");
}

absl::Status VmRegistry::CheckOn(const VmRecord& vm) const {
  if (vm.running) return absl::OkStatus();
  return status::Error(v1::REASON_INVALID_POWER_STATE, "the VM is not powered on")
      .Object("vm", vm.name())
      .NextStep("power it on");
}

}  // namespace keysphere::hostagent::agent
