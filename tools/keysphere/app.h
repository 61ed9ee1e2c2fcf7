#ifndef KEYSPHERE_TOOLS_KEYSPHERE_APP_H_
#define KEYSPHERE_TOOLS_KEYSPHERE_APP_H_

#include <memory>
#include <string>
#include <vector>

#include "tools/keysphere/command.h"
#include "tools/keysphere/session.h"

namespace keysphere::cli {

// What a run ends with: scripts may switch on it.
enum ExitCode {
  kDone = 0,
  kRefused = 1,  // by the service, or it could not be reached; the reason is on stderr
  kUsage = 2,
};

// The whole command line. `globals` and the result of `describe` live as long as it.
std::unique_ptr<CommandLine> MakeCommandLine(GlobalOptions* globals);

// One run; `arguments` without the program's name.
int Run(const std::vector<std::string>& arguments, const Environment& environment);

}  // namespace keysphere::cli

#endif  // KEYSPHERE_TOOLS_KEYSPHERE_APP_H_
