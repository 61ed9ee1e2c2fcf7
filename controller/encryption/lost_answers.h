#ifndef KEYSPHERE_CONTROLLER_ENCRYPTION_LOST_ANSWERS_H_
#define KEYSPHERE_CONTROLLER_ENCRYPTION_LOST_ANSWERS_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "controller/encryption/records.pb.h"
#include "controller/events/event_log.h"
#include "controller/hosts/hosts.h"
#include "controller/tasks/tasks.h"
#include "keysphere/v1/inventory.pb.h"

namespace keysphere::controller::encryption {

// Operations on VMs whose answer was lost: the host did not answer in time, or this controller
// ended meanwhile. The host may have done them all the same, or may do so yet; when a VM shows it,
// the audit event is written (S87). What is remembered is the notes of their tasks, so it lasts as
// long as these and is durable. Lives on the controller's strand.
//
// A VM shows it by having the operation's key. Where that says nothing of its own (a decryption; a
// key whose id was not known yet), it counts only while the host obeys this controller without a
// break, and while no later operation on the VM is under way or was done.
class LostAnswers {
 public:
  // Knows of what the tasks' notes tell. All outlive it.
  LostAnswers(events::EventLog* events, tasks::Tasks* tasks, hosts::Hosts* hosts);

  // Whether the host may have done what it was asked for, though this is its answer.
  static bool MayBeDone(const absl::Status& answer);

  // The host is asked for something that changes the VM, and has answered.
  void Asked(const std::string& host, const std::string& vm);
  void Answered(const std::string& host, const std::string& vm, bool done);
  // The answer to the task's operation is lost.
  void Lost(const std::string& task, CryptoWork work);
  // A host has told its VM.
  void OnVm(const std::string& host, const v1::Vm& vm);

 private:
  using VmName = std::pair<std::string, std::string>;  // host, VM
  struct Item {
    std::string task;
    CryptoWork work;
    // The event may have been written before this process began.
    bool from_before = false;
    absl::Time begun;
  };

  void Add(Item item);
  // What the controller knows of the VM now.
  void Look(const VmName& name);
  void Judge(const VmName& name, const v1::Vm& vm);
  bool IsShown(const Item& item, const v1::Vm& vm, bool only_certain) const;
  void Tell(const Item& item, const v1::Vm& vm);

  events::EventLog* const events_;
  tasks::Tasks* const tasks_;
  hosts::Hosts* const hosts_;
  std::map<VmName, std::vector<Item>> items_;
  std::map<VmName, int> asked_;
};

}  // namespace keysphere::controller::encryption

#endif  // KEYSPHERE_CONTROLLER_ENCRYPTION_LOST_ANSWERS_H_
