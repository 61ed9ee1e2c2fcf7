#include "tests/processes/lab.h"

#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/clock/system_clock.h"
#include "common/identity/credentials.h"
#include "common/status/status.h"
#include "gtest/gtest.h"

namespace keysphere::processes {
namespace {

std::unique_ptr<identity::Authority> NewAuthority() {
  auto authority =
      identity::Authority::Create(kTrustDomain, identity::Validity::From(RealClock()->Now()));
  KS_CHECK(authority.ok());
  return *std::move(authority);
}

identity::Identity Named(identity::Kind kind, const std::string& name) {
  return {kTrustDomain, kind, name};
}

}  // namespace

clock::Clock* RealClock() {
  static clock::Clock* const clock = new clock::SystemClock();
  return clock;
}

std::string MakeFolder(const std::string& name) {
  std::string path = absl::StrCat(::testing::TempDir(), "/", name, "-XXXXXX");
  KS_CHECK(mkdtemp(&path[0]) != nullptr);
  return path;
}

bool Eventually(const std::function<bool()>& condition) {
  const absl::Time end = RealClock()->Now() + absl::Minutes(1);
  while (RealClock()->Now() < end) {
    if (condition()) return true;
  }
  return false;
}

Daemon::Daemon(Lab* lab, identity::Kind kind, const std::string& name)
    : lab_(lab),
      identity_(Named(kind, name)),
      folder_(absl::StrCat(lab->root(), "/", identity::KindName(kind), "-", name)),
      ip_(lab->NextAddress()) {
  std::filesystem::create_directories(folder_);
  identity::Authority::Request request;
  request.kind = kind;
  request.name = name;
  request.validity = identity::Validity::From(RealClock()->Now());
  request.ip_addresses = {ip_};
  const auto credentials = lab->authority().Issue(request);
  KS_CHECK(credentials.ok());
  KS_CHECK(credentials->Write(identity::CredentialFiles::In(folder_, "own")).ok());
}

absl::Status Daemon::Start() {
  child_.reset();
  Command command = Program();
  const identity::CredentialFiles files = identity::CredentialFiles::In(folder_, "own");
  const std::vector<std::string> common = {"--name",      name(),
                                           "--listen",    address_.empty() ? ip_ + ":0" : address_,
                                           "--cert",      files.certificate,
                                           "--key",       files.key,
                                           "--ca",        files.ca,
                                           "--state-dir", state_dir(),
                                           "--log-file",  log_file()};
  command.args.insert(command.args.end(), common.begin(), common.end());
  command.args.insert(command.args.end(), extra_flags.begin(), extra_flags.end());
  command.stderr_file = stderr_file();
  KS_ASSIGN_OR_RETURN(child_, Child::Start(command));
  address_ = child_->address();
  return absl::OkStatus();
}

int Daemon::Terminate() {
  const int code = child_->Terminate();
  child_.reset();
  return code;
}

rpc::ChannelOptions Daemon::Options(const std::string& authority) const {
  rpc::ChannelOptions options;
  options.target = "ipv4:" + address_;
  options.peer = identity_;
  options.clock = RealClock();
  options.authority = authority;
  return options;
}

Caller Daemon::As(identity::Kind kind, const std::string& name, const std::string& authority) {
  const std::string key = absl::StrCat(Named(kind, name).ToUri(), " ", authority);
  const auto known = callers_.find(key);
  if (known != callers_.end()) return known->second;
  auto caller = With(lab_->Issue(kind, name), authority);
  KS_CHECK(caller.ok());
  return callers_.emplace(key, *std::move(caller)).first->second;
}

absl::StatusOr<Caller> Daemon::With(identity::Credentials credentials,
                                    const std::string& authority) {
  rpc::ChannelOptions options = Options(authority);
  options.credentials = std::move(credentials);
  KS_ASSIGN_OR_RETURN(std::shared_ptr<rpc::Channel> channel,
                      rpc::Channel::Create(std::move(options)));
  return Caller(std::move(channel));
}

HostProcess::HostProcess(Lab* lab, HostSettings settings)
    : Daemon(lab, identity::Kind::kHost, settings.name), settings_(std::move(settings)) {
  if (settings_.datastore.empty()) settings_.datastore = lab->datastore();
  std::filesystem::create_directories(settings_.datastore);
  std::filesystem::create_directories(tpm_dir());
}

Command HostProcess::Program() const {
  Command command;
  command.program = "hostagent/keysphere-hostagent";
  command.args = {"--tpm",         settings_.tpm,           "--tpm-dir",
                  tpm_dir(),       "--datastore",           "ds1=" + settings_.datastore,
                  "--version",     settings_.version,       "--administrators",
                  "root,operator", "--allowed-controllers", "*"};
  return command;
}

absl::Status HostProcess::Reboot() {
  if (const int code = Terminate(); code != 0) {
    return absl::InternalError(absl::StrCat(name(), " ended with ", code));
  }
  return Start();
}

ControllerProcess::ControllerProcess(Lab* lab, const std::string& name, const std::string& version)
    : Daemon(lab, identity::Kind::kController, name), version_(version) {}

Command ControllerProcess::Program() const {
  Command command;
  command.program = "controller/keysphere-controller";
  command.args = {"--administrators", "admin", "--version", version_};
  return command;
}

Lab::Lab() : root_(MakeFolder("lab")), authority_(NewAuthority()) {
  std::filesystem::create_directories(datastore());
}

Lab::~Lab() {
  // Controllers before the hosts that they call.
  while (!daemons_.empty()) daemons_.pop_back();
  std::error_code ignored;
  std::filesystem::remove_all(root_, ignored);
}

identity::Credentials Lab::Issue(identity::Kind kind, const std::string& name) const {
  identity::Authority::Request request;
  request.kind = kind;
  request.name = name;
  request.validity = identity::Validity::From(RealClock()->Now());
  auto credentials = authority_->Issue(request);
  KS_CHECK(credentials.ok());
  return *std::move(credentials);
}

HostProcess& Lab::AddHost(HostSettings settings) {
  auto host = std::make_unique<HostProcess>(this, std::move(settings));
  HostProcess& added = *host;
  daemons_.push_back(std::move(host));
  return added;
}

ControllerProcess& Lab::AddController(const std::string& name) {
  auto controller = std::make_unique<ControllerProcess>(this, name);
  ControllerProcess& added = *controller;
  daemons_.push_back(std::move(controller));
  return added;
}

std::string Lab::NextAddress() {
  // Labs that run at one time are in processes of their own; a lab after another takes the next
  // numbers, so that nothing meant for the former reaches it.
  static std::atomic<int> labs_addresses{0};
  const int number = labs_addresses.fetch_add(1);
  const int pid = getpid();
  return absl::StrCat("127.", 64 + ((pid >> 8) & 127), ".", pid & 255, ".", 1 + number % 250);
}

}  // namespace keysphere::processes
