#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status/status.h"
#include "keysphere/host/v1/host_vms.grpc.pb.h"
#include "keysphere/v1/inventory.grpc.pb.h"
#include "tools/keysphere/commands.h"
#include "tools/keysphere/session.h"
#include "tools/keysphere/task_watch.h"
#include "tools/keysphere/vm_output.h"

namespace keysphere::cli {
namespace {

using Vms = v1::VirtualMachines;
using Stub = Vms::Stub;
using HostVms = host::v1::HostVms;
using HostStub = HostVms::Stub;

template <typename Request, typename Response>
using VmMethod = rpc::internal::UnaryMethod<rpc::Client<Vms>::Async, Request, Response>;
template <typename Request>
using HostVmMethod =
    rpc::internal::UnaryMethod<rpc::Client<HostVms>::Async, Request, host::v1::HostVm>;

// Which VM, and whom to ask about it.
struct VmArgs {
  std::string vm;
  std::string host;
  bool direct = false;

  void AddTo(Command* command, bool may_be_direct) {
    command->Argument(&vm, "VM", "the virtual machine");
    command->Option(&host, "--host", "HOST", "where two hosts have a VM of the name");
    if (may_be_direct) AddDirect(command);
  }
  void AddDirect(Command* command) {
    command->Flag(&direct, "--direct", "ask the host itself, as while its controller is away");
  }
  absl::Status Check() const {
    if (direct && host.empty()) return UsageError("--direct needs --host HOST");
    return absl::OkStatus();
  }
};

absl::Status ShowVm(Session* session, const v1::Vm& vm) {
  return session->Show(vm, [session](const v1::Vm& shown) { PrintVm(shown, session->out()); });
}

// A command that asks the controller, or the host itself, for one thing about one VM.
template <typename Request, typename HostRequest>
void AddVmAction(Command* group, const std::string& name, const std::string& description,
                 VmMethod<Request, v1::Vm> method, HostVmMethod<HostRequest> host_method) {
  auto args = std::make_shared<VmArgs>();
  Command command = group->Sub(name, description, absl::StrCat("vm ", name, " web-1"));
  args->AddTo(&command, true);
  command.Run([args, method, host_method](Session* session) -> absl::Status {
    KS_RETURN_IF_ERROR(args->Check());
    if (args->direct) {
      KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, session->Host(args->host));
      HostRequest request;
      request.set_vm(args->vm);
      KS_ASSIGN_OR_RETURN(const host::v1::HostVm vm,
                          session->AskAt<HostVms>(channel, host_method, std::move(request)));
      return ShowVm(session, vm.vm());
    }
    Request request;
    request.set_vm(args->vm);
    request.set_host(args->host);
    KS_ASSIGN_OR_RETURN(const v1::Vm vm, session->Ask<Vms>(method, std::move(request)));
    return ShowVm(session, vm);
  });
}

// How to encrypt.
struct CryptoArgs {
  std::string provider;
  bool skip_disks = false;

  void AddTo(Command* command) {
    command->Option(&provider, "--provider", "PROVIDER", "default: the effective default");
    command->Flag(&skip_disks, "--skip-disks", "home and NVRAM only");
  }
  void CopyTo(v1::CryptoSpec* spec) const {
    if (!provider.empty()) spec->mutable_key()->set_provider_id(provider);
    spec->set_skip_hard_disks(skip_disks);
  }
};

// Starts a task at the controller and follows it.
template <typename Request>
absl::Status RunTask(Session* session, VmMethod<Request, v1::Task> method, Request request,
                     bool wait) {
  KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, session->Controller());
  KS_ASSIGN_OR_RETURN(const v1::Task task,
                      session->AskAt<Vms>(channel, method, std::move(request)));
  return FollowTask(session, channel, task, wait);
}

void AddNoWait(Command* command, bool* no_wait) {
  command->Flag(no_wait, "--no-wait", "answer with the task, do not follow it");
}

// "10G", or "[ds] images/root.raw": an image to copy in.
absl::Status AddDisk(const std::string& text, v1::NewDisk* disk) {
  if (absl::StartsWith(text, "[")) {
    disk->set_import_path(text);
    return absl::OkStatus();
  }
  KS_ASSIGN_OR_RETURN(const int64_t bytes, ParseBytes(text));
  disk->set_capacity_bytes(bytes);
  return absl::OkStatus();
}

void AddCreate(Command* group) {
  struct Args {
    VmArgs vm;
    std::string datastore;
    std::string guest;
    std::vector<std::string> disks;
    bool vtpm = false;
    bool encrypted = false;
    CryptoArgs crypto;
    bool no_wait = false;
  };
  auto args = std::make_shared<Args>();
  Command command =
      group->Sub("create", "Make a VM", "vm create web-1 --host esx-1 --disk 64M --encrypted");
  command.Argument(&args->vm.vm, "VM", "a name that no VM of the host has");
  command.Required(&args->vm.host, "--host", "HOST", "where");
  args->vm.AddDirect(&command);
  command.Option(&args->datastore, "--datastore", "NAME", "default: the host's first");
  command.Option(&args->disks, "--disk", "SIZE|IMAGE",
                 "a disk of 64M, 2G, …, or a copy of \"[DATASTORE] PATH\"");
  command.Option(&args->guest, "--guest", "ID", "guest operating system, as debian12-64");
  command.Flag(&args->vtpm, "--vtpm", "with a virtual TPM");
  command.Flag(&args->encrypted, "--encrypted", "encrypted from the beginning");
  args->crypto.AddTo(&command);
  AddNoWait(&command, &args->no_wait);
  command.Run([args](Session* session) -> absl::Status {
    const bool encrypted =
        args->encrypted || !args->crypto.provider.empty() || args->crypto.skip_disks;
    if (args->vm.direct) {
      if (encrypted) return UsageError("a host itself encrypts nothing: leave out --direct");
      host::v1::CreateHostVmRequest request;
      request.set_name(args->vm.vm);
      request.set_datastore(args->datastore);
      request.set_vtpm(args->vtpm);
      request.set_guest_os(args->guest);
      for (const std::string& disk : args->disks) {
        KS_RETURN_IF_ERROR(AddDisk(disk, request.add_disks()));
      }
      KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, session->Host(args->vm.host));
      KS_ASSIGN_OR_RETURN(
          const host::v1::HostVm vm,
          session->AskAt<HostVms>(channel, &HostStub::async::CreateHostVm, request));
      return ShowVm(session, vm.vm());
    }
    v1::CreateVmRequest request;
    request.set_host(args->vm.host);
    request.set_name(args->vm.vm);
    request.set_datastore(args->datastore);
    request.set_vtpm(args->vtpm);
    request.set_guest_os(args->guest);
    for (const std::string& disk : args->disks) {
      KS_RETURN_IF_ERROR(AddDisk(disk, request.add_disks()));
    }
    if (encrypted) args->crypto.CopyTo(request.mutable_crypto());
    return RunTask<v1::CreateVmRequest>(session, &Stub::async::CreateVm, std::move(request),
                                        !args->no_wait);
  });
}

void AddRegister(Command* group) {
  struct Args {
    std::string path;
    std::string name;
    VmArgs vm;
  };
  auto args = std::make_shared<Args>();
  Command command = group->Sub("register", "Register the VM of a .vmx on a host",
                               "vm register \"[shared] web-1/web-1.vmx\" --host esx-1");
  command.Argument(&args->path, "PATH", "\"[DATASTORE] FOLDER/NAME.vmx\"");
  command.Required(&args->vm.host, "--host", "HOST", "where");
  command.Option(&args->name, "--name", "NAME", "default: the .vmx's displayName");
  args->vm.AddDirect(&command);
  command.Run([args](Session* session) -> absl::Status {
    if (args->vm.direct) {
      host::v1::RegisterHostVmRequest request;
      request.set_vmx_path(args->path);
      request.set_name(args->name);
      KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, session->Host(args->vm.host));
      KS_ASSIGN_OR_RETURN(
          const host::v1::HostVm vm,
          session->AskAt<HostVms>(channel, &HostStub::async::RegisterHostVm, request));
      return ShowVm(session, vm.vm());
    }
    v1::RegisterVmRequest request;
    request.set_host(args->vm.host);
    request.set_vmx_path(args->path);
    request.set_name(args->name);
    KS_ASSIGN_OR_RETURN(const v1::Vm vm, session->Ask<Vms>(&Stub::async::RegisterVm, request));
    return ShowVm(session, vm);
  });
}

void AddUnregister(Command* group) {
  auto args = std::make_shared<VmArgs>();
  Command command = group->Sub("unregister", "Forget a VM; its files stay", "vm unregister web-1");
  args->AddTo(&command, true);
  command.Run([args](Session* session) -> absl::Status {
    KS_RETURN_IF_ERROR(args->Check());
    const auto print = [&](const auto&) { session->Say("unregistered ", args->vm); };
    if (args->direct) {
      host::v1::UnregisterHostVmRequest request;
      request.set_vm(args->vm);
      KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, session->Host(args->host));
      KS_ASSIGN_OR_RETURN(
          const host::v1::UnregisterHostVmResponse response,
          session->AskAt<HostVms>(channel, &HostStub::async::UnregisterHostVm, request));
      return session->Show(response, print);
    }
    v1::UnregisterVmRequest request;
    request.set_vm(args->vm);
    request.set_host(args->host);
    KS_ASSIGN_OR_RETURN(const v1::UnregisterVmResponse response,
                        session->Ask<Vms>(&Stub::async::UnregisterVm, request));
    return session->Show(response, print);
  });
}

absl::StatusOr<v1::ListVmsResponse> ListAt(Session* session, const VmArgs& args) {
  v1::ListVmsResponse all;
  if (args.direct) {
    KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, session->Host(args.host));
    KS_ASSIGN_OR_RETURN(host::v1::ListHostVmsResponse response,
                        session->AskAt<HostVms>(channel, &HostStub::async::ListHostVms,
                                                host::v1::ListHostVmsRequest()));
    for (host::v1::HostVm& vm : *response.mutable_vms()) {
      *all.add_vms() = std::move(*vm.mutable_vm());
    }
    return all;
  }
  do {
    v1::ListVmsRequest request;
    request.set_page_size(1000);
    request.set_page_token(all.next_page_token());
    request.set_host(args.host);
    KS_ASSIGN_OR_RETURN(const v1::ListVmsResponse page,
                        session->Ask<Vms>(&Stub::async::ListVms, request));
    all.MergeFrom(page);
    all.set_next_page_token(page.next_page_token());
  } while (!all.next_page_token().empty());
  return all;
}

void AddList(Command* group) {
  auto args = std::make_shared<VmArgs>();
  Command command = group->Sub("list", "List the VMs of a vCenter or a host", "vm list");
  command.Option(&args->host, "--host", "HOST", "only those on it");
  args->AddDirect(&command);
  command.Run([args](Session* session) -> absl::Status {
    KS_RETURN_IF_ERROR(args->Check());
    KS_ASSIGN_OR_RETURN(const v1::ListVmsResponse all, ListAt(session, *args));
    return session->Show(all, [session](const v1::ListVmsResponse& shown) {
      Table table({"NAME", "HOST", "POWER", "LOCK", "ENCRYPTED BY", "DISKS", "VTPM"});
      for (const v1::Vm& vm : shown.vms()) {
        table.Add({vm.name(), vm.host(), PowerText(vm), LockText(vm), vm.key_id().provider_id(),
                   absl::StrCat(vm.disks_size()), vm.vtpm() ? "yes" : ""});
      }
      table.Print(session->out());
    });
  });
}

void AddEncrypt(Command* group) {
  struct Args {
    VmArgs vm;
    CryptoArgs crypto;
    bool no_wait = false;
  };
  {
    auto args = std::make_shared<Args>();
    Command command =
        group->Sub("encrypt", "Encrypt a powered-off VM", "vm encrypt web-1 --provider nkp-a");
    args->vm.AddTo(&command, false);
    args->crypto.AddTo(&command);
    AddNoWait(&command, &args->no_wait);
    command.Run([args](Session* session) -> absl::Status {
      v1::EncryptVmRequest request;
      request.set_vm(args->vm.vm);
      request.set_host(args->vm.host);
      args->crypto.CopyTo(request.mutable_crypto());
      return RunTask<v1::EncryptVmRequest>(session, &Stub::async::EncryptVm, std::move(request),
                                           !args->no_wait);
    });
  }
  {
    auto args = std::make_shared<Args>();
    Command command = group->Sub("decrypt", "Decrypt a powered-off VM", "vm decrypt web-1");
    args->vm.AddTo(&command, false);
    AddNoWait(&command, &args->no_wait);
    command.Run([args](Session* session) -> absl::Status {
      v1::DecryptVmRequest request;
      request.set_vm(args->vm.vm);
      request.set_host(args->vm.host);
      return RunTask<v1::DecryptVmRequest>(session, &Stub::async::DecryptVm, std::move(request),
                                           !args->no_wait);
    });
  }
  {
    auto args = std::make_shared<Args>();
    auto encrypted = std::make_shared<bool>(false);
    Command command = group->Sub("add-vtpm", "Add a virtual TPM to a powered-off VM",
                                 "vm add-vtpm web-1 --encrypted");
    args->vm.AddTo(&command, false);
    command.Flag(encrypted.get(), "--encrypted", "encrypt the VM home in the same operation");
    command.Option(&args->crypto.provider, "--provider", "PROVIDER",
                   "encrypt the home with it (default: the effective default)");
    AddNoWait(&command, &args->no_wait);
    command.Run([args, encrypted](Session* session) -> absl::Status {
      v1::AddVtpmRequest request;
      request.set_vm(args->vm.vm);
      request.set_host(args->vm.host);
      if (*encrypted || !args->crypto.provider.empty()) {
        args->crypto.skip_disks = true;
        args->crypto.CopyTo(request.mutable_crypto());
      }
      return RunTask<v1::AddVtpmRequest>(session, &Stub::async::AddVtpm, std::move(request),
                                         !args->no_wait);
    });
  }
}

void AddRekey(Command* group) {
  struct Args {
    VmArgs vm;
    bool shallow = false;
    bool deep = false;
    CryptoArgs crypto;
    bool no_wait = false;
  };
  auto args = std::make_shared<Args>();
  Command command = group->Sub("rekey", "Give a VM another key, of the same provider or another",
                               "vm rekey web-1 --shallow --provider skp-1");
  args->vm.AddTo(&command, false);
  command.Flag(&args->shallow, "--shallow", "only the key that wraps its data keys; may run");
  command.Flag(&args->deep, "--deep", "the data keys too: all is encrypted anew; powered off");
  command.Option(&args->crypto.provider, "--provider", "PROVIDER",
                 "default: the effective default");
  command.Flag(&args->crypto.skip_disks, "--skip-hard-disks", "disks stay under their key");
  AddNoWait(&command, &args->no_wait);
  command.Run([args](Session* session) -> absl::Status {
    if (args->shallow == args->deep) return UsageError("say --shallow or --deep");
    v1::RekeyVmRequest request;
    request.set_vm(args->vm.vm);
    request.set_host(args->vm.host);
    request.set_depth(args->deep ? v1::REKEY_DEPTH_DEEP : v1::REKEY_DEPTH_SHALLOW);
    args->crypto.CopyTo(request.mutable_crypto());
    return RunTask<v1::RekeyVmRequest>(session, &Stub::async::RekeyVm, std::move(request),
                                       !args->no_wait);
  });
}

void AddUnlockAndExplain(Command* group) {
  auto args = std::make_shared<VmArgs>();
  Command unlock = group->Sub("unlock", "Fetch a locked VM's key and unlock it", "vm unlock web-1");
  args->AddTo(&unlock, false);
  unlock.Run([args](Session* session) -> absl::Status {
    v1::UnlockVmRequest request;
    request.set_vm(args->vm);
    request.set_host(args->host);
    KS_ASSIGN_OR_RETURN(const v1::Vm vm, session->Ask<Vms>(&Stub::async::UnlockVm, request));
    return ShowVm(session, vm);
  });
  Command explain = group->Sub(
      "explain", "Why a VM is locked or would not power on, and what helps", "vm explain web-1");
  args->AddTo(&explain, false);
  explain.Run([args](Session* session) -> absl::Status {
    v1::ExplainVmRequest request;
    request.set_vm(args->vm);
    request.set_host(args->host);
    KS_ASSIGN_OR_RETURN(const v1::ExplainVmResponse response,
                        session->Ask<Vms>(&Stub::async::ExplainVm, request));
    return session->Show(response, [session](const v1::ExplainVmResponse& shown) {
      session->Say(shown.vm().name(), ": ", PowerText(shown.vm()), ", ", LockText(shown.vm()));
      if (shown.has_explanation()) {
        PrintExplanation(shown.explanation(), session->out());
      } else {
        session->out() << "nothing prevents a power-on\n";
      }
    });
  });
}

}  // namespace

void AddVmCommands(Command* root) {
  Command group =
      root->Sub("vm", "Virtual machines: power, encryption, locks, disks", "vm power-on web-1");
  AddCreate(&group);
  AddRegister(&group);
  AddUnregister(&group);
  AddVmAction<v1::ReloadVmRequest, host::v1::ReloadHostVmRequest>(
      &group, "reload", "Read a VM's files anew", &Stub::async::ReloadVm,
      &HostStub::async::ReloadHostVm);
  AddList(&group);
  AddVmAction<v1::GetVmRequest, host::v1::GetHostVmRequest>(
      &group, "show", "Show a VM", &Stub::async::GetVm, &HostStub::async::GetHostVm);
  AddVmAction<v1::PowerOnVmRequest, host::v1::PowerOnHostVmRequest>(
      &group, "power-on", "Power a VM on", &Stub::async::PowerOnVm,
      &HostStub::async::PowerOnHostVm);
  AddVmAction<v1::PowerOffVmRequest, host::v1::PowerOffHostVmRequest>(
      &group, "power-off", "Power a VM off", &Stub::async::PowerOffVm,
      &HostStub::async::PowerOffHostVm);
  AddVmAction<v1::ResetVmRequest, host::v1::ResetHostVmRequest>(
      &group, "reset", "Reset a running VM", &Stub::async::ResetVm, &HostStub::async::ResetHostVm);
  AddEncrypt(&group);
  AddRekey(&group);
  AddUnlockAndExplain(&group);
  AddGuestDiskCommands(&group);
}

}  // namespace keysphere::cli
