#ifndef KEYSPHERE_CONTROLLER_OPTIONS_OPTIONS_H_
#define KEYSPHERE_CONTROLLER_OPTIONS_OPTIONS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/executor/executor.h"
#include "common/status/callback.h"
#include "common/store/store.h"
#include "controller/access/caller.h"
#include "controller/changes/changes.h"
#include "keysphere/v1/controller.pb.h"

namespace keysphere::controller::options {

// Minutes between passes of the remediation loop: 1-1440, default 5 (S70).
inline constexpr char kRemediationInterval[] = "vpxd.KMS.remediationInterval";
// Seconds that an export token lives: 1-3600, default 300 (S117).
inline constexpr char kExportTokenExpiry[] = "vpxd.KMS.exportTokenExpiry";
// Minutes between reminders of a missing backup: 1-10080, default 1440 (S88).
inline constexpr char kBackupCheckInterval[] = "vpxd.KMS.backupCheckInterval";
// Whether a host whose host key cannot be had gets a new one: true or false, default true (S104).
inline constexpr char kNewHostKeyIfMissing[] = "vpxd.hostkey.newIfMissing";
// Minutes between checks of key servers: 1-1440, default 5 (S92).
inline constexpr char kKmsStatusInterval[] = "vpxd.KMS.status";
// Days before its end that a key server's certificate, or ours for it, is warned of: 1-365, default
// 30 (S94).
inline constexpr char kCertificateThreshold[] = "vpxd.kmscert.threshold";

// vCenter's advanced settings, durable. Lives on the controller's strand.
class Options {
 public:
  static absl::StatusOr<std::unique_ptr<Options>> Load(store::Store* store,
                                                       executor::Strand* strand);

  // `name` is one of the constants above.
  int64_t Integer(absl::string_view name) const;
  bool Boolean(absl::string_view name) const;
  absl::Duration RemediationInterval() const {
    return absl::Minutes(Integer(kRemediationInterval));
  }
  absl::Duration KmsStatusInterval() const { return absl::Minutes(Integer(kKmsStatusInterval)); }
  absl::Duration CertificateThreshold() const {
    return absl::Hours(24) * Integer(kCertificateThreshold);
  }

  // Called after each durable change of the option.
  void OnChange(absl::string_view name, std::function<void()> listener);

  void GetOption(const access::Caller& caller, const v1::GetOptionRequest& request,
                 status::Callback<v1::Option> done);
  void ListOptions(const access::Caller& caller, const v1::ListOptionsRequest& request,
                   status::Callback<v1::ListOptionsResponse> done);
  // INVALID_ARGUMENT outside the range, naming it; nothing changes then.
  void SetOption(const access::Caller& caller, const v1::SetOptionRequest& request,
                 status::Callback<v1::Option> done);

 private:
  Options(store::Store* store, executor::Strand* strand) : changes_(store, strand) {}

  v1::Option Describe(absl::string_view name) const;

  changes::Changes changes_;
  std::map<std::string, std::string, std::less<>> values_;  // those that were set
  std::map<std::string, std::vector<std::function<void()>>, std::less<>> listeners_;
};

}  // namespace keysphere::controller::options

#endif  // KEYSPHERE_CONTROLLER_OPTIONS_OPTIONS_H_
