#ifndef KEYSPHERE_COMMON_DAEMON_PROCESS_H_
#define KEYSPHERE_COMMON_DAEMON_PROCESS_H_

#include "absl/strings/string_view.h"

namespace CLI {
class App;
}

// What every program that serves does with its process.
namespace keysphere::daemon {

// Parses the command line. True: go on; else the exit code is in `exit_code` (0 after --help, 2 for
// a wrong flag), and what there is to say was printed.
bool Parse(CLI::App* app, int argc, char** argv, int* exit_code);

// Before any thread: all leave SIGTERM and SIGINT to WaitForEndSignal, and a write to a closed pipe
// is an error, no end.
void LeaveSignalsToMain();
// Returns the signal that has come.
int WaitForEndSignal();

// Every connection and every child takes descriptors.
void RaiseDescriptorLimit();

// READY {"name":…,"address":…,"pid":…}, as one line and one write, so that nothing comes between.
void PrintReady(absl::string_view name, absl::string_view address);

}  // namespace keysphere::daemon

#endif  // KEYSPHERE_COMMON_DAEMON_PROCESS_H_
