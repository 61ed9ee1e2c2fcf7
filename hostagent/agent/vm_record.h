#ifndef KEYSPHERE_HOSTAGENT_AGENT_VM_RECORD_H_
#define KEYSPHERE_HOSTAGENT_AGENT_VM_RECORD_H_

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "common/executor/executor.h"
#include "hostagent/agent/lifetime.h"
#include "hostagent/vm/running_vm.h"
#include "hostagent/vm/vm_folder.h"
#include "hostagent/vm/vm_job.h"
#include "keysphere/host/v1/host_vms.pb.h"

namespace keysphere::hostagent::agent {

// What a look at a VM's files found: made on the VM's strand, used on the host's.
struct FileView {
  absl::Status problem;  // the files cannot be used at all
  absl::Status missing;  // a disk is not there; the rest can be judged
  vm::VmDescription description;
  // Of an encrypted VM: whether its home was really unwrapped (S135).
  absl::Status unwrap;
};

// One registered VM.
struct VmRecord {
  VmRecord(executor::Executor* executor, const Lifetime& lifetime) : strand(executor, lifetime) {}

  // The VM's files, on this strand alone.
  struct Files {
    std::string path;  // of the .vmx, on this machine
    std::unique_ptr<vm::VmFolder> folder;
    std::unique_ptr<vm::VmJob> job;          // goes before its folder
    int told_percent = 0;                    // of the job
    std::function<void()> job_ended;         // null: nothing is to be done then
    std::unique_ptr<vm::RunningVm> running;  // so does this
  };
  HostStrand strand;
  Files files;

  // The rest belongs to the host's strand.
  std::string id;
  v1::Vm view;
  int64_t generation = 0;
  bool running = false;
  bool written = false;  // by the guest since the power-on: powering off waits for the disk
  // S149: its key was not there at the boot; not judged yet.
  bool waiting = false;
  // Locked because the key under the provider's name is another one: that key's check value.
  std::string wrong_check_value;
  absl::Status problem;  // not OK: its files cannot be used

  bool gone = false;  // unregistered
  bool busy = false;  // an operation is under way
  std::deque<executor::Task> queue;

  const std::string& name() const { return view.name(); }
  bool encrypted() const { return view.has_key_id(); }
  bool locked() const { return view.lock_state() == v1::LOCK_STATE_LOCKED; }
};
using VmPtr = std::shared_ptr<VmRecord>;

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_VM_RECORD_H_
