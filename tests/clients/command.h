#ifndef KEYSPHERE_TESTS_CLIENTS_COMMAND_H_
#define KEYSPHERE_TESTS_CLIENTS_COMMAND_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace keysphere::clients {

// A program that is run for what it prints; killed when it goes.
class RunningCommand {
 public:
  // Its stderr goes to the test's.
  explicit RunningCommand(std::vector<std::string> words);
  ~RunningCommand();
  RunningCommand(const RunningCommand&) = delete;
  RunningCommand& operator=(const RunningCommand&) = delete;

  // Waits for the next line of its stdout, without its end; "" at the end of all.
  std::string NextLine();
  // All the rest of its stdout, and its exit code (-1: a signal).
  std::string Rest();
  int Wait();

 private:
  pid_t pid_ = 0;
  int out_ = -1;
};

struct CommandResult {
  int code = -1;
  std::string out;
};
CommandResult RunCommand(std::vector<std::string> words);

}  // namespace keysphere::clients

#endif  // KEYSPHERE_TESTS_CLIENTS_COMMAND_H_
