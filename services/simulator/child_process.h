#ifndef KEYSPHERE_SERVICES_SIMULATOR_CHILD_PROCESS_H_
#define KEYSPHERE_SERVICES_SIMULATOR_CHILD_PROCESS_H_

#include <sys/types.h>

#include <cstddef>

#include "common/files/file_system.h"

namespace keysphere::simulator {

// What a new process is made of. All pointers outlive the call.
struct ChildSetup {
  char* const* argv = nullptr;  // ends in null; the first is the program's path
  int input = -1;               // what becomes its stdin, stdout and stderr; each above 2
  int output = -1;
  int errors = -1;
};

// Makes a process of `setup` as vfork and exec would: the calling thread waits until the program
// runs. Everything between is system calls alone, for the child shares this process' memory. It has
// a process group of its own (a terminal's Ctrl-C is not for it), no other descriptors, default
// signals, and is killed when the calling thread ends. `stack` is its until then.
// Returns 0, or the errno of what failed.
int StartChildProcess(const ChildSetup& setup, char* stack, size_t stack_bytes, pid_t* pid,
                      files::Descriptor* pidfd);

}  // namespace keysphere::simulator

#endif  // KEYSPHERE_SERVICES_SIMULATOR_CHILD_PROCESS_H_
