#ifndef KEYSPHERE_SERVICES_KMS_KMS_H_
#define KEYSPHERE_SERVICES_KMS_KMS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/clock/clock.h"
#include "common/clock/system_clock.h"
#include "common/executor/real_executor.h"
#include "common/files/file_system.h"
#include "common/log/log.h"
#include "common/random/random.h"
#include "common/store/sqlite_store.h"
#include "kmip/net/host_port.h"
#include "kmip/net/loop.h"
#include "kmip/server/engine.h"
#include "kmip/server/listener.h"
#include "kmip/server/scripted_faults.h"

namespace keysphere::kms {

// One node of a KMIP key server. Nodes with one data folder are one key server.
class Kms {
 public:
  struct Options {
    std::string ip;
    int port = kmip::net::kKmipPort;
    std::string certificate_file;
    std::string key_file;
    std::string ca_file;     // whom clients' certificates come from
    std::string users_file;  // lines "NAME PASSWORD", mode 0600; empty: no users
    std::string data_dir;
    bool simulation = false;  // faults may be set
  };
  // Makes the data folder if it is not there and serves. `clock` and `logger` outlive it.
  static absl::StatusOr<std::unique_ptr<Kms>> Create(Options options, clock::Clock* clock,
                                                     log::Logger* logger);

  int port() const { return listener_->port(); }
  kmip::server::Listener* listener() { return listener_.get(); }
  // Null without simulation.
  kmip::server::ScriptedFaults* faults() { return faults_.get(); }
  executor::Executor* executor() { return &executor_; }
  // Presents the certificate of these files from now on; empty: those that it was started with.
  absl::Status SetCertificate(const std::string& certificate_file, const std::string& key_file);
  // Of all partitions, in whatever state. Reads the store.
  absl::StatusOr<int64_t> CountObjects();

 private:
  Kms(Options options, clock::Clock* clock) : options_(std::move(options)), executor_(clock) {}

  const Options options_;

  // In the order in which they need each other: the last one goes first, and the engine waits for
  // what is under way.
  const files::FileSystem files_;
  clock::SystemClock wall_;
  random::SystemRandom random_;
  executor::RealExecutor executor_;
  std::unique_ptr<kmip::server::ScriptedFaults> faults_;
  std::unique_ptr<kmip::net::Loop> loop_;
  std::unique_ptr<store::SqliteStore> store_;
  std::unique_ptr<kmip::server::Engine> engine_;
  std::unique_ptr<kmip::server::Listener> listener_;
};

}  // namespace keysphere::kms

#endif  // KEYSPHERE_SERVICES_KMS_KMS_H_
