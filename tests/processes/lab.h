#ifndef KEYSPHERE_TESTS_PROCESSES_LAB_H_
#define KEYSPHERE_TESTS_PROCESSES_LAB_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock/clock.h"
#include "common/identity/authority.h"
#include "tests/processes/caller.h"
#include "tests/processes/child.h"

namespace keysphere::processes {

inline constexpr char kTrustDomain[] = "lab.example";

// The machine's time; lives as long as the program, since gRPC may use it after a test.
clock::Clock* RealClock();

// A random folder under the test's temporary folder.
std::string MakeFolder(const std::string& name);

// Calls `condition` until it holds, for a minute at most; without a pause between, so `condition`
// should be a call to a process. False: it never held.
bool Eventually(const std::function<bool()>& condition);

class Lab;

// One daemon of a lab: its certificate, its folders, and the same flags and address at every start.
class Daemon {
 public:
  virtual ~Daemon() = default;
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  const identity::Identity& identity() const { return identity_; }
  const std::string& name() const { return identity_.name; }
  // IP:PORT; known after the first start.
  const std::string& address() const { return address_; }
  // Its folder: state, logs, certificate.
  const std::string& folder() const { return folder_; }
  std::string state_dir() const { return folder_ + "/state"; }
  std::string log_file() const { return folder_ + "/log"; }
  std::string stderr_file() const { return folder_ + "/stderr"; }

  // Starts it, or fails as the process does.
  absl::Status Start();
  Child& child() { return *child_; }
  bool Running() { return child_ != nullptr && child_->Running(); }
  void Kill() { child_.reset(); }
  // An orderly stop; its exit code.
  int Terminate();
  // Flags beyond those that the lab knows, for the next start.
  std::vector<std::string> extra_flags;

  // A connection as this identity, kept for the lab's life; `authority` as dialled.
  Caller As(identity::Kind kind, const std::string& name, const std::string& authority = "");
  // With a certificate of the caller's choice, anew at each call.
  absl::StatusOr<Caller> With(identity::Credentials credentials, const std::string& authority = "");

 protected:
  Daemon(Lab* lab, identity::Kind kind, const std::string& name);
  virtual Command Program() const = 0;
  Lab* const lab_;

 private:
  rpc::ChannelOptions Options(const std::string& authority) const;

  const identity::Identity identity_;
  const std::string folder_;
  const std::string ip_;
  std::string address_;
  std::unique_ptr<Child> child_;
  std::map<std::string, Caller> callers_;
};

// What an ESXi host is started with.
struct HostSettings {
  std::string name = "esx-1";
  std::string tpm = "2.0";  // or "none"
  std::string datastore;    // folder of "ds1"; empty: the lab's shared one
  std::string version = "8.0.3";
};

// A host agent. The users "root" and "operator" have the host role; all controllers may attach it.
class HostProcess : public Daemon {
 public:
  HostProcess(Lab* lab, HostSettings settings);

  const std::string& datastore() const { return settings_.datastore; }
  std::string tpm_dir() const { return folder() + "/tpm"; }
  HostSettings& settings() { return settings_; }
  // Orderly stop and start; an error if the stop was not clean.
  absl::Status Reboot();

 private:
  Command Program() const override;
  HostSettings settings_;
};

// A vCenter, whose Administrator is "admin".
class ControllerProcess : public Daemon {
 public:
  ControllerProcess(Lab* lab, const std::string& name) : ControllerProcess(lab, name, "8.0.3") {}
  ControllerProcess(Lab* lab, const std::string& name, const std::string& version);

  // "NAME.keysphere.test": what a client dials to export (S3).
  std::string fqdn() const { return name() + ".keysphere.test"; }
  // "admin", who dialled the fully qualified domain name.
  Caller Admin() { return As(identity::Kind::kUser, "admin", fqdn()); }

 private:
  Command Program() const override;
  const std::string version_;
};

// A certificate authority, loopback addresses of its own, and daemons that are started directly and
// run on the machine's time. Everything goes when it goes.
class Lab {
 public:
  Lab();
  ~Lab();
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;

  const std::string& root() const { return root_; }
  const identity::Authority& authority() const { return *authority_; }
  // The datastore that all hosts mount as "ds1" unless told otherwise.
  std::string datastore() const { return root_ + "/ds1"; }
  // A certificate of the lab's authority.
  identity::Credentials Issue(identity::Kind kind, const std::string& name) const;

  // Not started yet. They live as long as the lab.
  HostProcess& AddHost(HostSettings settings);
  ControllerProcess& AddController(const std::string& name);
  const std::vector<std::unique_ptr<Daemon>>& daemons() const { return daemons_; }

 private:
  friend class Daemon;
  // 127.X.Y.n, with X and Y of this process.
  std::string NextAddress();

  const std::string root_;
  const std::unique_ptr<identity::Authority> authority_;
  std::vector<std::unique_ptr<Daemon>> daemons_;
};

}  // namespace keysphere::processes

#endif  // KEYSPHERE_TESTS_PROCESSES_LAB_H_
