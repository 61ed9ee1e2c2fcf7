#include "controller/encryption/lost_answers.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/keyset/keyset.h"
#include "common/status/status.h"
#include "controller/encryption/audit.h"
#include "controller/timestamps/timestamps.h"

namespace keysphere::controller::encryption {
namespace {

// Its key is of this operation alone, and known: no other operation gives the VM the same.
bool IsCertain(const CryptoWork& work) { return !work.key().key_id().empty() && !work.keeps_key(); }

}  // namespace

LostAnswers::LostAnswers(events::EventLog* events, tasks::Tasks* tasks, hosts::Hosts* hosts)
    : events_(events), tasks_(tasks), hosts_(hosts) {
  for (const v1::Task& task : tasks_->Unknown()) {
    Item item;
    item.task = task.id();
    item.from_before = true;
    item.begun = timestamps::FromProto(task.start_time());
    if (item.work.ParseFromString(tasks_->NoteOf(task.id()))) Add(std::move(item));
  }
}

bool LostAnswers::MayBeDone(const absl::Status& answer) {
  switch (answer.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kInternal:
      return true;
    default:
      return false;
  }
}

void LostAnswers::Asked(const std::string& host, const std::string& vm) { ++asked_[{host, vm}]; }

void LostAnswers::Answered(const std::string& host, const std::string& vm, bool done) {
  const VmName name(host, vm);
  const auto asked = asked_.find(name);
  if (asked != asked_.end() && --asked->second == 0) asked_.erase(asked);
  if (!done) return Look(name);
  // The host does one after another: what did not show before this one was done shows no more.
  const auto it = items_.find(name);
  if (it == items_.end()) return;
  for (const Item& item : it->second) tasks_->DropNote(item.task);
  items_.erase(it);
}

void LostAnswers::Lost(const std::string& task, CryptoWork work) {
  const VmName name(work.host(), work.vm());
  Item item;
  item.task = task;
  item.work = std::move(work);
  Add(std::move(item));
  Look(name);  // the watch may have told before the answer was lost
}

void LostAnswers::OnVm(const std::string& host, const v1::Vm& vm) {
  if (!items_.empty()) Judge({host, vm.name()}, vm);
}

void LostAnswers::Add(Item item) {
  std::vector<Item>& items = items_[{item.work.host(), item.work.vm()}];
  // Those whose tasks were forgotten, as there are too many or they are too old.
  items.erase(std::remove_if(items.begin(), items.end(),
                             [this](const Item& old) { return tasks_->NoteOf(old.task).empty(); }),
              items.end());
  items.push_back(std::move(item));
}

void LostAnswers::Look(const VmName& name) {
  const std::shared_ptr<hosts::HostSession> host = hosts_->Find(name.first);
  if (host == nullptr) return;
  const auto it = host->vms().find(name.second);
  if (it != host->vms().end()) Judge(name, it->second.vm());
}

void LostAnswers::Judge(const VmName& name, const v1::Vm& vm) {
  const auto it = items_.find(name);
  if (it == items_.end()) return;
  const bool only_certain = asked_.count(name) > 0;
  std::vector<Item> left;
  for (Item& item : it->second) {
    if (tasks_->NoteOf(item.task).empty()) continue;
    if (IsShown(item, vm, only_certain)) {
      Tell(item, vm);
    } else {
      left.push_back(std::move(item));
    }
  }
  if (left.empty()) {
    items_.erase(it);
  } else {
    it->second = std::move(left);
  }
}

bool LostAnswers::IsShown(const Item& item, const v1::Vm& vm, bool only_certain) const {
  const CryptoWork& work = item.work;
  const bool other_vm =
      !work.vm_uuid().empty() && !vm.uuid().empty() && work.vm_uuid() != vm.uuid();
  if (other_vm) return false;
  if (IsCertain(work)) {
    return keyset::SameKey(vm.key_id(), work.key()) && (work.operation() != "AddVtpm" || vm.vtpm());
  }
  const std::shared_ptr<hosts::HostSession> host = hosts_->Find(work.host());
  if (only_certain || host == nullptr || host->epoch() != work.epoch()) return false;
  const bool encrypted = !vm.key_id().key_id().empty();
  if (work.key().provider_id().empty()) {
    return !encrypted && vm.lock_state() == v1::LOCK_STATE_UNLOCKED;
  }
  if (work.operation() == "AddVtpm" && !vm.vtpm()) return false;
  if (work.keeps_key()) return keyset::SameKey(vm.key_id(), work.key());
  return encrypted && vm.key_id().provider_id() == work.key().provider_id() &&
         !keyset::SameKey(vm.key_id(), work.old_key());
}

void LostAnswers::Tell(const Item& item, const v1::Vm& vm) {
  // A controller that was killed may have written the event and not that the task ended well.
  const bool told = item.from_before &&
                    events_->Has(events::kCryptoOperation, absl::StrCat("vm/", item.work.vm()),
                                 kTaskArgument, item.task, item.begun);
  if (!told) AuditLost(events_, item.work, vm.key_id(), item.task);
  tasks_->DropNote(item.task);
}

}  // namespace keysphere::controller::encryption
