#include "services/simulator/topology.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "common/files/names.h"
#include "common/status/status.h"

namespace keysphere::simulator {
namespace {

constexpr size_t kMaxVersionNumbers = 4;
constexpr size_t kMaxVersionDigits = 9;

struct Spread {
  std::string controller;
  int hosts = 0;
};

absl::Status CheckRange(absl::string_view field, int value, int least, int most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return status::Error(v1::REASON_INVALID_ARGUMENT,
                       absl::StrCat(field, ": ", least, " to ", most, ", not ", value));
}

absl::StatusOr<std::vector<Spread>> ParseSpread(absl::string_view text) {
  std::vector<Spread> spreads;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::vector<absl::string_view> words = absl::StrSplit(part, absl::MaxSplits('=', 1));
    Spread spread;
    if (words.size() != 2 || !absl::SimpleAtoi(words[1], &spread.hosts)) {
      return status::Error(v1::REASON_INVALID_ARGUMENT,
                           absl::StrCat("topology: CONTROLLER=HOSTS, not ", status::Quote(part)));
    }
    spread.controller = std::string(words[0]);
    KS_RETURN_IF_ERROR(files::ValidateName(spread.controller));
    KS_RETURN_IF_ERROR(CheckRange("topology", spread.hosts, 0, kMaxHosts));
    for (const Spread& other : spreads) {
      if (other.controller != spread.controller) continue;
      return status::Error(v1::REASON_INVALID_ARGUMENT,
                           absl::StrCat("topology: ", status::Quote(words[0]), " twice"));
    }
    spreads.push_back(std::move(spread));
  }
  return spreads;
}

absl::StatusOr<std::vector<Spread>> SpreadOf(const TopologyRequest& request) {
  if (!request.spread.empty()) return ParseSpread(request.spread);
  KS_RETURN_IF_ERROR(CheckRange("controllers", request.controllers, 1, kMaxControllers));
  KS_RETURN_IF_ERROR(CheckRange("hosts", request.hosts, 0, kMaxHosts));
  std::vector<Spread> spreads;
  for (int i = 0; i < request.controllers; ++i) {
    spreads.push_back(Spread{ControllerName(i), i == 0 ? request.hosts : 0});
  }
  return spreads;
}

}  // namespace

std::string ControllerName(int index) {
  std::string letters;
  for (int rest = index; rest >= 0; rest = rest / 26 - 1) {
    letters.insert(letters.begin(), static_cast<char>('a' + rest % 26));
  }
  return absl::StrCat("vcenter-", letters);
}

std::string HostName(int index) { return absl::StrCat("esx-", index + 1); }

std::string KmsName(int index) { return absl::StrCat("kms-", index + 1); }

absl::Status CheckVersion(absl::string_view version) {
  const std::vector<absl::string_view> numbers = absl::StrSplit(version, '.');
  bool good = numbers.size() <= kMaxVersionNumbers;
  for (const absl::string_view number : numbers) {
    good = good && !number.empty() && number.size() <= kMaxVersionDigits &&
           number.find_first_not_of("0123456789") == absl::string_view::npos;
  }
  if (good) return absl::OkStatus();
  return status::Error(v1::REASON_INVALID_ARGUMENT,
                       absl::StrCat("host-version: as 8.0.3, not ", status::Quote(version)));
}

absl::StatusOr<Topology> MakeTopology(const TopologyRequest& request) {
  absl::Duration wait;
  if (!request.boot_key_wait.empty() &&
      (!absl::ParseDuration(request.boot_key_wait, &wait) || wait < absl::ZeroDuration() ||
       wait == absl::InfiniteDuration())) {
    return status::Error(
        v1::REASON_INVALID_ARGUMENT,
        absl::StrCat("boot-key-wait: a time as 90s, not ", status::Quote(request.boot_key_wait)));
  }
  KS_RETURN_IF_ERROR(CheckVersion(request.host_version));
  KS_ASSIGN_OR_RETURN(const std::vector<Spread> spreads, SpreadOf(request));
  KS_RETURN_IF_ERROR(CheckRange("controllers", spreads.size(), 1, kMaxControllers));
  Topology topology;
  for (const Spread& spread : spreads) {
    topology.controllers.push_back(spread.controller);
    for (int i = 0; i < spread.hosts; ++i) {
      HostPlan host;
      host.name = HostName(topology.hosts.size());
      host.controller = spread.controller;
      host.tpm = static_cast<int>(topology.hosts.size()) < request.tpm;
      host.version = request.host_version;
      host.boot_key_wait = request.boot_key_wait;
      topology.hosts.push_back(std::move(host));
    }
    KS_RETURN_IF_ERROR(CheckRange("hosts", topology.hosts.size(), 0, kMaxHosts));
  }
  KS_RETURN_IF_ERROR(CheckRange("kms", request.kms, 0, kMaxKmsNodes));
  for (int i = 0; i < request.kms; ++i) topology.kms.push_back(KmsName(i));
  const auto check = [&](const std::string& name, absl::string_view what) -> absl::Status {
    const auto& names = topology.controllers;
    if (std::find(names.begin(), names.end(), name) == names.end()) return absl::OkStatus();
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat("topology: ", name, " is the name of a ", what));
  };
  for (const HostPlan& host : topology.hosts) KS_RETURN_IF_ERROR(check(host.name, "host"));
  for (const std::string& node : topology.kms) KS_RETURN_IF_ERROR(check(node, "KMS node"));
  KS_RETURN_IF_ERROR(CheckRange("tpm", request.tpm, 0, topology.hosts.size()));
  return topology;
}

}  // namespace keysphere::simulator
