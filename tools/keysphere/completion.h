#ifndef KEYSPHERE_TOOLS_KEYSPHERE_COMPLETION_H_
#define KEYSPHERE_TOOLS_KEYSPHERE_COMPLETION_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/keysphere/command.h"

namespace keysphere::cli {

// A script that completes commands, options and their fixed values. `shell`: bash, zsh or fish;
// else a usage error. `commands` as CommandLine::Describe gives them.
absl::StatusOr<std::string> CompletionScript(const std::string& shell,
                                             const std::vector<CommandInfo>& commands);

}  // namespace keysphere::cli

#endif  // KEYSPHERE_TOOLS_KEYSPHERE_COMPLETION_H_
