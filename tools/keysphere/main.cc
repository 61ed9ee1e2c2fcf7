// keysphere: the command line of everything that runs here.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "common/rpc/grpc_init.h"
#include "tools/keysphere/app.h"

int main(int argc, char** argv) {
  keysphere::rpc::InitGrpc();
  // A reader that has gone away is an error of the write.
  signal(SIGPIPE, SIG_IGN);
  keysphere::cli::Environment environment;
  environment.out = &std::cout;
  environment.err = &std::cerr;
  environment.variable = [](const std::string& name) -> std::string {
    const char* const value = std::getenv(name.c_str());
    return value == nullptr ? "" : value;
  };
  environment.terminal = isatty(STDERR_FILENO) != 0;
  const int code =
      keysphere::cli::Run(std::vector<std::string>(argv + 1, argv + argc), environment);
  std::cout.flush();
  return std::cout.good() || code != 0 ? code : 1;
}
