#ifndef KEYSPHERE_COMMON_DAEMON_DAEMON_H_
#define KEYSPHERE_COMMON_DAEMON_DAEMON_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/clock/page/page_clock.h"
#include "common/clock/system_clock.h"
#include "common/daemon/process.h"
#include "common/executor/real_executor.h"
#include "common/identity/certificate.h"
#include "common/identity/credentials.h"
#include "common/identity/identity.h"
#include "common/log/log.h"
#include "common/random/random.h"
#include "common/rpc/authorizer.h"
#include "common/rpc/channel.h"
#include "common/rpc/gate.h"
#include "common/rpc/page_links.h"
#include "common/rpc/server.h"

namespace CLI {
class App;
}

namespace keysphere::daemon {

// What every daemon is told on its command line.
struct DaemonOptions {
  std::string name;
  std::string listen;  // IP:PORT; port 0: any free one
  identity::CredentialFiles files;
  std::string state_dir;
  std::string log_file;  // empty: stderr
  bool simulation = false;
  std::string clock_page;    // PATH:SLOT; needs simulation
  uint64_t random_seed = 0;  // 0: the system's randomness
  size_t secure_heap_bytes = 1 << 20;
  bool allow_core_dumps = false;  // refused without simulation
};

// Adds the flags to the program's.
void AddFlags(CLI::App* app, DaemonOptions* options);

// First in main: memory of this process leaves it in no dump, and key memory exists. Prints why and
// returns false if that cannot be had.
bool ProtectProcess(const DaemonOptions& options);

// What a daemon stands on: clock, executor, randomness, log, credentials; its server; its end.
//
//   daemon::Daemon::Create → build the domain on clock() and executor() → MakeGate, api adapters →
//   Serve → WaitForSignal → the domain's own end → Shutdown
class Daemon {
 public:
  // CERT_UNTRUSTED: the certificate speaks for another kind or name than `kind` and options.name.
  static absl::StatusOr<std::unique_ptr<Daemon>> Create(identity::Kind kind, DaemonOptions options);
  // Shutdown, if nobody has.
  ~Daemon();

  const DaemonOptions& options() const { return options_; }
  const identity::Identity& identity() const { return certificate_.identity; }
  // The own one.
  const identity::CertificateInfo& certificate() const { return certificate_; }
  clock::Clock* clock() { return clock_; }
  // The machine's time under simulated time, for what must end even while that stands still;
  // nullptr: clock() is real.
  // Made when first asked for, by one thread.
  clock::Clock* wall_clock();
  // What is wrong with the ways to others; nullptr without simulation.
  rpc::LinkFaultSource* link_faults() { return links_.get(); }
  executor::Executor* executor() { return executor_.get(); }
  random::Random* random() { return random_.get(); }
  log::Logger* logger() { return logger_.get(); }

  // For calls to `peer` at IP:PORT.
  rpc::ChannelOptions Channel(const identity::Identity& peer, absl::string_view address) const;

  // The gate of the server; `authorizer` outlives the daemon.
  rpc::Gate* MakeGate(const rpc::Authorizer* authorizer);
  // Serves and prints READY {"name":…,"address":…,"pid":…} as one line.
  absl::Status Serve(std::vector<rpc::ServiceEntry> services);
  rpc::Server* server() { return server_.get(); }

  // Returns when SIGTERM or SIGINT has come, which must be blocked in all threads (Create does).
  void WaitForSignal();
  // Refuses new calls, lets those under way end within `grace` of wall time.
  void Drain(absl::Duration grace);
  // Runs a task of the domain's end on a strand and waits until it calls back.
  void RunToEnd(executor::Strand* strand,
                std::function<void(absl::AnyInvocable<void()> done)> task);
  // Ends timers and runs what is queued. The strands' objects may go afterwards.
  void StopWork();

 private:
  explicit Daemon(DaemonOptions options) : options_(std::move(options)) {}

  const DaemonOptions options_;
  identity::CertificateInfo certificate_;
  identity::Credentials credentials_;
  std::unique_ptr<clock::SystemClock> system_clock_;
  std::unique_ptr<clock::page::PageClock> page_clock_;
  clock::Clock* clock_ = nullptr;
  std::unique_ptr<rpc::PageLinks> links_;
  std::unique_ptr<random::Random> random_;
  std::unique_ptr<log::Logger> logger_;
  std::unique_ptr<executor::RealExecutor> executor_;
  std::unique_ptr<rpc::Gate> gate_;
  std::unique_ptr<rpc::Server> server_;
};

// Threads and anonymous memory of this process, from /proc/self.
struct ProcessFigures {
  int threads = 0;
  int64_t anonymous_bytes = 0;
};
ProcessFigures ReadProcessFigures();

}  // namespace keysphere::daemon

#endif  // KEYSPHERE_COMMON_DAEMON_DAEMON_H_
