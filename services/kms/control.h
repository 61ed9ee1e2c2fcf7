#ifndef KEYSPHERE_SERVICES_KMS_CONTROL_H_
#define KEYSPHERE_SERVICES_KMS_CONTROL_H_

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "common/rpc/authorizer.h"
#include "common/rpc/call_info.h"
#include "common/status/callback.h"
#include "common/sync/mutex.h"
#include "keysphere/sim/v1/kms_faults.pb.h"
#include "services/kms/kms.h"

namespace keysphere::kms {

// The service keysphere.sim.v1.KmsFaults of one node under simulation. Thread safe.
class Control {
 public:
  template <typename T>
  using Callback = status::Callback<T>;

  // `kms` outlives it and has faults.
  explicit Control(Kms* kms) : kms_(kms) {}

  // INVALID_ARGUMENT, CERT_UNTRUSTED: nothing has changed.
  void SetFault(const rpc::CallInfo& call, const sim::v1::SetFaultRequest& request,
                Callback<sim::v1::SetFaultResponse> done);
  void GetKmsStats(const rpc::CallInfo& call, const sim::v1::GetKmsStatsRequest& request,
                   Callback<sim::v1::KmsStats> done);

 private:
  absl::Status Apply(const sim::v1::SetFaultRequest& request);
  absl::StatusOr<sim::v1::KmsStats> Stats();

  Kms* const kms_;
  sync::Mutex mutex_;
  sim::v1::KmsFault fault_ ABSL_GUARDED_BY(mutex_);
  // Whether it presents another certificate than that of its start.
  bool other_certificate_ ABSL_GUARDED_BY(mutex_) = false;
};

// The user that started the cluster, and its simulator.
std::unique_ptr<rpc::RuleTable> ControlRules();

}  // namespace keysphere::kms

#endif  // KEYSPHERE_SERVICES_KMS_CONTROL_H_
