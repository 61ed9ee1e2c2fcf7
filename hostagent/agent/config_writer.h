#ifndef KEYSPHERE_HOSTAGENT_AGENT_CONFIG_WRITER_H_
#define KEYSPHERE_HOSTAGENT_AGENT_CONFIG_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"
#include "hostagent/agent/lifetime.h"
#include "hostagent/config/host_config.pb.h"
#include "hostagent/config/host_config_store.h"

namespace keysphere::hostagent::agent {

// Changes of the host's configuration, in the order of Submit. A change is decided on the host's
// strand against what is durable and what is decided before it, written on a strand of its own, and
// takes effect in memory (its `committed`) only when it is durable. Changes that come while a write
// is under way share the next one. What Submit changes is written as a whole; what Edit changes is
// appended, and costs what the change costs.
//
// All methods on the host's strand, but SealSecret and OpenSecret.
class ConfigWriter {
 public:
  // Changes the configuration. True: changed. False: all is as wanted already. An error refuses
  // this change alone, which then must not have touched the configuration.
  using Change = absl::AnyInvocable<absl::StatusOr<bool>(config::HostConfig*)>;
  // The same for a change of the fields that a ConfigChange has; empty: all is as wanted already.
  using Editing =
      absl::AnyInvocable<absl::StatusOr<config::ConfigChange>(const config::HostConfig&)>;
  // Runs on the host's strand: OK when durable (or nothing was to change).
  using Committed = absl::AnyInvocable<void(absl::Status)>;

  // `strand` is the host's.
  ConfigWriter(HostStrand* strand, executor::Executor* executor, const Lifetime& lifetime,
               std::unique_ptr<config::HostConfigStore> store);

  void Submit(Change change, Committed committed);
  void Edit(Editing editing, Committed committed);

  // Whether nothing is decided that is not durable yet: what changes nothing in config() may then
  // do without Submit.
  bool idle() const { return !busy_; }

  // What is durable.
  const config::HostConfig& config() const { return config_; }
  config::Mode mode() const { return mode_; }
  // Writes of the file and of its journal since the boot.
  int64_t writes() const { return writes_; }

  // As HostConfigStore's; thread safe.
  absl::StatusOr<std::string> SealSecret(absl::string_view name,
                                         const crypto::SecretKey& secret) const {
    return store_->SealSecret(name, secret);
  }
  absl::StatusOr<crypto::SecretKey> OpenSecret(absl::string_view name,
                                               absl::string_view sealed) const {
    return store_->OpenSecret(name, sealed);
  }

 private:
  struct Submission {
    Change change;  // this one
    Editing edit;   // or that
    Committed committed;
    absl::Status decided;
  };
  // What a batch comes to.
  struct Decisions {
    bool whole = false;  // more has changed than `edits` say
    config::JournalRecord edits;
  };

  void Enqueue(Submission submission);
  void StartBatch();
  absl::Status Decide(Submission* submission, Decisions* decisions);
  void WriteAll();
  void Append(config::JournalRecord edits);
  void EndBatch(const absl::Status& written);

  HostStrand* const strand_;
  HostStrand file_strand_;
  const std::unique_ptr<config::HostConfigStore> store_;
  config::HostConfig config_;
  // With what is decided and not durable yet; else the same.
  config::HostConfig next_;
  const config::Mode mode_;
  int64_t writes_ = 0;
  bool busy_ = false;
  std::vector<Submission> waiting_;
  std::vector<Submission> batch_;
};

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_CONFIG_WRITER_H_
