#ifndef KEYSPHERE_CONTROLLER_HOSTS_HOSTS_H_
#define KEYSPHERE_CONTROLLER_HOSTS_HOSTS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/status/callback.h"
#include "controller/access/caller.h"
#include "controller/hosts/host_session.h"
#include "controller/providers/providers.h"
#include "keysphere/v1/inventory.pb.h"

namespace keysphere::controller::hosts {

// All hosts of this vCenter and, through them, all VMs. Adding, removing and moving hosts; finding
// a VM. Lives on the controller's strand.
class Hosts : public providers::ProviderUse, public providers::ProviderListener {
 public:
  explicit Hosts(HostSession::Deps deps) : deps_(deps) {}
  ~Hosts() override;

  // A key came into use in the cluster: its hosts are to have it, if it is of a standard provider.
  void OnKeyNeeded(const std::string& cluster);

  // Connects to the hosts of the inventory.
  void Start();
  // Ends all sessions; hosts stay attached.
  void Stop();

  // nullptr: none.
  std::shared_ptr<HostSession> Find(absl::string_view host) const;
  std::vector<std::shared_ptr<HostSession>> All() const;
  std::vector<std::shared_ptr<HostSession>> InCluster(absl::string_view cluster) const;

  // NOT_FOUND; HOST_NOT_RESPONDING for one that is not connected.
  absl::StatusOr<std::shared_ptr<HostSession>> Connected(absl::string_view host) const;
  struct FoundVm {
    std::shared_ptr<HostSession> host;
    v1::Vm vm;
  };
  // By name; with `host` only there. INVALID_ARGUMENT where two hosts have it. NOT_FOUND where none
  // has; HOST_NOT_RESPONDING while one that may have it has not told its VMs since the start.
  absl::StatusOr<FoundVm> FindVm(absl::string_view vm, absl::string_view host) const;

  void AddHost(const access::Caller& caller, const v1::AddHostRequest& request,
               status::Callback<v1::Host> done);
  void RemoveHost(const access::Caller& caller, const v1::RemoveHostRequest& request,
                  status::Callback<v1::RemoveHostResponse> done);
  void MoveHost(const access::Caller& caller, const v1::MoveHostRequest& request,
                status::Callback<v1::Host> done);
  void GetHost(const access::Caller& caller, const v1::GetHostRequest& request,
               status::Callback<v1::Host> done);
  void ListHosts(const access::Caller& caller, const v1::ListHostsRequest& request,
                 status::Callback<v1::ListHostsResponse> done);

  // providers::ProviderUse
  bool ClusterExists(absl::string_view cluster) const override;
  std::vector<std::string> HostsLacking(const providers::Provider& provider) const override;
  int VmsUsing(absl::string_view provider) const override;

  // providers::ProviderListener: adds travel at once; a deletion waits for the next pass (S71).
  void OnProviderUsable(const providers::Provider& provider) override;
  void OnProviderDeleted(absl::string_view name) override;

 private:
  void Forget(const std::shared_ptr<HostSession>& session);
  // AddHost of one whose owner is known, as far as it can be.
  void Join(const v1::AddHostRequest& request, status::Callback<v1::Host> done);
  void Adopt(const v1::AddHostRequest& request, std::shared_ptr<HostSession> session,
             status::Callback<v1::Host> done);

  const HostSession::Deps deps_;
  std::map<std::string, std::shared_ptr<HostSession>, std::less<>> sessions_;
  std::map<std::string, std::shared_ptr<HostSession>, std::less<>> joining_;  // AddHost under way
};

}  // namespace keysphere::controller::hosts

#endif  // KEYSPHERE_CONTROLLER_HOSTS_HOSTS_H_
