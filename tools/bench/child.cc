#include "tools/bench/child.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::bench {
namespace {

absl::Status Failed(const std::string& what) {
  return status::Error(v1::REASON_INVALID_STATE, what);
}

[[noreturn]] void Exec(const std::vector<char*>& argv, int out, int err) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Child>> Child::Start(const std::vector<std::string>& argv,
                                                    const std::string& log) {
  std::vector<char*> pointers;
  pointers.reserve(argv.size() + 1);
  for (const std::string& arg : argv) pointers.push_back(const_cast<char*>(arg.c_str()));
  pointers.push_back(nullptr);
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) return Failed("pipe");
  const int err = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const pid_t pid = fork();
  if (pid == 0) Exec(pointers, out[1], err);
  close(out[1]);
  if (err >= 0) close(err);
  if (pid < 0) {
    close(out[0]);
    return Failed("fork");
  }
  return absl::WrapUnique(new Child(pid, out[0], log));
}

Child::~Child() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  close(out_);
}

absl::StatusOr<std::string> Child::WaitReady() {
  std::string text;
  char byte = 0;
  while (read(out_, &byte, 1) == 1) {
    if (byte != '\n') {
      text.push_back(byte);
      continue;
    }
    if (text.rfind("READY ", 0) == 0) return text.substr(6);
    text.clear();
  }
  return Failed(absl::StrCat("a program ended before it was ready, see ", log_));
}

absl::StatusOr<std::string> Child::WaitAddress() {
  KS_ASSIGN_OR_RETURN(const std::string json, WaitReady());
  const std::string name = "\"address\":\"";
  const size_t begin = json.find(name);
  if (begin == std::string::npos) return Failed(absl::StrCat("no address in ", json));
  const size_t value = begin + name.size();
  return json.substr(value, json.find('"', value) - value);
}

void Child::Signal(int signal) const { kill(pid_, signal); }

int64_t Child::CpuNanoseconds() const {
  const std::string folder = absl::StrCat("/proc/", pid_, "/task");
  DIR* const dir = opendir(folder.c_str());
  if (dir == nullptr) return 0;
  int64_t sum = 0;
  while (const dirent* const entry = readdir(dir)) {
    if (entry->d_name[0] == '.') continue;
    FILE* const file =
        std::fopen(absl::StrCat(folder, "/", entry->d_name, "/schedstat").c_str(), "r");
    if (file == nullptr) continue;
    long long ran = 0;
    if (std::fscanf(file, "%lld", &ran) == 1) sum += ran;
    std::fclose(file);
  }
  closedir(dir);
  return sum;
}

}  // namespace keysphere::bench
