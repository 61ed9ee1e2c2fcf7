#ifndef KEYSPHERE_HOSTAGENT_AGENT_HOST_CONTEXT_H_
#define KEYSPHERE_HOSTAGENT_AGENT_HOST_CONTEXT_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/executor/executor.h"
#include "common/files/file_system.h"
#include "common/log/log.h"
#include "common/random/random.h"
#include "hostagent/agent/access.h"
#include "hostagent/agent/config_writer.h"
#include "hostagent/agent/crypto_mode.h"
#include "hostagent/agent/lifetime.h"
#include "hostagent/agent/watchers.h"
#include "hostagent/dump/process_memory.h"
#include "hostagent/keys/key_cache.h"
#include "hostagent/tpm/tpm.h"
#include "keysphere/host/v1/host_status.pb.h"

namespace keysphere::hostagent::agent {

// How an operation answers: once, on the host's strand; never inside the call that began it.
template <typename T>
using Callback = absl::AnyInvocable<void(absl::StatusOr<T>)>;

// What a host is made of. Pointers outlive the host.
struct HostOptions {
  std::string name;
  std::string version = "8.0.3";  // ESXi's: major.minor.update
  clock::Clock* clock = nullptr;
  executor::Executor* executor = nullptr;
  // Never gives an id twice, not over boots either: what is seeded must live longer than a boot.
  random::Random* random = nullptr;
  tpm::Tpm* tpm = nullptr;
  const files::FileSystem* files = nullptr;
  // What a core dump of the host holds. Null: it has no process of its own, and cannot be dumped.
  const dump::ProcessMemory* memory = nullptr;
  std::string state_dir;
  // Name -> folder. The first by name is used where none is named.
  std::map<std::string, std::string> datastores;
  AccessPolicy access;
  // How long VMs wait for their keys after a boot, where no controller ends it (S149).
  absl::Duration boot_key_wait = absl::Seconds(60);
  log::Logger* logger = nullptr;
  // Fills in what GetHostStats tells of the process: threads, memory, handshakes. May be empty.
  std::function<void(host::v1::HostStats*)> process_figures;
};

// What the parts of one running host share. All of it belongs to the host's strand but `keys`,
// which is thread safe.
struct HostContext {
  explicit HostContext(HostOptions host_options)
      : options(std::move(host_options)), strand(options.executor, lifetime) {}

  const HostOptions options;
  Lifetime lifetime;
  HostStrand strand;
  keys::KeyCache keys;
  Watchers watchers;
  // Null until the configuration is open.
  std::unique_ptr<ConfigWriter> config;

  const config::HostConfig& configuration() const { return config->config(); }
  const std::string& cluster() const { return configuration().attachment().cluster(); }
  v1::CryptoState crypto_state() const { return StateOf(configuration().host_key()); }
  bool safe() const { return crypto_state() == v1::CRYPTO_STATE_SAFE; }

  log::Logger& log() const { return *options.logger; }
};

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_HOST_CONTEXT_H_
