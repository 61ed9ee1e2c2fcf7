// What a daemon says that cannot protect its keys, and how it ends.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/processes/lab.h"

namespace keysphere::faults {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Ended {
  int code = -1;
  std::string out;
  std::string err;
};

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Runs a program to its end as one that may lock `bytes` of memory, whoever it is.
Ended RunWithLockedMemory(rlim_t bytes, std::vector<std::string> words, const std::string& folder) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string out = folder + "/out";
  const std::string err = folder + "/err";
  const pid_t pid = fork();
  if (pid == 0) {  // only what may be called between fork and exec
    const rlimit limit = {bytes, bytes};
    // The superuser may exceed the limit, but for one in a user namespace, who cannot drop this.
    prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0);
    const int out_fd = open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int err_fd = open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || dup2(out_fd, STDOUT_FILENO) < 0 ||
        dup2(err_fd, STDERR_FILENO) < 0) {
      _exit(120);
    }
    execv(argv[0], argv.data());
    _exit(121);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, ReadAll(out), ReadAll(err)};
}

class StartupTest : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Daemons, StartupTest,
                         ::testing::Values("controller/keysphere-controller",
                                           "hostagent/keysphere-hostagent"),
                         [](const auto& instance) {
                           return std::string(instance.param).find("host") == std::string::npos
                                      ? "Controller"
                                      : "HostAgent";
                         });

TEST_P(StartupTest, S147_WithoutLockedMemoryForKeysItDoesNotStart) {
  const std::string folder = processes::MakeFolder("startup");
  const std::vector<std::string> words = {
      GetParam(), "--name",      "daemon-1",        "--listen",      "127.0.0.1:0",
      "--cert",   "x.crt",       "--key",           "x.key",         "--ca",
      "ca.crt",   "--state-dir", folder + "/state", "--secure-heap", "1048576"};

  const Ended ended = RunWithLockedMemory(16 << 10, words, folder);

  EXPECT_EQ(ended.code, 1) << ended.err;
  EXPECT_THAT(ended.out, IsEmpty()) << "it must not say READY";
  EXPECT_THAT(ended.err, HasSubstr("KEY_MEMORY_UNPROTECTED"));
  EXPECT_THAT(ended.err, HasSubstr("ulimit -l"));
  EXPECT_THAT(ended.err, HasSubstr("--secure-heap"));
  // The control: with room for them it gets further, to the certificate that is not there.
  const Ended further = RunWithLockedMemory(4 << 20, words, folder);
  EXPECT_EQ(further.code, 1);
  EXPECT_THAT(further.err, ::testing::Not(HasSubstr("ulimit -l")));
  EXPECT_THAT(further.err, HasSubstr("ca.crt"));
}

}  // namespace
}  // namespace keysphere::faults
