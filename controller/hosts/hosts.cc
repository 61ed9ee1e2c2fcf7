#include "controller/hosts/hosts.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files/names.h"
#include "common/keyset/keyset.h"
#include "common/status/status.h"
#include "controller/paging/paging.h"

namespace keysphere::controller::hosts {
namespace {

absl::Status NoHost(absl::string_view name) {
  return status::Error(v1::REASON_NOT_FOUND, absl::StrCat("no host ", status::Quote(name)))
      .Object("host", name)
      .NextStep("List the hosts of this vCenter.");
}

absl::Status HostExists(absl::string_view name) {
  return status::Error(v1::REASON_ALREADY_EXISTS,
                       absl::StrCat("host ", status::Quote(name), " is in this vCenter already"))
      .Object("host", name);
}

bool Uses(const v1::Vm& vm, absl::string_view provider) {
  if (vm.key_id().provider_id() == provider) return true;
  for (const v1::VmDisk& disk : vm.disks()) {
    if (disk.key_id().provider_id() == provider) return true;
  }
  return false;
}

}  // namespace

Hosts::~Hosts() { Stop(); }

void Hosts::Start() {
  for (const inventory::HostRecord* record : deps_.inventory->HostRecords()) {
    auto session = std::make_shared<HostSession>(deps_, record->name(), record->address(),
                                                 record->cluster(), /*in_inventory=*/true);
    sessions_.emplace(record->name(), session);
    session->KeepConnected();
  }
}

void Hosts::Stop() {
  for (auto& [name, session] : sessions_) session->Close();
  for (auto& [name, session] : joining_) session->Close();
  sessions_.clear();
  joining_.clear();
}

std::shared_ptr<HostSession> Hosts::Find(absl::string_view host) const {
  const auto it = sessions_.find(host);
  return it == sessions_.end() ? nullptr : it->second;
}

std::vector<std::shared_ptr<HostSession>> Hosts::All() const {
  std::vector<std::shared_ptr<HostSession>> all;
  all.reserve(sessions_.size());
  for (const auto& [name, session] : sessions_) all.push_back(session);
  return all;
}

std::vector<std::shared_ptr<HostSession>> Hosts::InCluster(absl::string_view cluster) const {
  std::vector<std::shared_ptr<HostSession>> members;
  if (cluster.empty()) return members;
  for (const std::string& name : deps_.inventory->HostsOf(cluster)) {
    if (auto session = Find(name)) members.push_back(std::move(session));
  }
  return members;
}

absl::StatusOr<std::shared_ptr<HostSession>> Hosts::Connected(absl::string_view host) const {
  std::shared_ptr<HostSession> session = Find(host);
  if (session == nullptr) return NoHost(host);
  if (!session->connected()) return session->NotResponding();
  return session;
}

absl::StatusOr<Hosts::FoundVm> Hosts::FindVm(absl::string_view vm, absl::string_view host) const {
  FoundVm found;
  const HostSession* untold = nullptr;
  for (const auto& [name, session] : sessions_) {
    if (!host.empty() && name != host) continue;
    const auto it = session->vms().find(std::string(vm));
    if (it == session->vms().end()) {
      if (session->untold()) untold = session.get();
      continue;
    }
    if (found.host != nullptr) {
      return status::Error(v1::REASON_INVALID_ARGUMENT,
                           absl::StrCat("hosts ", status::Quote(found.host->name()), " and ",
                                        status::Quote(name), " both have a VM ", status::Quote(vm)))
          .Object("vm", vm)
          .NextStep("Name the host too.");
    }
    found.host = session;
    found.vm = it->second.vm();
  }
  if (found.host == nullptr && untold != nullptr) return untold->NotToldYet(vm);
  if (found.host == nullptr) {
    return status::Error(v1::REASON_NOT_FOUND, absl::StrCat("no VM ", status::Quote(vm)))
        .Object("vm", vm)
        .NextStep("List the VMs, or register it.");
  }
  return found;
}

void Hosts::AddHost(const access::Caller&, const v1::AddHostRequest& request,
                    status::Callback<v1::Host> done) {
  const std::string& name = request.name();
  if (absl::Status valid = files::ValidateName(name); !valid.ok()) return done(valid);
  if (!request.cluster().empty() && !deps_.inventory->HasCluster(request.cluster())) {
    return done(status::Error(v1::REASON_NOT_FOUND,
                              absl::StrCat("no cluster ", status::Quote(request.cluster())))
                    .Object("cluster", request.cluster())
                    .NextStep("Create the cluster first."));
  }
  const std::shared_ptr<HostSession> former = Find(name);
  if (former == nullptr) return Join(request, std::move(done));
  // Whose it is now may not be known yet: this process may just have started.
  former->LearnOwner(
      [this, request, done = std::move(done)]() mutable { Join(request, std::move(done)); });
}

void Hosts::Join(const v1::AddHostRequest& request, status::Callback<v1::Host> done) {
  const std::string& name = request.name();
  const std::shared_ptr<HostSession> former = Find(name);
  // One that went to another vCenter may come back: what is known of it stays until it is here.
  const bool taken_away =
      former != nullptr && former->connection_state() == v1::CONNECTION_STATE_DISCONNECTED;
  if ((former != nullptr && !taken_away) || joining_.count(name) != 0) {
    return done(HostExists(name));
  }
  auto session = std::make_shared<HostSession>(deps_, name, request.address(), request.cluster(),
                                               /*in_inventory=*/false);
  joining_.emplace(name, session);
  session->Attach(request.force(),
                  [this, request, session, done = std::move(done)](absl::Status status) mutable {
                    if (!status.ok()) {
                      joining_.erase(request.name());
                      session->Close();
                      // The host may have obeyed before its answer was lost.
                      if (const auto known = Find(request.name())) known->AskAgain();
                      return done(status);
                    }
                    Adopt(request, std::move(session), std::move(done));
                  });
}

void Hosts::Adopt(const v1::AddHostRequest& request, std::shared_ptr<HostSession> session,
                  status::Callback<v1::Host> done) {
  inventory::HostRecord record;
  record.set_name(request.name());
  record.set_address(request.address());
  record.set_cluster(request.cluster());
  record.set_last_crypto_state(session->status().crypto_state());
  *record.mutable_last_host_key() = session->status().host_key();
  record.set_last_host_key_check_value(session->status().host_key_check_value());
  auto adopted = [this, name = request.name(), session,
                  done = std::move(done)](absl::Status status) mutable {
    joining_.erase(name);
    if (!status.ok()) {
      return session->Detach(
          [done = std::move(done), status](absl::Status) mutable { done(status); });
    }
    if (const std::shared_ptr<HostSession> former = Find(name)) {
      former->Close();
      const std::map<std::string, host::v1::HostVm> before = former->vms();
      for (const auto& [vm, described] : before) {
        if (session->vms().count(vm) == 0) former->ForgetVm(vm);
      }
    }
    sessions_[name] = session;
    session->Adopted();
    done(session->Describe());
  };
  if (deps_.inventory->FindHost(request.name()) != nullptr) {
    return deps_.inventory->ReplaceHost(record, std::move(adopted));
  }
  deps_.inventory->AddHost(record, std::move(adopted));
}

// Its VMs are no longer this vCenter's: their alarms end.
void Hosts::Forget(const std::shared_ptr<HostSession>& session) {
  sessions_.erase(session->name());
  const std::map<std::string, host::v1::HostVm> vms = session->vms();
  for (const auto& [vm, described] : vms) session->ForgetVm(vm);
  deps_.observer->OnHostForgotten(session->name());
}

void Hosts::RemoveHost(const access::Caller&, const v1::RemoveHostRequest& request,
                       status::Callback<v1::RemoveHostResponse> done) {
  std::shared_ptr<HostSession> session = Find(request.name());
  if (session == nullptr) return done(NoHost(request.name()));
  deps_.inventory->RemoveHost(
      request.name(), [this, session, done = std::move(done)](absl::Status status) mutable {
        if (!status.ok()) return done(status);
        Forget(session);
        session->Detach(
            [done = std::move(done)](absl::Status) mutable { done(v1::RemoveHostResponse()); });
      });
}

void Hosts::MoveHost(const access::Caller&, const v1::MoveHostRequest& request,
                     status::Callback<v1::Host> done) {
  std::shared_ptr<HostSession> session = Find(request.name());
  if (session == nullptr) return done(NoHost(request.name()));
  deps_.inventory->MoveHost(
      request.name(), request.cluster(),
      [session, done = std::move(done)](absl::Status status) mutable {
        if (!status.ok()) return done(status);
        if (!session->connected()) return done(session->Describe());
        // What it may hold in its new cluster travels at once; what it may not, goes at a tick.
        session->Sync(HostSession::SyncKind::kAdd,
                      [session, done = std::move(done)](absl::StatusOr<SyncResult>) mutable {
                        session->WantStandard();
                        done(session->Describe());
                      });
      });
}

void Hosts::GetHost(const access::Caller&, const v1::GetHostRequest& request,
                    status::Callback<v1::Host> done) {
  const std::shared_ptr<HostSession> session = Find(request.name());
  if (session == nullptr) return done(NoHost(request.name()));
  done(session->Describe());
}

void Hosts::ListHosts(const access::Caller&, const v1::ListHostsRequest& request,
                      status::Callback<v1::ListHostsResponse> done) {
  std::map<std::string, std::shared_ptr<HostSession>> chosen;
  for (const auto& [name, session] : sessions_) {
    if (request.cluster().empty() || session->Facts().cluster == request.cluster()) {
      chosen.emplace(name, session);
    }
  }
  const absl::StatusOr<paging::Page> page =
      paging::PageOf(chosen, request.page_size(), request.page_token());
  if (!page.ok()) return done(page.status());
  v1::ListHostsResponse response;
  for (const std::string& name : page->keys) *response.add_hosts() = chosen[name]->Describe();
  response.set_next_page_token(page->next_token);
  done(std::move(response));
}

bool Hosts::ClusterExists(absl::string_view cluster) const {
  return deps_.inventory->HasCluster(cluster);
}

std::vector<std::string> Hosts::HostsLacking(const providers::Provider& provider) const {
  if (provider.type != v1::PROVIDER_TYPE_NATIVE) return {};
  const host::v1::KeyEntry entry = remediation::EntryOf(provider);
  std::vector<std::string> lacking;
  for (const auto& [name, session] : sessions_) {
    if (!session->connected() || !remediation::Entitlement(session->Facts(), provider).ok()) {
      continue;
    }
    bool has = false;
    for (const host::v1::KeyEntry& held : session->keys().held()) {
      has = has || keyset::SameKey(held, entry);
    }
    if (!has) lacking.push_back(name);
  }
  return lacking;
}

int Hosts::VmsUsing(absl::string_view provider) const {
  int count = 0;
  for (const auto& [name, session] : sessions_) {
    for (const auto& [vm_name, vm] : session->vms()) count += Uses(vm.vm(), provider) ? 1 : 0;
  }
  return count;
}

void Hosts::OnProviderUsable(const providers::Provider& provider) {
  for (const std::shared_ptr<HostSession>& session : All()) {
    if (session->connected()) {
      session->Sync(HostSession::SyncKind::kAdd, [](absl::StatusOr<SyncResult>) {});
      if (provider.type == v1::PROVIDER_TYPE_STANDARD) {
        session->BringAllStandard([](const absl::Status&) {});
      }
    }
  }
}

void Hosts::OnProviderDeleted(absl::string_view) {}

void Hosts::OnKeyNeeded(const std::string& cluster) {
  for (const auto& [name, session] : sessions_) {
    if (session->Facts().cluster == cluster) session->WantStandard();
  }
}

}  // namespace keysphere::controller::hosts
