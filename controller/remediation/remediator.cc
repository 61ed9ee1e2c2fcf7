#include "controller/remediation/remediator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::controller::remediation {

using hosts::HostSession;
using HostResult = v1::RemediateResponse::HostResult;

struct Remediator::Pass {
  std::vector<std::shared_ptr<HostSession>> hosts;
  size_t next = 0;
  size_t running = 0;
  bool starting = false;
  v1::RemediateResponse response;
  status::Callback<v1::RemediateResponse> done;
};

namespace {

void Fill(const absl::StatusOr<hosts::SyncResult>& synced, HostResult* result) {
  if (!synced.ok()) {
    const v1::Reason reason = status::ReasonOf(synced.status());
    const bool silent = reason == v1::REASON_HOST_NOT_RESPONDING ||
                        reason == v1::REASON_DEADLINE_EXCEEDED ||
                        absl::IsUnavailable(synced.status());
    result->set_outcome(silent ? HostResult::OUTCOME_NOT_RESPONDING : HostResult::OUTCOME_REFUSED);
    result->set_error(status::ToString(synced.status()));
    return;
  }
  result->set_outcome(synced->changed ? HostResult::OUTCOME_CHANGED
                                      : HostResult::OUTCOME_UNCHANGED);
  for (const std::string& name : synced->added_providers) result->add_added_providers(name);
  for (const std::string& name : synced->response.removed_providers()) {
    result->add_removed_providers(name);
  }
  // A standard provider's keys go one by one where its KMS lacks them (S152).
  for (const host::v1::StandardKeyList& removed : synced->response.removed_standard_keys()) {
    const auto& named = result->removed_providers();
    if (std::find(named.begin(), named.end(), removed.provider()) == named.end()) {
      result->add_removed_providers(removed.provider());
    }
  }
  for (const std::string& vm : synced->response.locked_vms()) result->add_locked_vms(vm);
}

}  // namespace

Remediator::Remediator(Deps deps)
    : deps_(deps),
      periodic_(
          deps.strand, deps.clock,
          [options = deps.options] { return options->RemediationInterval(); },
          [this] { SyncOnce(deps_.hosts->All(), [](absl::StatusOr<v1::RemediateResponse>) {}); }) {
  deps_.options->OnChange(options::kRemediationInterval, [this] { periodic_.Retime(); });
}

void Remediator::SyncOnce(std::vector<std::shared_ptr<HostSession>> hosts,
                          status::Callback<v1::RemediateResponse> done) {
  ++passes_;
  last_pass_ = deps_.clock->Now();
  auto pass = std::make_shared<Pass>();
  pass->hosts = std::move(hosts);
  pass->done = std::move(done);
  for (const std::shared_ptr<HostSession>& host : pass->hosts) {
    pass->response.add_hosts()->set_host(host->name());
  }
  RunMore(pass);
}

void Remediator::RunMore(const std::shared_ptr<Pass>& pass) {
  // A sync that ends inside its own call comes back here: the loop below goes on for it.
  if (pass->starting) return;
  pass->starting = true;
  while (pass->next < pass->hosts.size() && pass->running < kWindow) {
    const size_t index = pass->next++;
    ++pass->running;
    pass->hosts[index]->Sync(HostSession::SyncKind::kTick,
                             [pass, index](absl::StatusOr<hosts::SyncResult> synced) {
                               Fill(synced, pass->response.mutable_hosts(static_cast<int>(index)));
                               --pass->running;
                               RunMore(pass);
                             });
  }
  pass->starting = false;
  if (pass->running == 0 && pass->next == pass->hosts.size() && pass->done) {
    status::Callback<v1::RemediateResponse> done = std::move(pass->done);
    pass->done = nullptr;
    done(std::move(pass->response));
  }
}

void Remediator::Remediate(const access::Caller&, const v1::RemediateRequest& request,
                           status::Callback<v1::RemediateResponse> done) {
  if (request.host().empty()) return SyncOnce(deps_.hosts->All(), std::move(done));
  std::shared_ptr<HostSession> host = deps_.hosts->Find(request.host());
  if (host == nullptr) {
    return done(
        status::Error(v1::REASON_NOT_FOUND, absl::StrCat("no host ", status::Quote(request.host())))
            .Object("host", request.host()));
  }
  SyncOnce({std::move(host)}, std::move(done));
}

}  // namespace keysphere::controller::remediation
