#include "services/simulator/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

// glibc 2.36 does not say itself that these are C.
extern "C" {
#include <sys/pidfd.h>
}

#include <array>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "services/simulator/child_process.h"

namespace keysphere::simulator {
namespace {

constexpr size_t kStackBytes = 64 * 1024;
constexpr size_t kMaxLine = 64 * 1024;
constexpr uint64_t kWakeKey = 0;

// What epoll reports: which child, and which of its two descriptors.
uint64_t OutputKey(Spawner::ChildId id) { return id << 1; }
uint64_t ExitKey(Spawner::ChildId id) { return id << 1 | 1; }

std::string ExitText(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return absl::StrCat("exit ", info.si_status);
  return absl::StrCat("signal ", info.si_status);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Spawner>> Spawner::Create() {
  files::Descriptor poll(epoll_create1(EPOLL_CLOEXEC));
  files::Descriptor wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!poll.valid() || !wake.valid()) {
    return files::FileSystem::ErrorOf(errno, "make", "a descriptor");
  }
  auto spawner = absl::WrapUnique(new Spawner(std::move(poll), std::move(wake)));
  KS_RETURN_IF_ERROR(spawner->Watch(spawner->wake_.get(), kWakeKey));
  spawner->thread_ = std::thread([raw = spawner.get()] { raw->Run(); });
  return spawner;
}

Spawner::Spawner(files::Descriptor poll, files::Descriptor wake)
    : poll_(std::move(poll)), wake_(std::move(wake)), stack_(kStackBytes) {}

Spawner::~Spawner() {
  if (!thread_.joinable()) return;
  {
    sync::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  Post([] {});
  thread_.join();
}

void Spawner::Post(absl::AnyInvocable<void()> task) {
  {
    sync::MutexLock lock(&mutex_);
    tasks_.push_back(std::move(task));
  }
  const uint64_t one = 1;
  // Full means that the thread is to wake anyway.
  (void)!write(wake_.get(), &one, sizeof one);
}

Spawner::ChildId Spawner::Spawn(Command command, Events events) {
  ChildId id = 0;
  {
    sync::MutexLock lock(&mutex_);
    id = ++last_;
  }
  Post([this, id, command = std::move(command), events = std::move(events)]() mutable {
    StartChild(id, command, std::move(events));
  });
  return id;
}

void Spawner::Signal(ChildId id, int signal) {
  Post([this, id, signal] {
    const auto child = children_.find(id);
    if (child != children_.end()) {
      pidfd_send_signal(child->second.pidfd.get(), signal, nullptr, 0);
    }
  });
}

void Spawner::Stop(ChildId id, absl::AnyInvocable<void()> stopped) {
  Post([this, id, stopped = std::move(stopped)]() mutable {
    const auto child = children_.find(id);
    if (child == children_.end()) return;
    const int fd = child->second.pidfd.get();
    pidfd_send_signal(fd, SIGSTOP, nullptr, 0);
    siginfo_t info = {};
    waitid(P_PIDFD, fd, &info, WSTOPPED | WEXITED | WNOWAIT);
    if (info.si_code == CLD_STOPPED) stopped();
  });
}

void Spawner::Run() {
  while (true) {
    std::array<struct epoll_event, 64> events;
    const int count = epoll_wait(poll_.get(), events.data(), events.size(), -1);
    for (int i = 0; i < count; ++i) {
      const uint64_t key = events[i].data.u64;
      if (key == kWakeKey) continue;
      const ChildId id = key >> 1;
      const auto child = children_.find(id);
      if (child == children_.end()) continue;
      ReadOutput(&child->second);
      if (key == ExitKey(id)) Reap(id);
    }
    {
      sync::MutexLock lock(&mutex_);
      if (stopping_) break;
    }
    RunTasks();
  }
  KillAll();
}

void Spawner::RunTasks() {
  uint64_t count = 0;
  (void)!read(wake_.get(), &count, sizeof count);
  std::vector<absl::AnyInvocable<void()>> tasks;
  {
    sync::MutexLock lock(&mutex_);
    tasks.swap(tasks_);
  }
  for (auto& task : tasks) task();
}

void Spawner::StartChild(ChildId id, const Command& command, Events events) {
  Child child;
  absl::Status status = Launch(command, &child);
  if (status.ok()) status = Watch(child.output.get(), OutputKey(id));
  if (status.ok()) status = Watch(child.pidfd.get(), ExitKey(id));
  child.events = std::move(events);
  if (child.pid == 0) {
    child.events.on_exit(std::string(status.message()));
    return;
  }
  if (!status.ok()) pidfd_send_signal(child.pidfd.get(), SIGKILL, nullptr, 0);
  child.events.on_spawned(child.pid);
  children_.emplace(id, std::move(child));
  if (!status.ok()) Reap(id);
}

absl::Status Spawner::Launch(const Command& command, Child* child) {
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) return files::FileSystem::ErrorOf(errno, "make", "a pipe");
  child->output = files::Descriptor(pipe_ends[0]);
  const files::Descriptor output(pipe_ends[1]);
  // This end alone: the child's may block.
  fcntl(child->output.get(), F_SETFL, O_NONBLOCK);
  const files::Descriptor errors(
      open(command.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!errors.valid()) return files::FileSystem::ErrorOf(errno, "open", command.log_file);
  const files::Descriptor input(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!input.valid()) return files::FileSystem::ErrorOf(errno, "open", "/dev/null");

  std::vector<char*> argv;
  for (const std::string& word : command.argv) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ChildSetup setup;
  setup.argv = argv.data();
  setup.input = input.get();
  setup.output = output.get();
  setup.errors = errors.get();
  const int error =
      StartChildProcess(setup, stack_.data(), stack_.size(), &child->pid, &child->pidfd);
  if (error == 0) return absl::OkStatus();
  child->pid = 0;
  return files::FileSystem::ErrorOf(error, "start", command.argv[0]);
}

absl::Status Spawner::Watch(int fd, uint64_t key) {
  struct epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = key;
  if (epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return absl::OkStatus();
  return files::FileSystem::ErrorOf(errno, "watch", "a process");
}

void Spawner::ReadOutput(Child* child) {
  char bytes[4096];
  while (true) {
    const ssize_t count = read(child->output.get(), bytes, sizeof bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return;
    if (count == 0) {
      // Closed: epoll would report it for ever.
      epoll_ctl(poll_.get(), EPOLL_CTL_DEL, child->output.get(), nullptr);
      return;
    }
    for (ssize_t i = 0; i < count && !child->ready; ++i) {
      if (bytes[i] != '\n') {
        if (child->line.size() < kMaxLine) child->line += bytes[i];
        continue;
      }
      child->ready = absl::StartsWith(child->line, "READY ");
      child->line.clear();
    }
    if (child->ready && child->events.on_ready) std::exchange(child->events.on_ready, nullptr)();
  }
}

void Spawner::Reap(ChildId id) {
  const auto found = children_.find(id);
  siginfo_t info = {};
  if (waitid(P_PIDFD, found->second.pidfd.get(), &info, WEXITED) != 0) return;
  Child child = std::move(found->second);
  children_.erase(found);
  child.events.on_exit(ExitText(info));
}

void Spawner::KillAll() {
  for (const auto& [unused, child] : children_) {
    pidfd_send_signal(child.pidfd.get(), SIGKILL, nullptr, 0);
  }
  for (const auto& [unused, child] : children_) {
    siginfo_t info;
    waitid(P_PIDFD, child.pidfd.get(), &info, WEXITED);
  }
  children_.clear();
}

}  // namespace keysphere::simulator
