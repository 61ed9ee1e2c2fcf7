#include "tools/keysphere/vm_output.h"

#include "absl/strings/str_cat.h"
#include "tools/keysphere/output.h"

namespace keysphere::cli {
namespace {

void AddExplanation(const v1::LockExplanation& lock, Fields* fields) {
  fields->Add("cause", EnumWord(v1::LockCause_Name(lock.cause()), "LOCK_CAUSE_"))
      .Add("reason", ReasonWord(v1::Reason_Name(lock.reason())));
  for (const int other : lock.others()) {
    fields->Add("also", ReasonWord(v1::Reason_Name(static_cast<v1::Reason>(other))));
  }
  fields->Add("needs key", KeyText(lock.key_id()))
      .Add("on host", lock.host())
      .Add("why", lock.summary())
      .Add("next step", lock.next_step());
}

}  // namespace

std::string KeyText(const v1::CryptoKeyId& key) {
  if (key.provider_id().empty() && key.key_id().empty()) return "";
  return absl::StrCat(key.provider_id(), "/", key.key_id());
}

std::string PowerText(const v1::Vm& vm) {
  return EnumWord(v1::PowerState_Name(vm.power_state()), "POWER_STATE_");
}

std::string LockText(const v1::Vm& vm) {
  if (vm.lock_state() == v1::LOCK_STATE_UNSPECIFIED) return "not judged";
  return EnumWord(v1::LockState_Name(vm.lock_state()), "LOCK_STATE_");
}

void PrintExplanation(const v1::LockExplanation& lock, std::ostream& out) {
  Fields fields;
  AddExplanation(lock, &fields);
  fields.Print(out);
}

void PrintVm(const v1::Vm& vm, std::ostream& out) {
  Fields fields;
  fields.Add("name", vm.name())
      .Add("host", vm.host())
      .Add("files", vm.vmx_path())
      .Add("uuid", vm.uuid())
      .Add("guest", vm.guest_os())
      .Add("power", PowerText(vm))
      .Add("lock", LockText(vm))
      .Add("key", vm.has_key_id() ? KeyText(vm.key_id()) : "none (not encrypted)")
      .Add("vTPM", YesNo(vm.vtpm()))
      .Add("migration", vm.migrate_encryption());
  for (const v1::VmDisk& disk : vm.disks()) {
    fields.Add(absl::StrCat("disk ", disk.label()),
               absl::StrCat(disk.file_name(), ", ", FormatBytes(disk.capacity_bytes()), ", ",
                            disk.has_key_id() ? absl::StrCat("key ", KeyText(disk.key_id()))
                                              : std::string("not encrypted")));
  }
  if (vm.has_lock()) AddExplanation(vm.lock(), &fields);
  fields.Print(out);
}

}  // namespace keysphere::cli
