#ifndef KEYSPHERE_TOOLS_KEYSPHERE_COMMAND_H_
#define KEYSPHERE_TOOLS_KEYSPHERE_COMMAND_H_

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/types/optional.h"

namespace CLI {
class App;
}

namespace keysphere::cli {

class Session;

// A mistake in how a command was called: exit code 2.
absl::Status UsageError(const std::string& message);
bool IsUsageError(const absl::Status& status);

// One command of the tree, or the root. A light handle; the CommandLine owns the command. (A thin
// layer over the library that parses, so that one file includes it.) The targets of options must
// live until the command has run.
class Command {
 public:
  using Action = std::function<absl::Status(Session*)>;

  // A command below this one. `example` is the line that a user would type, without "keysphere".
  Command Sub(const std::string& name, const std::string& description, const std::string& example);

  // What the words after the command name mean, in their order.
  void Argument(std::string* target, const std::string& name, const std::string& help);
  void OptionalArgument(std::string* target, const std::string& name, const std::string& help);
  void Arguments(std::vector<std::string>* target, const std::string& name,
                 const std::string& help);

  // `name` as "--file" or "-o,--output"; `value` as "FILE".
  void Option(std::string* target, const std::string& name, const std::string& value,
              const std::string& help);
  void Required(std::string* target, const std::string& name, const std::string& value,
                const std::string& help);
  void Choice(std::string* target, const std::string& name, const std::vector<std::string>& choices,
              const std::string& help);
  // A count from `least` to `most`.
  void Option(int64_t* target, const std::string& name, const std::string& value,
              const std::string& help, int64_t least = 0,
              int64_t most = std::numeric_limits<int64_t>::max());
  void Option(std::vector<std::string>* target, const std::string& name, const std::string& value,
              const std::string& help);
  // For one where "" means something else than that it is left out.
  void Option(absl::optional<std::string>* target, const std::string& name,
              const std::string& value, const std::string& help);
  void Flag(bool* target, const std::string& name, const std::string& help);
  // "--NAME" and "--no-NAME"; neither: stays empty.
  void YesNo(absl::optional<bool>* target, const std::string& name, const std::string& help);

  void Run(Action action);

 private:
  friend class CommandLine;
  Command(CLI::App* app, Action* chosen) : app_(app), chosen_(chosen) {}
  CLI::App* app_;
  Action* chosen_;
};

// What a user may type: for completion, and for the test that walks all of it.
struct CommandInfo {
  std::string name;  // "vm power-on"; empty: the root
  std::string description;
  std::string help;  // of --help
  std::vector<std::string> subcommands;
  struct Option {
    std::vector<std::string> names;  // "-o", "--output"
    std::string description;
    bool takes_value = false;
    std::vector<std::string> choices;
  };
  std::vector<Option> options;
};

// The tree of commands.
class CommandLine {
 public:
  CommandLine(const std::string& program, const std::string& description,
              const std::string& example);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  Command root();

  // Fills the targets of options. The command's action, or what to end with now: 0 after help was
  // printed to `out`, 2 after the mistake was printed to `err`.
  struct Parsed {
    Command::Action action;
    int exit_code = 0;
  };
  Parsed Parse(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err);

  // Every command, parents before children; the first is the root.
  std::vector<CommandInfo> Describe() const;

 private:
  std::unique_ptr<CLI::App> app_;
  Command::Action chosen_;
};

}  // namespace keysphere::cli

#endif  // KEYSPHERE_TOOLS_KEYSPHERE_COMMAND_H_
