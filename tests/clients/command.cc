#include "tests/clients/command.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "gtest/gtest.h"

namespace keysphere::clients {

RunningCommand::RunningCommand(std::vector<std::string> words) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  EXPECT_EQ(posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ), 0) << words[0];
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  out_ = ends[0];
}

RunningCommand::~RunningCommand() {
  if (pid_ > 0) kill(pid_, SIGKILL);
  Wait();
  close(out_);
}

std::string RunningCommand::NextLine() {
  std::string line;
  char byte = 0;
  while (read(out_, &byte, 1) == 1 && byte != '\n') line += byte;
  return line;
}

std::string RunningCommand::Rest() {
  std::string text;
  char buffer[4096];
  for (ssize_t bytes = 0; (bytes = read(out_, buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<size_t>(bytes));
  }
  return text;
}

int RunningCommand::Wait() {
  if (pid_ <= 0) return -1;
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

CommandResult RunCommand(std::vector<std::string> words) {
  RunningCommand command(std::move(words));
  CommandResult result;
  result.out = command.Rest();
  result.code = command.Wait();
  return result;
}

}  // namespace keysphere::clients
