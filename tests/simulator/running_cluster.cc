#include "tests/simulator/running_cluster.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/files/file_system.h"
#include "common/status/status.h"
#include "services/simulator/cluster_folder.h"

namespace keysphere::tests {
namespace {

// Lives as long as the program, since gRPC may use it after a test.
clock::Clock* RealClock() {
  static auto* const clock = new clock::SystemClock();
  return clock;
}

}  // namespace

bool IsAlive(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::stringstream text;
  text << file.rdbuf();
  const size_t end = text.str().rfind(')');
  return end != std::string::npos && text.str()[end + 2] != 'Z';
}

void WaitUntilGone(pid_t pid) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return;
  struct pollfd poll_fd = {fd, POLLIN, 0};
  poll(&poll_fd, 1, -1);
  close(fd);
}

RunningCluster::RunningCluster(const std::string& folder, const std::vector<std::string>& flags)
    : folder_(folder) {
  Start(flags);
  std::string line;
  char byte = 0;
  while (read(output_, &byte, 1) == 1) {
    if (byte != '\n') {
      line += byte;
      continue;
    }
    if (absl::StartsWith(line, "READY ")) {
      ready_ = line;
      return;
    }
    line.clear();
  }
}

void RunningCluster::Start(const std::vector<std::string>& flags) {
  std::vector<std::string> words = {"services/simulator/keysphere-simulator",
                                    "--dir",
                                    folder_,
                                    "--controller-binary",
                                    "controller/keysphere-controller",
                                    "--hostagent-binary",
                                    "hostagent/keysphere-hostagent",
                                    "--kms-binary",
                                    "services/kms/keysphere-kms"};
  words.insert(words.end(), flags.begin(), flags.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  int ends[2];
  KS_CHECK(pipe2(ends, O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  KS_CHECK(posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  output_ = ends[0];
}

RunningCluster::~RunningCluster() {
  if (pid_ > 0) {
    Signal(SIGKILL);
    Wait();
  }
  close(output_);
}

void RunningCluster::Signal(int signal) const { kill(pid_, signal); }

int RunningCluster::Wait() {
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

sim::v1::SimulatedCluster RunningCluster::Read() const {
  const files::FileSystem files;
  const auto text = files.ReadFile(folder_ + "/cluster.json", 16 << 20);
  if (!text.ok()) return sim::v1::SimulatedCluster();
  return simulator::ClusterFromJson(*text).value_or(sim::v1::SimulatedCluster());
}

sim::v1::SimulatedProcess RunningCluster::Process(const std::string& name) const {
  const sim::v1::SimulatedCluster cluster = Read();
  for (const auto& process : cluster.processes()) {
    if (process.name() == name) return process;
  }
  return sim::v1::SimulatedProcess();
}

std::shared_ptr<rpc::Channel> RunningCluster::Dial(const std::string& name) {
  const sim::v1::SimulatedCluster cluster = Read();
  const sim::v1::SimulatedProcess process = Process(name);
  identity::CredentialFiles files;
  files.ca = cluster.ca_certificate();
  files.certificate = cluster.user_certificate();
  files.key = cluster.user_key();
  rpc::ChannelOptions options;
  std::string address = name.empty() ? cluster.address() : process.address();
  if (!process.control_address().empty()) address = process.control_address();
  options.target = absl::StrCat("ipv4:", address);
  options.peer =
      identity::Identity::Parse(name.empty() ? cluster.spiffe_id() : process.spiffe_id()).value();
  options.credentials = identity::Credentials::Load(files).value();
  options.clock = RealClock();
  options.authority = process.dns_name();
  return rpc::Channel::Create(std::move(options)).value();
}

}  // namespace keysphere::tests
