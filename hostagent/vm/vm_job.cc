#include "hostagent/vm/vm_job.h"

#include <algorithm>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "hostagent/vm/running_vm.h"

namespace keysphere::hostagent::vm {
namespace {

constexpr uint64_t kStepBytes = 8 << 20;

}  // namespace

VmJob::VmJob(VmFolder* folder, std::unique_ptr<VmFolder::Plan> plan)
    : folder_(folder), plan_(std::move(plan)) {
  folder_->job_ = true;
}

VmJob::~VmJob() { End(); }

void VmJob::End() {
  if (plan_ == nullptr) return;
  const bool wrote = !plan_->copies.empty();
  const absl::optional<VmFolder::Fresh> fresh = std::move(plan_->fresh);
  const std::vector<files::FileLock> disk_locks = std::move(plan_->disk_locks);
  plan_.reset();
  // Removes what a cancelled or failed job wrote. Where even that fails, the next operation or the
  // next open does it.
  if (current_ != kCommitted && fresh.has_value()) {
    folder_->RemoveNew(*fresh);
  } else if (current_ != kCommitted && wrote) {
    folder_->unrecovered_ = true;
    (void)folder_->RecoverIfNeeded(/*disks_locked=*/true);
  }
  folder_->job_ = false;
  folder_->ReleaseLock();
}

absl::StatusOr<bool> VmJob::Step(uint64_t max_bytes) {
  if (plan_ == nullptr) {
    return status::Error(v1::REASON_INVALID_STATE, "the job has ended");
  }
  absl::StatusOr<bool> done = StepOrFail(max_bytes);
  if (!done.ok() || *done) End();
  return done;
}

absl::StatusOr<bool> VmJob::StepOrFail(uint64_t max_bytes) {
  uint64_t copied = 0;
  while (current_ < plan_->copies.size()) {
    if (copied >= max_bytes && copied > 0) return false;
    DiskCopy& copy = plan_->copies[current_];
    const uint64_t before = copy.done_bytes();
    KS_ASSIGN_OR_RETURN(const bool whole, copy.Step(folder_->files_, max_bytes - copied));
    if (!whole) return false;
    copied += copy.done_bytes() - before;
    ++current_;
  }
  KS_RETURN_IF_ERROR(folder_->Commit(plan_.get()));
  total_ = progress().total_bytes;
  current_ = kCommitted;
  return true;
}

absl::Status VmJob::RunToEnd() {
  while (true) {
    KS_ASSIGN_OR_RETURN(const bool done, Step(kStepBytes));
    if (done) return absl::OkStatus();
  }
}

VmJob::Progress VmJob::progress() const {
  if (plan_ == nullptr) return {total_, total_};
  Progress progress;
  for (const DiskCopy& copy : plan_->copies) {
    progress.done_bytes += copy.done_bytes();
    progress.total_bytes += copy.total_bytes();
  }
  return progress;
}

absl::Status VmFolder::Begin(bool powered_off, absl::string_view action) {
  if (powered_off && running_ != nullptr) {
    return status::Error(v1::REASON_INVALID_POWER_STATE,
                         absl::StrCat("cannot ", action, ": the VM is powered on"))
        .Object("vm", Describe().name)
        .NextStep("Power the VM off.");
  }
  if (job_) {
    return status::Error(v1::REASON_CONFLICT,
                         absl::StrCat("cannot ", action, ": another change is under way"))
        .Object("vm", Describe().name)
        .NextStep("Wait for its end and try again.");
  }
  if (running_ == nullptr) {
    KS_ASSIGN_OR_RETURN(lock_, files_.Lock(paths_.Vmx()));
  }
  const absl::Status fresh = Refresh();
  if (!fresh.ok()) ReleaseLock();
  return fresh;
}

void VmFolder::ReleaseLock() {
  if (running_ == nullptr) lock_.Release();
}

absl::StatusOr<VmFolder::Plan> VmFolder::MakePlan(bool powered_off, absl::string_view action,
                                                  Build build) {
  KS_RETURN_IF_ERROR(Begin(powered_off, action));
  Plan plan;
  const absl::Status built = build(&plan);
  if (built.ok()) return plan;
  ReleaseLock();
  return built;
}

absl::StatusOr<std::unique_ptr<VmJob>> VmFolder::Job(bool powered_off, absl::string_view action,
                                                     Build build) {
  KS_ASSIGN_OR_RETURN(Plan plan, MakePlan(powered_off, action, build));
  return absl::WrapUnique(new VmJob(this, std::make_unique<Plan>(std::move(plan))));
}

absl::Status VmFolder::Run(bool powered_off, absl::string_view action, Build build) {
  KS_ASSIGN_OR_RETURN(Plan plan, MakePlan(powered_off, action, build));
  const absl::Status done = Commit(&plan);
  ReleaseLock();
  return done;
}

absl::Status VmFolder::Commit(Plan* plan) {
  if (plan->fresh.has_value()) {
    KS_RETURN_IF_ERROR(CommitNew(plan));
    return AfterCommit(plan);
  }
  files::FileLock added_lock;
  if (running_ != nullptr && !plan->added_disk.empty()) {
    // Before the file has its name, and stays with it under that.
    KS_ASSIGN_OR_RETURN(added_lock, files_.Lock(plan->copies.back().target()));
  }
  bool committed = false;
  const absl::Status done = plan->transaction.Commit(files_, paths_, &lock_, &committed);
  if (!done.ok()) {
    unrecovered_ = true;
    // What was committed is completed here if the fault was a passing one.
    const absl::Status recovered = RecoverIfNeeded(/*disks_locked=*/true);
    if (!committed || !recovered.ok()) return done;
  }
  KS_RETURN_IF_ERROR(AfterCommit(plan));
  if (running_ != nullptr && !plan->added_disk.empty()) {
    RunningVm::AttachedDisk added;
    added.file = plan->added_disk;
    added.lock = std::move(added_lock);
    added.dek = std::move(plan->added_dek);
    running_->disks_.push_back(std::move(added));
  }
  return absl::OkStatus();
}

absl::Status VmFolder::AfterCommit(Plan* plan) {
  vmx_info_ = {};
  KS_RETURN_IF_ERROR(Refresh());
  if (sealed_.has_value() && !plan->config_text.empty()) {
    KS_ASSIGN_OR_RETURN(Vmx vmx, Vmx::Parse(plan->config_text, paths_.vmx_name));
    KS_ASSIGN_OR_RETURN(VmConfig config, VmConfig::Read(std::move(vmx), paths_.vmx_name));
    config_text_ = std::move(plan->config_text);
    SetConfig(std::move(config));
  }
  return absl::OkStatus();
}

}  // namespace keysphere::hostagent::vm
