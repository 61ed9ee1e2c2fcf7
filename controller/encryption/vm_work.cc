// The part of VmEncryption that does the work of a task.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/keyset/keyset.h"
#include "common/status/status.h"
#include "controller/encryption/audit.h"
#include "controller/encryption/vm_encryption.h"

namespace keysphere::controller::encryption {
namespace {

using hosts::HostSession;

// Of a task, in percent: what comes before and after the host's part takes no time to speak of.
constexpr int kHostBegins = 10;
constexpr int kHostEnds = 99;

std::string VmObject(absl::string_view vm) { return absl::StrCat("vm/", vm); }

}  // namespace

CryptoWork VmEncryption::RecordOf(const Work& work) {
  CryptoWork record;
  const bool no_crypto = work.key.provider_id().empty() && work.old_key.key_id().empty();
  // From one key to the same: the VM shows nothing afterwards.
  const bool shows_nothing = keyset::SameKey(work.key, work.old_key);
  if (no_crypto || shows_nothing) return record;
  record.set_user(work.caller.user);
  record.set_operation(work.operation);
  record.set_vm(work.vm);
  record.set_host(work.host->name());
  record.set_epoch(work.host->epoch());
  record.set_vm_uuid(work.vm_uuid);
  *record.mutable_key() = work.key;
  if (!work.old_key.key_id().empty()) *record.mutable_old_key() = work.old_key;
  record.set_keeps_key(work.key_is_the_vms);
  return record;
}

std::string VmEncryption::NoteOf(const Work& work) { return RecordOf(work).SerializeAsString(); }

void VmEncryption::Run(Work wanted, status::Callback<v1::Task> done) {
  auto work = std::make_shared<Work>(std::move(wanted));
  const bool names_key = work->key.provider_id().empty() || !work->key.key_id().empty();
  if (!names_key && !deps_.keys->IsStandard(work->key.provider_id())) {
    // Known before the task begins, so that its note has it.
    work->key = deps_.keys->NewName(work->key.provider_id());
  }
  deps_.tasks->Begin(
      work->caller, absl::StrCat("VirtualMachines.", work->operation), VmObject(work->vm),
      NoteOf(*work), [this, work, done = std::move(done)](absl::StatusOr<v1::Task> task) mutable {
        if (!task.ok()) return done(task.status());
        work->task = task->id();
        done(std::move(task));
        if (work->key.provider_id().empty()) return CallHost(std::move(work));
        deps_.readiness->EnsureReady(work->caller, work->host, work->key.provider_id(),
                                     [this, work](const absl::Status& ready) {
                                       if (!ready.ok()) return deps_.tasks->End(work->task, ready);
                                       PrepareKey(work);
                                     });
      });
}

void VmEncryption::PrepareKey(std::shared_ptr<Work> work) {
  if (!work->key_is_the_vms) {
    return deps_.keys->ForVm(work->host, work->key,
                             [this, work](absl::StatusOr<v1::CryptoKeyId> key) {
                               if (!key.ok()) return deps_.tasks->End(work->task, key.status());
                               if (!keyset::SameKey(work->key, *key)) {
                                 work->key = *std::move(key);
                                 // Written behind: without it the provider alone tells the key.
                                 deps_.tasks->SetNote(work->task, NoteOf(*work));
                               }
                               CallHost(work);
                             });
  }
  // Of a standard provider its KMS must answer, even where the key is cached (S53).
  deps_.keys->AskKms(work->key, [this, work](const absl::Status& answers) {
    if (!answers.ok()) return deps_.tasks->End(work->task, answers);
    work->host->BringStandard({deps_.needs->Name(work->key)},
                              [this, work](const absl::Status& brought) {
                                if (!brought.ok()) return deps_.tasks->End(work->task, brought);
                                CallHost(work);
                              });
  });
}

void VmEncryption::CallHost(std::shared_ptr<Work> work) {
  if (deps_.tasks->CancelRequested(work->task)) {
    return deps_.tasks->End(work->task,
                            status::Error(v1::REASON_CANCELLED, "cancelled before the host began")
                                .Object("vm", work->vm));
  }
  deps_.tasks->Progress(work->task, kHostBegins);
  const Session& host = work->host;
  if (!host->connected()) return deps_.tasks->End(work->task, host->NotResponding());
  deps_.lost_answers->Asked(host->name(), work->vm);
  at_work_[{host->name(), work->vm}] = work->task;
  work->call(
      work->key,
      host->OnStrand<host::v1::HostVm>([this, work](absl::StatusOr<host::v1::HostVm> answer) {
        deps_.lost_answers->Answered(work->host->name(), work->vm, answer.ok());
        const auto at_work = at_work_.find({work->host->name(), work->vm});
        if (at_work != at_work_.end() && at_work->second == work->task) at_work_.erase(at_work);
        if (!answer.ok()) return Failed(*work, answer.status());
        work->host->TakeVm(*answer);
        if (!work->key.key_id().empty() || !work->old_key.key_id().empty()) {
          Audit(deps_.events, work->caller, work->operation, VmObject(work->vm), work->key,
                work->old_key, work->host->name(), work->task);
        }
        deps_.tasks->End(work->task, absl::OkStatus());
      }));
}

void VmEncryption::NoteProgress(const std::string& host, const std::string& vm, int percent) {
  const auto it = at_work_.find({host, vm});
  if (it == at_work_.end()) return;
  percent = std::min(std::max(percent, 0), 100);
  deps_.tasks->Progress(it->second, kHostBegins + (kHostEnds - kHostBegins) * percent / 100);
}

void VmEncryption::Failed(const Work& work, const absl::Status& why) {
  work.host->NoteAnswer(why);
  const CryptoWork record = RecordOf(work);
  if (status::ReasonOf(why) == v1::REASON_INVALID_STATE && work.host->connected() &&
      !work.vm_uuid.empty()) {
    // Its files are not as the host told it: another host that has the VM has changed them.
    Reread(work.host, work.vm, [] {});
  }
  if (!LostAnswers::MayBeDone(why) || record.operation().empty()) {
    return deps_.tasks->End(work.task, why);
  }
  deps_.tasks->EndUnknown(work.task, why);
  deps_.lost_answers->Lost(work.task, record);
}

void VmEncryption::Reload(Session host, const std::string& vm, absl::AnyInvocable<void()> then) {
  host::v1::ReloadHostVmRequest wanted;
  wanted.set_epoch(host->epoch());
  wanted.set_vm(vm);
  host->link()->ReloadHostVm(
      std::move(wanted),
      host->OnStrand<host::v1::HostVm>(
          [host, then = std::move(then)](absl::StatusOr<host::v1::HostVm> now) mutable {
            if (now.ok()) {
              host->TakeVm(*now);
            } else {
              host->NoteAnswer(now.status());
            }
            then();
          }));
}

void VmEncryption::Reread(Session host, const std::string& vm, absl::AnyInvocable<void()> then) {
  Reload(host, vm, [this, host, vm, then = std::move(then)]() mutable {
    const auto it = host->vms().find(vm);
    const bool locked =
        it != host->vms().end() && it->second.vm().lock_state() == v1::LOCK_STATE_LOCKED;
    if (!locked || !host->connected()) return then();
    // The files name another key than before, which the host may lack: with it they are judged
    // once more.
    BringKeys(host, it->second.vm(), [this, host, vm, then = std::move(then)]() mutable {
      if (!host->connected()) return then();
      Reload(host, vm, std::move(then));
    });
  });
}

void VmEncryption::BringKeys(Session host, const v1::Vm& vm, absl::AnyInvocable<void()> then) {
  const std::vector<hosts::KeyNamePtr> keys = deps_.needs->KeysOf(vm);
  host->Sync(HostSession::SyncKind::kAdd, [host, keys, then = std::move(then)](
                                              absl::StatusOr<hosts::SyncResult>) mutable {
    host->BringStandard(keys, [then = std::move(then)](const absl::Status&) mutable { then(); });
  });
}

}  // namespace keysphere::controller::encryption
