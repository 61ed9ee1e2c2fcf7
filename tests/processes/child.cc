#include "tests/processes/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace keysphere::processes {
namespace {

constexpr int kReadyMilliseconds = 60'000;

// The end of a file of text, for an error.
std::string Tail(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  constexpr size_t kBytes = 2000;
  return text.size() <= kBytes ? text : text.substr(text.size() - kBytes);
}

// The value of a string in the READY line's JSON.
std::string StringIn(const std::string& line, const std::string& name) {
  const std::string before = absl::StrCat("\"", name, "\":\"");
  const size_t begin = line.find(before);
  if (begin == std::string::npos) return "";
  const size_t from = begin + before.size();
  return line.substr(from, line.find('"', from) - from);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Child>> Child::Start(const Command& command) {
  auto child = std::unique_ptr<Child>(new Child());
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) return absl::InternalError("no pipe");
  child->stdout_ = out[0];
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, command.stderr_file.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
  std::vector<std::string> words = {command.program};
  words.insert(words.end(), command.args.begin(), command.args.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int error =
      posix_spawn(&child->pid_, command.program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  if (error != 0) {
    child->pid_ = 0;
    return absl::InternalError(absl::StrCat(command.program, ": ", std::strerror(error)));
  }
  if (absl::Status ready = child->WaitForReady(command); !ready.ok()) return ready;
  return child;
}

absl::Status Child::WaitForReady(const Command& command) {
  std::string text;
  while (text.find('\n') == std::string::npos) {
    pollfd wanted = {stdout_, POLLIN, 0};
    const int ready = poll(&wanted, 1, kReadyMilliseconds);
    if (ready < 0 && errno == EINTR) continue;
    char buffer[512];
    const ssize_t bytes = ready > 0 ? read(stdout_, buffer, sizeof(buffer)) : 0;
    if (bytes <= 0) {
      Kill();
      return absl::InternalError(
          absl::StrCat(command.program, " did not get READY: ", Tail(command.stderr_file)));
    }
    text.append(buffer, static_cast<size_t>(bytes));
  }
  address_ = StringIn(text, "address");
  if (text.rfind("READY {", 0) != 0 || address_.empty()) {
    return absl::InternalError(absl::StrCat(command.program, " said: ", text));
  }
  return absl::OkStatus();
}

int Child::Reap() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
  close(stdout_);
  stdout_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool Child::Running() {
  siginfo_t info = {};
  return pid_ > 0 &&
         waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == 0;
}

void Child::Kill() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  Reap();
}

int Child::Terminate() {
  if (pid_ <= 0) return -1;
  kill(pid_, SIGTERM);
  return Reap();
}

void Child::Pause() {
  kill(pid_, SIGSTOP);
  int status = 0;
  while (waitpid(pid_, &status, WUNTRACED) < 0 && errno == EINTR) {
  }
}

void Child::Resume() { kill(pid_, SIGCONT); }

}  // namespace keysphere::processes
