// VMs that come to a host and go.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crypto/secret_key.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "hostagent/agent/errors.h"
#include "hostagent/agent/key_ids.h"
#include "hostagent/agent/lock_reasons.h"
#include "hostagent/agent/making_notes.h"
#include "hostagent/agent/vm_registry.h"

namespace keysphere::hostagent::agent {
namespace {

using host::v1::CreateHostVmRequest;
using host::v1::HostVm;

constexpr int kMaxDisks = 60;

absl::Status NameTaken(const std::string& name) {
  return status::Error(v1::REASON_ALREADY_EXISTS, "the host has a VM of this name")
      .Object("vm", name);
}

absl::Status CheckGuestOs(const CreateHostVmRequest& request) {
  if (request.guest_os().empty() || files::ValidateName(request.guest_os()).ok()) {
    return absl::OkStatus();
  }
  return status::Error(v1::REASON_INVALID_ARGUMENT,
                       absl::StrCat("guest_os ", status::Quote(request.guest_os()),
                                    " is no name of a guest's operating system"))
      .Object("vm", request.name())
      .NextStep("Give 1 to 80 characters without control characters, such as \"debian12-64\".");
}

absl::Status CheckNewDisks(const CreateHostVmRequest& request) {
  if (request.disks_size() > kMaxDisks) {
    return status::Error(v1::REASON_TOO_LARGE, absl::StrCat("at most ", kMaxDisks, " disks"));
  }
  for (const v1::NewDisk& disk : request.disks()) {
    const int64_t bytes = disk.capacity_bytes();
    if (!disk.import_path().empty() && bytes == 0) continue;
    if (bytes <= 0 || bytes % 4096 != 0 || bytes > VmRegistry::kMaxDiskBytes) {
      return status::Error(v1::REASON_INVALID_ARGUMENT,
                           "capacity_bytes must be a multiple of 4096 and at most 1 TiB")
          .Object("vm", request.name());
    }
  }
  return absl::OkStatus();
}

// An image at `path`, which the request names as `shown`.
absl::Status CheckImage(const files::FileSystem& files, const std::string& path,
                        const std::string& shown) {
  const absl::StatusOr<files::FileInfo> image = files.Stat(path);
  if (status::ReasonOf(image.status()) == v1::REASON_NOT_FOUND) {
    return status::Error(v1::REASON_NOT_FOUND,
                         absl::StrCat("the datastore has no image ", status::Quote(shown)))
        .Object("file", shown)
        .NextStep("Name an image that is on the datastore, or copy the image there first.");
  }
  KS_RETURN_IF_ERROR(image.status());
  if (!image->is_regular) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat(status::Quote(shown), " is no regular file"))
        .Object("file", shown)
        .NextStep("Name the disk image itself.");
  }
  if (image->size > uint64_t{VmRegistry::kMaxDiskBytes}) {
    return status::Error(v1::REASON_TOO_LARGE,
                         absl::StrCat("image ", status::Quote(shown), " has ", image->size,
                                      " bytes; a disk has at most 1 TiB"))
        .Object("file", shown)
        .NextStep("Shrink the image, or split it into several disks.");
  }
  return absl::OkStatus();
}

// What makes a VM's files, in steps on its strand.
struct Making {
  CreateHostVmRequest request;
  std::string id;
  std::string folder;
  std::vector<std::string> imports;  // paths of images, "" for empty disks; one a disk
};

}  // namespace

absl::Status VmRegistry::CheckNewName(const std::string& name) const {
  KS_RETURN_IF_ERROR(files::ValidateName(name));
  if (vms_.count(name) > 0 || coming_.count(name) > 0) return NameTaken(name);
  return absl::OkStatus();
}

void VmRegistry::Insert(const VmPtr& vm, int64_t purges, bool opened, Done done) {
  coming_.erase(vm->name());
  vms_[vm->name()] = vm;
  Changed(vm.get());
  if (!vm->encrypted() || vm->locked() || (opened && purges == purges_)) {
    done(ToProto(*vm));
    return;
  }
  JudgeEach({vm}, nullptr,
            [this, vm, done = std::move(done)](const std::vector<std::string>&) mutable {
              done(ToProto(*vm));
            });
}

void VmRegistry::Save(const VmPtr& vm, absl::AnyInvocable<void(absl::Status)> then) {
  config::RegisteredVm saved;
  saved.set_id(vm->id);
  saved.set_name(vm->name());
  saved.set_vmx_path(vm->view.vmx_path());
  host_->config->Submit(
      [saved](config::HostConfig* config) -> absl::StatusOr<bool> {
        for (const config::RegisteredVm& other : config->vms()) {
          if (other.name() == saved.name()) return NameTaken(saved.name());
          if (other.vmx_path() == saved.vmx_path()) {
            return status::Error(v1::REASON_ALREADY_EXISTS, "the host has this VM already")
                .Object("vm", other.name());
          }
        }
        *config->add_vms() = saved;
        return true;
      },
      std::move(then));
}

void VmRegistry::Register(const host::v1::RegisterHostVmRequest& request, Done done) {
  done = ShowingPaths(std::move(done));
  const absl::StatusOr<std::string> path = datastores_.Resolve(request.vmx_path());
  absl::Status allowed = path.status();
  if (allowed.ok() && !request.name().empty()) allowed = CheckNewName(request.name());
  if (!allowed.ok()) {
    done(allowed);
    return;
  }
  for (const auto& [name, other] : vms_) {
    if (other->view.vmx_path() != request.vmx_path()) continue;
    done(status::Error(v1::REASON_ALREADY_EXISTS, "the host has this VM already")
             .Object("vm", name));
    return;
  }
  const VmPtr vm =
      NewRecord(host_->options.random->Uuid(), request.name(), request.vmx_path(), *path);
  if (!request.name().empty()) coming_.insert(request.name());
  OnVm(
      vm, [this](VmRecord::Files* files) { return Look(files); },
      [this, vm, purges = purges_, done = std::move(done)](const FileView& found) mutable {
        absl::Status allowed = found.problem.ok() ? found.missing : found.problem;
        if (allowed.ok() && vm->name().empty()) {
          allowed = CheckNewName(found.description.name);
          if (allowed.ok()) {
            vm->view.set_name(found.description.name);
            coming_.insert(vm->name());
          }
        }
        if (!allowed.ok()) {
          if (!vm->name().empty()) coming_.erase(vm->name());
          done(About(allowed, "vm", vm->name().empty() ? vm->view.vmx_path() : vm->name()));
          return;
        }
        AdoptJudgement(vm.get(), found);
        Save(vm, [this, vm, purges, done = std::move(done)](const absl::Status& saved) mutable {
          if (!saved.ok()) {
            coming_.erase(vm->name());
            done(saved);
            return;
          }
          Insert(vm, purges, /*opened=*/true, std::move(done));
        });
      });
}

void VmRegistry::Unregister(const std::string& name, const std::string& user,
                            Callback<host::v1::UnregisterHostVmResponse> done) {
  using Response = host::v1::UnregisterHostVmResponse;
  RunOn<Response>(name, std::move(done), [this, user](const VmPtr& vm, Callback<Response> answer) {
    const absl::Status off = CheckOff(*vm);
    if (!off.ok()) {
      answer(off);
      return;
    }
    host_->config->Submit(
        [id = vm->id](config::HostConfig* config) -> absl::StatusOr<bool> {
          auto* vms = config->mutable_vms();
          for (int i = 0; i < vms->size(); ++i) {
            if (vms->Get(i).id() != id) continue;
            vms->DeleteSubrange(i, 1);
            return true;
          }
          return false;
        },
        [this, vm, user, answer = std::move(answer)](const absl::Status& saved) mutable {
          if (!saved.ok()) {
            answer(saved);
            return;
          }
          SetWaiting(vm.get(), false);
          vm->gone = true;
          vms_.erase(vm->name());
          host::v1::HostEvent event;
          event.mutable_vm_removed()->set_vm(vm->name());
          event.mutable_vm_removed()->set_user(user);
          host_->watchers.Publish(std::move(event));
          OnVm(
              vm,
              [](VmRecord::Files* files) {
                files->folder.reset();
                return absl::OkStatus();
              },
              [answer = std::move(answer)](const absl::Status& /*closed*/) mutable {
                answer(Response());
              });
        });
  });
}

void VmRegistry::Reload(const std::string& name, Done done) {
  RunOn<HostVm>(name, std::move(done), [this](const VmPtr& vm, Done answer) {
    const absl::Status off = CheckOff(*vm);
    if (!off.ok()) {
      answer(off);
      return;
    }
    const absl::StatusOr<std::string> path = datastores_.Resolve(vm->view.vmx_path());
    if (!path.ok()) {
      answer(path.status());
      return;
    }
    OnVm(
        vm,
        [this](VmRecord::Files* files) {
          files->folder.reset();
          return Look(files);
        },
        [this, vm, answer = std::move(answer)](const FileView& found) mutable {
          AdoptJudgement(vm.get(), found);
          Changed(vm.get());
          const absl::Status& wrong = found.problem.ok() ? found.missing : vm->problem;
          if (wrong.ok()) {
            answer(ToProto(*vm));
          } else {
            answer(FilesRefusal(About(wrong, "vm", vm->name())));
          }
        });
  });
}

namespace {

absl::StatusOr<vm::VmInTheMaking> PlanVm(const HostContext& host, const Making& making) {
  const CreateHostVmRequest& request = making.request;
  vm::NewVm spec;
  spec.name = request.name();
  if (!request.guest_os().empty()) spec.guest_os = request.guest_os();
  for (int i = 0; i < request.disks_size(); ++i) {
    vm::NewDisk disk;
    disk.raw_image = making.imports[static_cast<size_t>(i)];
    if (!disk.raw_image.empty()) {
      KS_RETURN_IF_ERROR(
          CheckImage(*host.options.files, disk.raw_image, request.disks(i).import_path()));
    }
    disk.bytes = static_cast<uint64_t>(request.disks(i).capacity_bytes());
    disk.encrypt = !request.skip_hard_disks();
    spec.disks.push_back(std::move(disk));
  }
  crypto::SecretKey kek;
  if (request.has_key()) {
    spec.key = {request.key().provider_id(), request.key().key_id()};
    KS_ASSIGN_OR_RETURN(kek, host.keys.VmKek(spec.key.provider, spec.key.key_id));
    spec.kek = &kek;
    spec.vtpm = request.vtpm();
  }
  return vm::VmFolder::Create(*host.options.files, making.folder, spec);
}

absl::Status StartMaking(const HostContext& host, const Making& making, VmRecord::Files* files) {
  const MakingNotes notes(host.options.files, host.options.state_dir);
  KS_RETURN_IF_ERROR(notes.Add(making.id, files->path));
  absl::StatusOr<vm::VmInTheMaking> vm = PlanVm(host, making);
  if (!vm.ok()) {
    notes.Remove(making.id);
    return vm.status();
  }
  files->path = vm->folder->paths().Vmx();
  files->folder = std::move(vm->folder);
  files->job = std::move(vm->job);
  files->job_ended = [notes, id = making.id] { notes.Remove(id); };
  return absl::OkStatus();
}

}  // namespace

VmRegistry::Done VmRegistry::ShowingPaths(Done done) const {
  return [this, done = std::move(done)](absl::StatusOr<HostVm> vm) mutable {
    if (vm.ok()) {
      done(std::move(vm));
    } else {
      done(datastores_.Shown(vm.status()));
    }
  };
}

void VmRegistry::Create(const CreateHostVmRequest& request, Done done) {
  done = ShowingPaths(std::move(done));
  auto making = std::make_shared<Making>();
  making->request = request;
  const absl::StatusOr<std::string> datastore = datastores_.Choose(request.datastore());
  absl::Status allowed = status::First({CheckNewName(request.name()), datastore.status(),
                                        CheckGuestOs(request), CheckNewDisks(request)});
  for (const v1::NewDisk& disk : request.disks()) {
    if (disk.import_path().empty()) {
      making->imports.push_back("");
      continue;
    }
    const absl::StatusOr<std::string> image = datastores_.Resolve(disk.import_path());
    if (!image.ok() && allowed.ok()) allowed = image.status();
    making->imports.push_back(image.ok() ? *image : "");
  }
  if (allowed.ok() && request.has_key()) {
    allowed = CheckKeyId(request.key(), request.name());
    if (allowed.ok()) allowed = status::First(NewKeyRefusals(request.key()));
  } else if (allowed.ok() && request.vtpm()) {
    allowed =
        status::Error(v1::REASON_INVALID_STATE, "a vTPM needs an encrypted VM home: name a key")
            .Object("vm", request.name());
  }
  if (!allowed.ok()) {
    done(allowed);
    return;
  }
  const std::string stem = files::PathSafe(request.name());
  const std::string vmx = absl::StrCat(stem, "/", stem, ".vmx");
  const std::string vmx_path = Datastores::Format(*datastore, vmx);
  const absl::StatusOr<std::string> path = datastores_.Resolve(vmx_path);
  if (!path.ok()) {
    done(path.status());
    return;
  }
  making->folder = files::FolderOf(*path);
  const VmPtr vm = NewRecord(host_->options.random->Uuid(), request.name(), vmx_path, *path);
  making->id = vm->id;
  coming_.insert(vm->name());
  const auto failed = [this, vm](const absl::Status& why) {
    coming_.erase(vm->name());
    return About(RefusalOf(*host_, why), "vm", vm->name());
  };
  OnVm(
      vm, [this, making](VmRecord::Files* files) { return StartMaking(*host_, *making, files); },
      [this, vm, failed, purges = purges_,
       done = std::move(done)](const absl::Status& started) mutable {
        if (!started.ok()) {
          done(failed(started));
          return;
        }
        RunJob(vm, [this, vm, failed, purges,
                    done = std::move(done)](const absl::StatusOr<FileView>& found) mutable {
          if (found.ok()) {
            TakeMade(vm, *found, purges, std::move(done));
          } else {
            done(failed(found.status()));
          }
        });
      });
}

void VmRegistry::TakeMade(const VmPtr& vm, const FileView& found, int64_t purges, Done done) {
  Adopt(vm.get(), found);
  const bool opened = found.problem.ok() && found.unwrap.ok();
  Save(vm, [this, vm, purges, opened, done = std::move(done)](const absl::Status& saved) mutable {
    if (saved.ok()) {
      Insert(vm, purges, opened, std::move(done));
      return;
    }
    coming_.erase(vm->name());
    OnVm(
        vm,
        [](VmRecord::Files* files) {
          files->folder->Destroy().IgnoreError();
          files->folder.reset();
          return absl::OkStatus();
        },
        [saved, done = std::move(done)](const absl::Status& /*gone*/) mutable { done(saved); });
  });
}

}  // namespace keysphere::hostagent::agent
