// A process that behaves to its supervisor as a daemon does, and does nothing else. Flags that the
// simulator gives are accepted; its name decides how it behaves:
//   *stubborn*: ignores SIGTERM; *mute*: never READY; *broken*: ends with 3 before it is READY.
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  std::string name;
  for (int i = 1; i + 1 < argc; ++i) {
    if (strcmp(argv[i], "--name") == 0) name = argv[i + 1];
  }
  const auto is = [&](const char* word) { return name.find(word) != std::string::npos; };
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  fprintf(stderr, "%s begins\n", name.c_str());
  if (is("broken")) return 3;
  if (!is("mute")) {
    printf("READY {\"name\":\"%s\",\"pid\":%d}\n", name.c_str(), getpid());
    fflush(stdout);
  }
  while (true) {
    int got = 0;
    sigwait(&signals, &got);
    if (!is("stubborn")) return 0;
  }
}
