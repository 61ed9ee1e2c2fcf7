#include "tools/keysphere/spawn.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "absl/memory/memory.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/files/file_system.h"
#include "common/status/status.h"
#include "common/status/text.h"
#include "services/simulator/failure.h"
#include "tools/keysphere/command.h"

namespace keysphere::cli {
namespace {

constexpr size_t kMaxReadyBytes = 64 << 10;

int PidFd(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

sigset_t EndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGHUP);
  return signals;
}

// After fork: calls nothing that may hold a lock of the parent's.
[[noreturn]] void Exec(char* const* arguments, bool detached, pid_t parent, int output,
                       int errors) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (detached) {
    setsid();
    const int null = open("/dev/null", O_RDONLY);
    if (null >= 0) dup2(null, STDIN_FILENO);
  } else {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);
  }
  dup2(output, STDOUT_FILENO);
  if (errors >= 0) dup2(errors, STDERR_FILENO);
  execv(arguments[0], arguments);
  _exit(127);
}

}  // namespace

absl::StatusOr<std::string> FindProgram(const std::string& folder, const std::string& name) {
  std::error_code error;
  const std::string own = std::filesystem::read_symlink("/proc/self/exe", error).string();
  const std::string beside = files::FolderOf(own);
  for (const std::string& candidate :
       {absl::StrCat(beside, "/", name), absl::StrCat(beside, "/../../", folder, "/", name)}) {
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return status::Error(v1::REASON_NOT_FOUND, absl::StrCat("no program ", name, " beside ", own))
      .NextStep("Install it there, or build it.");
}

absl::StatusOr<std::unique_ptr<SimulatorProcess>> SimulatorProcess::Start(
    const std::vector<std::string>& command, bool detached) {
  auto process = absl::WrapUnique(new SimulatorProcess());
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return files::FileSystem::ErrorOf(errno, "make", "a pipe");
  process->output_ = pipe_fds[0];
  if (detached) {
    // Without a name: it goes with the simulator.
    process->errors_ = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC | O_APPEND, 0600);
  }
  const sigset_t signals = EndSignals();
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  process->signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC);

  std::vector<std::string> words = command;
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(&word[0]);
  arguments.push_back(nullptr);
  const pid_t parent = getpid();
  process->pid_ = fork();
  if (process->pid_ == 0) {
    Exec(arguments.data(), detached, parent, pipe_fds[1], process->errors_);
  }
  close(pipe_fds[1]);
  if (process->pid_ < 0) return files::FileSystem::ErrorOf(errno, "start", command[0]);
  process->pid_fd_ = PidFd(process->pid_);
  return process;
}

SimulatorProcess::~SimulatorProcess() {
  for (const int fd : {pid_fd_, signal_fd_, output_, errors_}) {
    if (fd >= 0) close(fd);
  }
  const sigset_t signals = EndSignals();
  sigprocmask(SIG_UNBLOCK, &signals, nullptr);
}

void SimulatorProcess::TakeSignal() const {
  signalfd_siginfo info{};
  if (read(signal_fd_, &info, sizeof(info)) == sizeof(info)) kill(pid_, SIGTERM);
}

std::string SimulatorProcess::Said() const {
  if (errors_ < 0) return "see above";
  std::string text(2048, '\0');
  const ssize_t got = pread(errors_, &text[0], text.size(), 0);
  text.resize(got > 0 ? got : 0);
  return status::Printable(absl::StripAsciiWhitespace(text), 1024);
}

absl::Status SimulatorProcess::EndedWith(int wait_status) const {
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) return absl::OkStatus();
  // Its code for flags that do not fit each other.
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 2) return UsageError(Said());
  const std::string how = WIFSIGNALED(wait_status)
                              ? absl::StrCat("signal ", WTERMSIG(wait_status))
                              : absl::StrCat("exit ", WEXITSTATUS(wait_status));
  return status::Error(v1::REASON_UNREACHABLE,
                       absl::StrCat("the simulator ended (", how, "): ", Said()));
}

absl::StatusOr<std::string> SimulatorProcess::WaitForReady() {
  std::string text;
  absl::Status failed;  // as it told
  while (failed.ok() && text.size() < kMaxReadyBytes) {
    pollfd polled[2] = {{output_, POLLIN, 0}, {signal_fd_, POLLIN, 0}};
    if (poll(polled, 2, -1) < 0 && errno != EINTR) break;
    if ((polled[1].revents & POLLIN) != 0) TakeSignal();
    if (polled[0].revents == 0) continue;
    char buffer[4096];
    const ssize_t got = read(output_, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(buffer, got);
    for (size_t end = text.find('\n'); failed.ok() && end != std::string::npos;
         end = text.find('\n')) {
      absl::string_view line = absl::string_view(text).substr(0, end);
      if (absl::ConsumePrefix(&line, "READY ")) return std::string(line);
      failed = simulator::ParseFailedLine(line);
      text.erase(0, end + 1);
    }
  }
  kill(pid_, SIGTERM);
  int wait_status = 0;
  while (waitpid(pid_, &wait_status, 0) < 0 && errno == EINTR) {
  }
  ended_ = true;
  if (!failed.ok()) return failed;
  const absl::Status status = EndedWith(wait_status);
  if (!status.ok()) return status;
  return status::Error(v1::REASON_CANCELLED, "the simulator was ended before it was ready");
}

absl::Status SimulatorProcess::WaitForEnd() {
  if (ended_) return absl::OkStatus();
  for (;;) {
    pollfd polled[2] = {{pid_fd_, POLLIN, 0}, {signal_fd_, POLLIN, 0}};
    if (poll(polled, 2, -1) < 0 && errno != EINTR) break;
    if ((polled[1].revents & POLLIN) != 0) TakeSignal();
    if ((polled[0].revents & POLLIN) != 0) break;
  }
  int wait_status = 0;
  while (waitpid(pid_, &wait_status, 0) < 0 && errno == EINTR) {
  }
  ended_ = true;
  return EndedWith(wait_status);
}

ProcessEnd::ProcessEnd(pid_t pid) : pid_fd_(PidFd(pid)) {}

ProcessEnd::~ProcessEnd() {
  if (pid_fd_ >= 0) close(pid_fd_);
}

void ProcessEnd::Terminate() const {
  if (pid_fd_ >= 0) syscall(SYS_pidfd_send_signal, pid_fd_, SIGTERM, nullptr, 0);
}

bool ProcessEnd::Wait(absl::Duration timeout) const {
  if (pid_fd_ < 0) return true;
  pollfd polled = {pid_fd_, POLLIN, 0};
  int got = 0;
  do {
    got = poll(&polled, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout)));
  } while (got < 0 && errno == EINTR);
  return got > 0;
}

}  // namespace keysphere::cli
