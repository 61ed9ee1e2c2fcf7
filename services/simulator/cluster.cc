#include "services/simulator/cluster.h"

#include <signal.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::simulator {
namespace {

using sim::v1::SimulatedCluster;
using sim::v1::SimulatedProcess;

absl::string_view KindOf(const SimulatedProcess& process) {
  switch (process.kind()) {
    case sim::v1::PROCESS_KIND_CONTROLLER:
      return "controller";
    case sim::v1::PROCESS_KIND_KMS:
      return "KMS node";
    default:
      return "host";
  }
}

// Runs when the last who holds it lets go.
struct AtEnd {
  absl::AnyInvocable<void()> run;
  explicit AtEnd(absl::AnyInvocable<void()> r) : run(std::move(r)) {}
  ~AtEnd() { run(); }
};

}  // namespace

Cluster::Cluster(const Options& options, SimulatedCluster description)
    : options_(options), description_(std::move(description)) {}

// What there is.

absl::StatusOr<Cluster::Process*> Cluster::Find(const std::string& name) {
  const auto found = processes_.find(name);
  if (found != processes_.end()) return found->second.get();
  return status::Error(v1::REASON_NOT_FOUND,
                       absl::StrCat("no process ", status::Quote(name), " in this cluster"))
      .Object("process", name);
}

absl::StatusOr<SimulatedProcess> Cluster::Get(const std::string& name) {
  sync::MutexLock lock(&mutex_);
  KS_ASSIGN_OR_RETURN(const Process* process, Find(name));
  return process->shown;
}

absl::StatusOr<int> Cluster::SlotOf(const std::string& name) {
  sync::MutexLock lock(&mutex_);
  KS_ASSIGN_OR_RETURN(const Process* process, Find(name));
  return process->slot;
}

SimulatedCluster Cluster::Describe() {
  sync::MutexLock lock(&mutex_);
  SimulatedCluster cluster = description_;
  for (const Process* process : in_order_) *cluster.add_processes() = process->shown;
  return cluster;
}

absl::Status Cluster::Publish() {
  sync::MutexLock lock(&file_mutex_);
  published_ = true;
  return options_.folder->WriteClusterFile(Describe());
}

void Cluster::WriteFile() {
  sync::MutexLock lock(&file_mutex_);
  if (!published_) return;
  const absl::Status written = options_.folder->WriteClusterFile(Describe());
  if (!written.ok()) options_.logger->Error("cluster_file.not_written", {{"error", written}});
}

// Starting.

void Cluster::Start(const std::string& name, Done done) {
  absl::Status refused;
  {
    sync::MutexLock lock(&mutex_);
    const auto process = Find(name);
    if (!process.ok()) {
      refused = process.status();
    } else if (ending_) {
      refused = status::Error(v1::REASON_SHUTTING_DOWN, "the cluster is being ended");
    } else if ((*process)->phase != Phase::kEnded) {
      refused = NotIn(**process, "ended");
    } else {
      (*process)->when_ready.push_back(std::move(done));
      StartLocked(*process);
      return;
    }
  }
  done(refused);
}

void Cluster::StartLocked(Process* process) {
  const std::string name = process->shown.name();
  const int64_t start = ++starts_;
  process->start = start;
  process->shown.set_starts(process->shown.starts() + 1);
  process->shown.clear_exit_status();
  SetPhase(process, Phase::kStarting);
  if (options_.master != nullptr) options_.master->HoldForStart(process->slot);
  process->guard = options_.clock->RunAfter(options_.start_guard,
                                            [this, name, start] { OnStartGuard(name, start); });
  Spawner::Events events;
  events.on_spawned = [this, name, start](pid_t pid) { OnSpawned(name, start, pid); };
  events.on_ready = [this, name, start] { OnReady(name, start); };
  events.on_exit = [this, name, start](const std::string& how) { OnExit(name, start, how); };
  process->child = options_.spawner->Spawn(process->command, std::move(events));
}

Cluster::Process* Cluster::Current(const std::string& name, int64_t start) {
  const auto process = Find(name);
  return process.ok() && (*process)->start == start ? *process : nullptr;
}

void Cluster::OnSpawned(const std::string& name, int64_t start, pid_t pid) {
  sync::MutexLock lock(&mutex_);
  if (Process* const process = Current(name, start)) process->shown.set_pid(pid);
}

void Cluster::OnReady(const std::string& name, int64_t start) {
  std::vector<Done> ready;
  SimulatedProcess shown;
  {
    sync::MutexLock lock(&mutex_);
    Process* const process = Current(name, start);
    if (process == nullptr || process->phase != Phase::kStarting) return;
    SetPhase(process, Phase::kRunning);
    options_.clock->Cancel(std::exchange(process->guard, clock::Clock::kNoTimer));
    if (options_.master != nullptr) options_.master->EndStart(process->slot);
    ready.swap(process->when_ready);
    shown = process->shown;
  }
  options_.logger->Info("process.ready", {{"process", name}, {"pid", shown.pid()}});
  WriteFile();
  for (Done& done : ready) done(shown);
}

void Cluster::OnStartGuard(const std::string& name, int64_t start) {
  sync::MutexLock lock(&mutex_);
  Process* const process = Current(name, start);
  if (process == nullptr || process->phase != Phase::kStarting) return;
  options_.logger->Warning("process.not_ready", {{"process", name}});
  options_.spawner->Signal(process->child, SIGKILL);
}

void Cluster::OnExit(const std::string& name, int64_t start, const std::string& how) {
  std::vector<Done> never_ready;
  std::vector<absl::AnyInvocable<void()>> ended;
  {
    sync::MutexLock lock(&mutex_);
    Process* const process = Current(name, start);
    if (process == nullptr) return;
    SetPhase(process, Phase::kEnded);
    process->shown.set_pid(0);
    process->shown.set_exit_status(how);
    options_.clock->Cancel(std::exchange(process->guard, clock::Clock::kNoTimer));
    // It has no tokens, timers and streams any more.
    if (options_.master != nullptr) options_.master->ClearSlot(process->slot);
    never_ready.swap(process->when_ready);
    ended.swap(process->when_ended);
  }
  options_.logger->Info("process.ended", {{"process", name}, {"how", how}});
  WriteFile();
  for (Done& done : never_ready) {
    done(status::Error(v1::REASON_UNREACHABLE,
                       absl::StrCat(status::Quote(name), " was not READY: ", how))
             .Object("process", name)
             .NextStep(absl::StrCat("See ", options_.folder->LogFile(name))));
  }
  for (auto& run : ended) run();
}

// Ending.

void Cluster::Kill(const std::string& name, Done done) {
  absl::Status refused;
  {
    sync::MutexLock lock(&mutex_);
    const auto process = Find(name);
    if (!process.ok()) {
      refused = process.status();
    } else if ((*process)->phase == Phase::kEnded) {
      refused = NotIn(**process, "running");
    } else {
      (*process)->when_ended.push_back(
          [this, name, done = std::move(done)]() mutable { done(Get(name)); });
      SetEnding(**process, true);
      options_.spawner->Signal((*process)->child, SIGKILL);
      return;
    }
  }
  done(refused);
}

void Cluster::Stop(const std::string& name, Done done) {
  EndOrderly(name, /*again=*/false, std::move(done));
}

void Cluster::Reboot(const std::string& name, Done done) {
  EndOrderly(name, /*again=*/true, std::move(done));
}

void Cluster::EndOrderly(const std::string& name, bool again, Done done) {
  absl::Status refused;
  {
    sync::MutexLock lock(&mutex_);
    const auto found = Find(name);
    if (!found.ok()) {
      refused = found.status();
    } else if ((*found)->phase != Phase::kRunning) {
      refused = NotIn(**found, "running");
    } else {
      Process* const process = *found;
      SetPhase(process, Phase::kStopping);
      // Either the end of the process or the guard has it.
      auto shared = std::make_shared<Done>(std::move(done));
      const auto take = [this, shared] {
        sync::MutexLock lock(&mutex_);
        return std::exchange(*shared, nullptr);
      };
      process->when_ended.push_back([this, name, take, again] {
        Done waiting = take();
        if (waiting == nullptr) return;
        if (again) return Start(name, std::move(waiting));
        waiting(Get(name));
      });
      const int64_t start = process->start;
      process->guard = options_.clock->RunAfter(options_.stop_guard, [this, name, start, take] {
        {
          sync::MutexLock lock(&mutex_);
          Process* const late = Current(name, start);
          if (late == nullptr || late->phase != Phase::kStopping) return;
          SetPhase(late, Phase::kRunning);
          SetEnding(*late, false);
        }
        Done waiting = take();
        if (waiting == nullptr) return;
        waiting(status::Error(v1::REASON_DEADLINE_EXCEEDED,
                              absl::StrCat(status::Quote(name), " does not stop"))
                    .Object("process", name)
                    .NextStep("Kill it, then start it."));
      });
      SetEnding(*process, true);
      options_.spawner->Signal(process->child, SIGTERM);
      return;
    }
  }
  done(refused);
}

void Cluster::EndAll(bool orderly, absl::AnyInvocable<void()> done) {
  std::vector<Spawner::ChildId> children;
  const auto last = std::make_shared<AtEnd>(std::move(done));
  sync::MutexLock lock(&mutex_);
  ending_ = true;
  for (Process* process : in_order_) {
    if (process->phase == Phase::kEnded) continue;
    // A reboot does not start it again: Start refuses.
    process->when_ended.push_back([last] {});
    children.push_back(process->child);
    options_.spawner->Signal(process->child, orderly ? SIGTERM : SIGKILL);
    options_.spawner->Signal(process->child, SIGCONT);
  }
  if (!orderly) return;
  options_.clock->RunAfter(options_.stop_guard, [this, children] {
    for (const Spawner::ChildId child : children) options_.spawner->Signal(child, SIGKILL);
  });
}

// Hanging.

void Cluster::Pause(const std::string& name, Done done) {
  absl::Status refused;
  {
    sync::MutexLock lock(&mutex_);
    const auto process = Find(name);
    if (!process.ok()) {
      refused = process.status();
    } else if ((*process)->phase != Phase::kRunning) {
      refused = NotIn(**process, "running");
    } else {
      SetPhase(*process, Phase::kPausing);
      const int64_t start = (*process)->start;
      auto shared = std::make_shared<Done>(std::move(done));
      // Whichever comes first; both on the spawner's thread.
      (*process)->when_ended.push_back([this, name, shared] {
        if (Done waiting = std::exchange(*shared, nullptr)) waiting(Get(name));
      });
      options_.spawner->Stop((*process)->child, [this, name, start, shared] {
        if (Done waiting = std::exchange(*shared, nullptr)) {
          OnStopped(name, start, std::move(waiting));
        }
      });
      return;
    }
  }
  done(refused);
}

void Cluster::OnStopped(const std::string& name, int64_t start, Done done) {
  {
    sync::MutexLock lock(&mutex_);
    Process* const process = Current(name, start);
    if (process != nullptr && process->phase == Phase::kPausing) {
      SetPhase(process, Phase::kPaused);
      if (options_.master != nullptr) options_.master->SetStopped(process->slot, true);
    }
  }
  WriteFile();
  done(Get(name));
}

void Cluster::Resume(const std::string& name, Done done) {
  absl::StatusOr<SimulatedProcess> result;
  {
    sync::MutexLock lock(&mutex_);
    const auto process = Find(name);
    if (!process.ok()) {
      result = process.status();
    } else if ((*process)->phase != Phase::kPaused) {
      result = NotIn(**process, "paused");
    } else {
      SetPhase(*process, Phase::kRunning);
      // Before it runs: from its first step on, time waits for it.
      if (options_.master != nullptr) options_.master->SetStopped((*process)->slot, false);
      options_.spawner->Signal((*process)->child, SIGCONT);
      result = (*process)->shown;
    }
  }
  WriteFile();
  done(std::move(result));
}

void Cluster::SetEnding(const Process& process, bool ending) {
  if (options_.master != nullptr) options_.master->SetEnding(process.slot, ending);
}

void Cluster::SetPhase(Process* process, Phase phase) {
  process->phase = phase;
  switch (phase) {
    case Phase::kEnded:
      process->shown.set_state(sim::v1::PROCESS_STATE_ENDED);
      break;
    case Phase::kPaused:
      process->shown.set_state(sim::v1::PROCESS_STATE_PAUSED);
      break;
    default:
      process->shown.set_state(sim::v1::PROCESS_STATE_RUNNING);
  }
}

absl::Status Cluster::NotIn(const Process& process, absl::string_view wanted) {
  absl::string_view is = "running";
  switch (process.phase) {
    case Phase::kEnded:
      is = "ended";
      break;
    case Phase::kStarting:
      is = "starting";
      break;
    case Phase::kRunning:
      break;
    case Phase::kPausing:
    case Phase::kPaused:
      is = "paused";
      break;
    case Phase::kStopping:
      is = "stopping";
      break;
  }
  return status::Error(v1::REASON_INVALID_STATE,
                       absl::StrCat("the ", KindOf(process.shown), " is ", is, ", not ", wanted))
      .Object("process", process.shown.name());
}

}  // namespace keysphere::simulator
