// The services Clusters, Hosts and VirtualMachines over the domain: a line a method.
#include <memory>
#include <utility>

#include "controller/api/serve.h"
#include "controller/api/services.h"
#include "keysphere/v1/inventory.grpc.pb.h"

namespace keysphere::controller::api {
namespace {

class ClustersApi final : public v1::Clusters::CallbackService {
 public:
  ClustersApi(rpc::Gate* gate, vcenter::VCenter* vcenter) : gate_(gate), vcenter_(vcenter) {}

  grpc::ServerUnaryReactor* CreateCluster(grpc::CallbackServerContext* context,
                                          const v1::CreateClusterRequest* request,
                                          v1::Cluster* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Clusters), context, request, response,
                 &vcenter_->inventory(), &inventory::Inventory::CreateCluster);
  }
  grpc::ServerUnaryReactor* GetCluster(grpc::CallbackServerContext* context,
                                       const v1::GetClusterRequest* request,
                                       v1::Cluster* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Clusters), context, request, response,
                 &vcenter_->inventory(), &inventory::Inventory::GetCluster);
  }
  grpc::ServerUnaryReactor* ListClusters(grpc::CallbackServerContext* context,
                                         const v1::ListClustersRequest* request,
                                         v1::ListClustersResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Clusters), context, request, response,
                 &vcenter_->inventory(), &inventory::Inventory::ListClusters);
  }
  grpc::ServerUnaryReactor* DeleteCluster(grpc::CallbackServerContext* context,
                                          const v1::DeleteClusterRequest* request,
                                          v1::DeleteClusterResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Clusters), context, request, response,
                 &vcenter_->inventory(), &inventory::Inventory::DeleteCluster);
  }

 private:
  rpc::Gate* const gate_;
  vcenter::VCenter* const vcenter_;
};

class HostsApi final : public v1::Hosts::CallbackService {
 public:
  HostsApi(rpc::Gate* gate, vcenter::VCenter* vcenter) : gate_(gate), vcenter_(vcenter) {}

  grpc::ServerUnaryReactor* AddHost(grpc::CallbackServerContext* context,
                                    const v1::AddHostRequest* request,
                                    v1::Host* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Hosts), context, request, response,
                 &vcenter_->hosts(), &hosts::Hosts::AddHost);
  }
  grpc::ServerUnaryReactor* RemoveHost(grpc::CallbackServerContext* context,
                                       const v1::RemoveHostRequest* request,
                                       v1::RemoveHostResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Hosts), context, request, response,
                 &vcenter_->hosts(), &hosts::Hosts::RemoveHost);
  }
  grpc::ServerUnaryReactor* MoveHost(grpc::CallbackServerContext* context,
                                     const v1::MoveHostRequest* request,
                                     v1::Host* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Hosts), context, request, response,
                 &vcenter_->hosts(), &hosts::Hosts::MoveHost);
  }
  grpc::ServerUnaryReactor* GetHost(grpc::CallbackServerContext* context,
                                    const v1::GetHostRequest* request,
                                    v1::Host* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Hosts), context, request, response,
                 &vcenter_->hosts(), &hosts::Hosts::GetHost);
  }
  grpc::ServerUnaryReactor* ListHosts(grpc::CallbackServerContext* context,
                                      const v1::ListHostsRequest* request,
                                      v1::ListHostsResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Hosts), context, request, response,
                 &vcenter_->hosts(), &hosts::Hosts::ListHosts);
  }
  grpc::ServerUnaryReactor* PrepareCrypto(grpc::CallbackServerContext* context,
                                          const v1::PrepareCryptoRequest* request,
                                          v1::Host* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Hosts), context, request, response,
                 &vcenter_->host_encryption(), &encryption::HostEncryption::PrepareCrypto);
  }
  grpc::ServerUnaryReactor* EnableCrypto(grpc::CallbackServerContext* context,
                                         const v1::EnableCryptoRequest* request,
                                         v1::Host* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Hosts), context, request, response,
                 &vcenter_->host_encryption(), &encryption::HostEncryption::EnableCrypto);
  }
  grpc::ServerUnaryReactor* DisableCrypto(grpc::CallbackServerContext* context,
                                          const v1::DisableCryptoRequest* request,
                                          v1::Host* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Hosts), context, request, response,
                 &vcenter_->host_encryption(), &encryption::HostEncryption::DisableCrypto);
  }
  grpc::ServerUnaryReactor* ChangeKey(grpc::CallbackServerContext* context,
                                      const v1::ChangeKeyRequest* request,
                                      v1::Host* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Hosts), context, request, response,
                 &vcenter_->host_encryption(), &encryption::HostEncryption::ChangeKey);
  }
  grpc::ServerUnaryReactor* AddKey(grpc::CallbackServerContext* context,
                                   const v1::AddKeyRequest* request, v1::Host* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Hosts), context, request, response,
                 &vcenter_->host_encryption(), &encryption::HostEncryption::AddKey);
  }
  grpc::ServerUnaryReactor* ConfigureCryptoKey(grpc::CallbackServerContext* context,
                                               const v1::ConfigureCryptoKeyRequest* request,
                                               v1::ConfigureCryptoKeyResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Hosts), context, request, response,
                 &vcenter_->host_encryption(), &encryption::HostEncryption::ConfigureCryptoKey);
  }
  grpc::ServerUnaryReactor* SetKeyPersistence(grpc::CallbackServerContext* context,
                                              const v1::SetKeyPersistenceRequest* request,
                                              v1::Host* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Hosts), context, request, response,
                 &vcenter_->host_encryption(), &encryption::HostEncryption::SetKeyPersistence);
  }
  grpc::ServerUnaryReactor* WriteCoreDump(grpc::CallbackServerContext* context,
                                          const v1::WriteCoreDumpRequest* request,
                                          v1::WriteCoreDumpResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Hosts), context, request, response,
                 &vcenter_->host_encryption(), &encryption::HostEncryption::WriteCoreDump);
  }
  grpc::ServerUnaryReactor* ReadCoreDump(grpc::CallbackServerContext* context,
                                         const v1::ReadCoreDumpRequest* request,
                                         v1::ReadCoreDumpResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::Hosts), context, request, response,
                 &vcenter_->host_encryption(), &encryption::HostEncryption::ReadCoreDump);
  }

 private:
  rpc::Gate* const gate_;
  vcenter::VCenter* const vcenter_;
};

class VirtualMachinesApi final : public v1::VirtualMachines::CallbackService {
 public:
  VirtualMachinesApi(rpc::Gate* gate, vcenter::VCenter* vcenter) : gate_(gate), vcenter_(vcenter) {}

  grpc::ServerUnaryReactor* CreateVm(grpc::CallbackServerContext* context,
                                     const v1::CreateVmRequest* request,
                                     v1::Task* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::VirtualMachines), context, request, response,
                 &vcenter_->vm_encryption(), &encryption::VmEncryption::CreateVm);
  }
  grpc::ServerUnaryReactor* RegisterVm(grpc::CallbackServerContext* context,
                                       const v1::RegisterVmRequest* request,
                                       v1::Vm* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::VirtualMachines), context, request, response,
                 &vcenter_->vms(), &vms::Vms::RegisterVm);
  }
  grpc::ServerUnaryReactor* UnregisterVm(grpc::CallbackServerContext* context,
                                         const v1::UnregisterVmRequest* request,
                                         v1::UnregisterVmResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::VirtualMachines), context, request, response,
                 &vcenter_->vms(), &vms::Vms::UnregisterVm);
  }
  grpc::ServerUnaryReactor* ReloadVm(grpc::CallbackServerContext* context,
                                     const v1::ReloadVmRequest* request,
                                     v1::Vm* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::VirtualMachines), context, request, response,
                 &vcenter_->vms(), &vms::Vms::ReloadVm);
  }
  grpc::ServerUnaryReactor* GetVm(grpc::CallbackServerContext* context,
                                  const v1::GetVmRequest* request, v1::Vm* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::VirtualMachines), context, request, response,
                 &vcenter_->vms(), &vms::Vms::GetVm);
  }
  grpc::ServerUnaryReactor* ListVms(grpc::CallbackServerContext* context,
                                    const v1::ListVmsRequest* request,
                                    v1::ListVmsResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::VirtualMachines), context, request, response,
                 &vcenter_->vms(), &vms::Vms::ListVms);
  }
  grpc::ServerUnaryReactor* PowerOnVm(grpc::CallbackServerContext* context,
                                      const v1::PowerOnVmRequest* request,
                                      v1::Vm* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::VirtualMachines), context, request, response,
                 &vcenter_->vms(), &vms::Vms::PowerOnVm);
  }
  grpc::ServerUnaryReactor* PowerOffVm(grpc::CallbackServerContext* context,
                                       const v1::PowerOffVmRequest* request,
                                       v1::Vm* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::VirtualMachines), context, request, response,
                 &vcenter_->vms(), &vms::Vms::PowerOffVm);
  }
  grpc::ServerUnaryReactor* ResetVm(grpc::CallbackServerContext* context,
                                    const v1::ResetVmRequest* request, v1::Vm* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::VirtualMachines), context, request, response,
                 &vcenter_->vms(), &vms::Vms::ResetVm);
  }
  grpc::ServerUnaryReactor* EncryptVm(grpc::CallbackServerContext* context,
                                      const v1::EncryptVmRequest* request,
                                      v1::Task* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::VirtualMachines), context, request, response,
                 &vcenter_->vm_encryption(), &encryption::VmEncryption::EncryptVm);
  }
  grpc::ServerUnaryReactor* DecryptVm(grpc::CallbackServerContext* context,
                                      const v1::DecryptVmRequest* request,
                                      v1::Task* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::VirtualMachines), context, request, response,
                 &vcenter_->vm_encryption(), &encryption::VmEncryption::DecryptVm);
  }
  grpc::ServerUnaryReactor* AddVtpm(grpc::CallbackServerContext* context,
                                    const v1::AddVtpmRequest* request,
                                    v1::Task* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::VirtualMachines), context, request, response,
                 &vcenter_->vm_encryption(), &encryption::VmEncryption::AddVtpm);
  }
  grpc::ServerUnaryReactor* RekeyVm(grpc::CallbackServerContext* context,
                                    const v1::RekeyVmRequest* request,
                                    v1::Task* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::VirtualMachines), context, request, response,
                 &vcenter_->vm_encryption(), &encryption::VmEncryption::RekeyVm);
  }
  grpc::ServerUnaryReactor* UnlockVm(grpc::CallbackServerContext* context,
                                     const v1::UnlockVmRequest* request,
                                     v1::Vm* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::VirtualMachines), context, request, response,
                 &vcenter_->vms(), &vms::Vms::UnlockVm);
  }
  grpc::ServerUnaryReactor* ExplainVm(grpc::CallbackServerContext* context,
                                      const v1::ExplainVmRequest* request,
                                      v1::ExplainVmResponse* response) override {
    return Serve(gate_, vcenter_, KS_RPC_METHOD(v1::VirtualMachines), context, request, response,
                 &vcenter_->vms(), &vms::Vms::ExplainVm);
  }

 private:
  rpc::Gate* const gate_;
  vcenter::VCenter* const vcenter_;
};

}  // namespace

Service MakeClustersApi(rpc::Gate* gate, vcenter::VCenter* vcenter) {
  return Service{std::make_unique<ClustersApi>(gate, vcenter), v1::Clusters::service_full_name()};
}

Service MakeHostsApi(rpc::Gate* gate, vcenter::VCenter* vcenter) {
  return Service{std::make_unique<HostsApi>(gate, vcenter), v1::Hosts::service_full_name()};
}

Service MakeVirtualMachinesApi(rpc::Gate* gate, vcenter::VCenter* vcenter) {
  return Service{std::make_unique<VirtualMachinesApi>(gate, vcenter),
                 v1::VirtualMachines::service_full_name()};
}

}  // namespace keysphere::controller::api
