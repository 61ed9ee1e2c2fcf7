#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "keysphere/host/v1/host_status.grpc.pb.h"
#include "keysphere/sim/v1/simulator.grpc.pb.h"
#include "keysphere/v1/inventory.grpc.pb.h"
#include "tools/keysphere/commands.h"
#include "tools/keysphere/secret.h"
#include "tools/keysphere/session.h"
#include "tools/keysphere/simulator_calls.h"
#include "tools/keysphere/vm_output.h"

namespace keysphere::cli {
namespace {

using Hosts = v1::Hosts;
using Stub = Hosts::Stub;
using HostStatus = host::v1::HostStatus;

std::string CryptoStateOf(v1::CryptoState state) {
  return EnumWord(v1::CryptoState_Name(state), "CRYPTO_STATE_");
}
std::string TpmOf(v1::TpmVersion version) {
  switch (version) {
    case v1::TPM_VERSION_NONE:
      return "none";
    case v1::TPM_VERSION_1_2:
      return "1.2";
    case v1::TPM_VERSION_2_0:
      return "2.0";
    default:
      return "-";
  }
}

std::string Held(const v1::Host& host) {
  std::string text;
  for (const v1::HeldStandardKeys& held : host.held_standard_keys()) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", held.provider(), " (", held.keys(), ")");
  }
  for (const v1::HeldProvider& held : host.held_providers()) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", held.provider());
  }
  return text;
}

void PrintHost(const v1::Host& host, std::ostream& out) {
  Fields fields;
  fields.Add("name", host.name())
      .Add("address", host.address())
      .Add("cluster", host.cluster().empty() ? "none (standalone)" : host.cluster())
      .Add("connection",
           EnumWord(v1::ConnectionState_Name(host.connection_state()), "CONNECTION_STATE_"))
      .Add("version", host.version())
      .Add("TPM", TpmOf(host.tpm_version()))
      .Add("crypto state", CryptoStateOf(host.crypto_state()))
      .Add("host key", KeyText(host.host_key()))
      .Add("boot", host.boot_complete() ? "complete" : "not complete")
      .Add("epoch", absl::StrCat(host.epoch()));
  for (const v1::HeldProvider& held : host.held_providers()) {
    fields.Add("holds", absl::StrCat(held.provider(), " (key id ", held.key_id(), ", check value ",
                                     held.key_check_value(), ")"));
  }
  for (const v1::HeldStandardKeys& held : host.held_standard_keys()) {
    fields.Add("caches", absl::StrCat(held.keys(), " keys of ", held.provider()));
  }
  fields.Add("key persistence", host.key_persistence() ? "on" : "off");
  fields.Add("collisions", Join(host.collisions()));
  fields.Print(out);
}

absl::Status ShowHost(Session* session, const v1::Host& host) {
  return session->Show(host,
                       [session](const v1::Host& shown) { PrintHost(shown, session->out()); });
}

void AddList(Command* group) {
  auto cluster = std::make_shared<std::string>();
  Command command = group->Sub("list", "List the hosts of a vCenter", "host list");
  command.Option(cluster.get(), "--cluster", "CLUSTER", "only those in it");
  command.Run([cluster](Session* session) -> absl::Status {
    v1::ListHostsResponse all;
    do {
      v1::ListHostsRequest request;
      request.set_page_size(1000);
      request.set_page_token(all.next_page_token());
      request.set_cluster(*cluster);
      KS_ASSIGN_OR_RETURN(const v1::ListHostsResponse page,
                          session->Ask<Hosts>(&Stub::async::ListHosts, request));
      all.MergeFrom(page);
      all.set_next_page_token(page.next_page_token());
    } while (!all.next_page_token().empty());
    return session->Show(all, [session](const v1::ListHostsResponse& shown) {
      Table table({"NAME", "CLUSTER", "CONNECTION", "CRYPTO STATE", "TPM", "VERSION", "HOLDS"});
      for (const v1::Host& host : shown.hosts()) {
        table.Add({host.name(), host.cluster(),
                   EnumWord(v1::ConnectionState_Name(host.connection_state()), "CONNECTION_STATE_"),
                   CryptoStateOf(host.crypto_state()), TpmOf(host.tpm_version()), host.version(),
                   Held(host)});
      }
      table.Print(session->out());
    });
  });
}

void AddShow(Command* group) {
  auto name = std::make_shared<std::string>();
  Command command = group->Sub("show", "Show a host as its controller knows it", "host show esx-1");
  command.Argument(name.get(), "NAME", "the host");
  command.Run([name](Session* session) -> absl::Status {
    v1::GetHostRequest request;
    request.set_name(*name);
    KS_ASSIGN_OR_RETURN(const v1::Host host, session->Ask<Hosts>(&Stub::async::GetHost, request));
    return ShowHost(session, host);
  });
}

void AddAdd(Command* group) {
  struct Args {
    v1::AddHostRequest request;
    std::string name;
    std::string address;
    std::string cluster;
    bool force = false;
    bool start = false;
    bool tpm = false;
  };
  auto args = std::make_shared<Args>();
  Command command = group->Sub("add", "Attach a host to a vCenter",
                               "host add esx-9 --start --tpm --cluster cluster-a");
  command.Argument(&args->name, "NAME", "the host");
  command.Option(&args->address, "--address", "IP:PORT",
                 "of its agent (default: that of the simulated host of the name)");
  command.Option(&args->cluster, "--cluster", "CLUSTER", "put it in there (default: standalone)");
  command.Flag(&args->force, "--force", "take it from another controller");
  command.Flag(&args->start, "--start", "first start a new simulated host of the name");
  command.Flag(&args->tpm, "--tpm", "the new host has a TPM 2.0");
  command.Run([args](Session* session) -> absl::Status {
    if (args->tpm && !args->start) return UsageError("--tpm goes with --start");
    if (args->start) {
      sim::v1::AddHostProcessRequest start;
      start.set_name(args->name);
      start.set_tpm(args->tpm);
      KS_ASSIGN_OR_RETURN(
          const sim::v1::SimulatedProcess process,
          AskSimulator(session, &sim::v1::Simulator::Stub::async::AddHostProcess, start));
      args->address = process.address();
    }
    if (args->address.empty()) {
      KS_ASSIGN_OR_RETURN(const sim::v1::SimulatedProcess* process, session->Process(args->name));
      args->address = process->address();
    }
    v1::AddHostRequest request;
    request.set_name(args->name);
    request.set_address(args->address);
    request.set_cluster(args->cluster);
    request.set_force(args->force);
    KS_ASSIGN_OR_RETURN(const v1::Host host, session->Ask<Hosts>(&Stub::async::AddHost, request));
    return ShowHost(session, host);
  });
}

void AddMove(Command* group) {
  struct Args {
    std::string name;
    std::string to;
    std::string cluster;
    bool standalone = false;
  };
  auto args = std::make_shared<Args>();
  Command command = group->Sub("move", "Move a host to another vCenter, or to another cluster",
                               "host move esx-2 --to vcenter-b --cluster cluster-b");
  command.Argument(&args->name, "NAME", "the host");
  command.Option(&args->to, "--to", "CONTROLLER",
                 "take it over to this one (default: it stays where it is)");
  command.Option(&args->cluster, "--cluster", "CLUSTER", "the cluster that it comes into");
  command.Flag(&args->standalone, "--standalone", "into no cluster");
  command.Run([args](Session* session) -> absl::Status {
    if (args->cluster.empty() != args->standalone) {
      return UsageError("say where it comes: --cluster CLUSTER or --standalone");
    }
    if (args->to.empty()) {
      v1::MoveHostRequest request;
      request.set_name(args->name);
      request.set_cluster(args->cluster);
      KS_ASSIGN_OR_RETURN(const v1::Host host,
                          session->Ask<Hosts>(&Stub::async::MoveHost, request));
      return ShowHost(session, host);
    }
    KS_ASSIGN_OR_RETURN(const sim::v1::SimulatedProcess* process, session->Process(args->name));
    KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, session->ControllerNamed(args->to));
    v1::AddHostRequest request;
    request.set_name(args->name);
    request.set_address(process->address());
    request.set_cluster(args->cluster);
    request.set_force(true);
    KS_ASSIGN_OR_RETURN(const v1::Host host,
                        session->AskAt<Hosts>(channel, &Stub::async::AddHost, request));
    return ShowHost(session, host);
  });
}

void AddRemove(Command* group) {
  auto name = std::make_shared<std::string>();
  Command command =
      group->Sub("remove", "Let go of a host; its VMs and keys stay on it", "host remove esx-2");
  command.Argument(name.get(), "NAME", "the host");
  command.Run([name](Session* session) -> absl::Status {
    v1::RemoveHostRequest request;
    request.set_name(*name);
    KS_ASSIGN_OR_RETURN(const v1::RemoveHostResponse response,
                        session->Ask<Hosts>(&Stub::async::RemoveHost, request));
    return session->Show(response,
                         [&](const v1::RemoveHostResponse&) { session->Say("removed ", *name); });
  });
}

struct KeyArgs {
  std::string host;
  std::string provider;
  std::string key_id;

  void AddTo(Command* command, bool needs_provider) {
    command->Argument(&host, "NAME", "the host");
    if (needs_provider) {
      command->Required(&provider, "--provider", "PROVIDER", "whose key");
    } else {
      command->Option(&provider, "--provider", "PROVIDER",
                      "whose key (default: the host's, the cluster's, the default provider's)");
    }
    command->Option(&key_id, "--key-id", "UUID", "this key of it (default: a new one)");
  }
  void CopyTo(v1::CryptoKeyId* key) const {
    key->set_provider_id(provider);
    key->set_key_id(key_id);
  }
};

void AddEnableEncryption(Command* group) {
  auto args = std::make_shared<KeyArgs>();
  Command command = group->Sub("enable-encryption",
                               "(Re-)enable encryption mode: fetch missing keys, unlock the VMs",
                               "host enable-encryption esx-2");
  args->AddTo(&command, false);
  command.Run([args](Session* session) -> absl::Status {
    v1::ConfigureCryptoKeyRequest request;
    request.set_host(args->host);
    if (args->provider.empty() && !args->key_id.empty()) {
      return UsageError("--key-id goes with --provider");
    }
    if (!args->provider.empty()) args->CopyTo(request.mutable_key());
    KS_ASSIGN_OR_RETURN(const v1::ConfigureCryptoKeyResponse response,
                        session->Ask<Hosts>(&Stub::async::ConfigureCryptoKey, request));
    return session->Show(response, [session](const v1::ConfigureCryptoKeyResponse& shown) {
      PrintHost(shown.host(), session->out());
      session->Say("unlocked: ",
                   shown.unlocked_vms_size() == 0 ? "none" : Join(shown.unlocked_vms()));
      for (const auto& locked : shown.still_locked()) {
        session->Say("still locked: ", locked.vm(), ": ", locked.explanation().summary());
      }
    });
  });
}

// prepare and disable, which name a host and no more.
template <typename Request, typename Method>
void AddModeChange(Command* group, const std::string& name, const std::string& description,
                   Method method) {
  auto host = std::make_shared<std::string>();
  Command command = group->Sub(name, description, absl::StrCat("host ", name, " esx-1"));
  command.Argument(host.get(), "NAME", "the host");
  command.Run([host, method](Session* session) -> absl::Status {
    Request request;
    request.set_host(*host);
    KS_ASSIGN_OR_RETURN(const v1::Host shown,
                        (session->Ask<Hosts, Request, v1::Host>(method, std::move(request))));
    return ShowHost(session, shown);
  });
}

template <typename Request, typename Method>
void AddKeyChange(Command* group, const std::string& name, const std::string& description,
                  Method method) {
  auto args = std::make_shared<KeyArgs>();
  Command command =
      group->Sub(name, description, absl::StrCat("host ", name, " esx-1 --provider nkp-a"));
  args->AddTo(&command, true);
  command.Run([args, method](Session* session) -> absl::Status {
    Request request;
    request.set_host(args->host);
    args->CopyTo(request.mutable_key());
    KS_ASSIGN_OR_RETURN(const v1::Host shown,
                        (session->Ask<Hosts, Request, v1::Host>(method, std::move(request))));
    return ShowHost(session, shown);
  });
}

template <typename Request>
using HostMethod = rpc::internal::UnaryMethod<rpc::Client<Hosts>::Async, Request, v1::Host>;

void AddStatus(Command* group) {
  struct Args {
    std::string name;
    bool recovery_key = false;
  };
  auto args = std::make_shared<Args>();
  Command command =
      group->Sub("status", "Ask a host itself: state, TPM, configuration", "host status esx-1");
  command.Argument(&args->name, "NAME", "the host");
  command.Flag(&args->recovery_key, "--recovery-key",
               "print the recovery key, which a host tells until its first restart: note it");
  command.Run([args](Session* session) -> absl::Status {
    KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, session->Host(args->name));
    KS_ASSIGN_OR_RETURN(host::v1::GetHostStatusResponse response,
                        session->AskAt<HostStatus>(channel, &HostStatus::Stub::async::GetHostStatus,
                                                   host::v1::GetHostStatusRequest()));
    Wiper wipe(response.mutable_recovery_key());
    const bool has_recovery_key = !response.recovery_key().empty();
    if (args->recovery_key && !has_recovery_key) {
      return status::Error(v1::REASON_INVALID_STATE, "the host tells its recovery key no more")
          .Object("host", args->name)
          .NextStep("It is told from the making of the host's configuration to the next restart.");
    }
    if (!args->recovery_key) response.clear_recovery_key();
    return session->Show(response, [session, has_recovery_key](
                                       const host::v1::GetHostStatusResponse& shown) {
      Fields fields;
      fields.Add("name", shown.name())
          .Add("version", shown.version())
          .Add("TPM", TpmOf(shown.tpm_version()))
          .Add("configuration",
               EnumWord(host::v1::ConfigurationState_Name(shown.configuration_state()),
                        "CONFIGURATION_STATE_"))
          .Add("sealed by", EnumWord(host::v1::ConfigurationMode_Name(shown.configuration_mode()),
                                     "CONFIGURATION_MODE_"))
          .Add("crypto state", CryptoStateOf(shown.crypto_state()))
          .Add("host key", KeyText(shown.host_key()))
          .Add("controller", shown.controller().empty() ? "none" : shown.controller())
          .Add("epoch", absl::StrCat(shown.epoch()))
          .Add("cluster", shown.cluster())
          .Add("boot", shown.boot_complete() ? "complete" : "not complete")
          .Add("boot id", shown.boot_id())
          .Add("datastores", Join(shown.datastores()))
          .Add("recovery key", !has_recovery_key              ? ""
                               : shown.recovery_key().empty() ? "note it (--recovery-key)"
                                                              : shown.recovery_key())
          .Print(session->out());
    });
  });
}

void AddRecover(Command* group) {
  struct Args {
    std::string name;
    SecretOptions key;
  };
  auto args = std::make_shared<Args>();
  Command command = group->Sub("recover", "Give the recovery key to a host that does not boot",
                               "host recover esx-1 --recovery-key-file recovery.txt");
  command.Argument(&args->name, "NAME", "the host");
  args->key.AddTo(&command, "recovery-key");
  command.Run([args](Session* session) -> absl::Status {
    KS_ASSIGN_OR_RETURN(const absl::optional<Secret> key,
                        ReadSecret(args->key, "Recovery key", false));
    if (!key.has_value())
      return UsageError("say it by --recovery-key-file or --recovery-key-stdin");
    KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, session->Host(args->name));
    host::v1::ProvideRecoveryKeyRequest request;
    request.set_recovery_key(key->view().data(), key->view().size());
    Wiper wipe(request.mutable_recovery_key());
    KS_ASSIGN_OR_RETURN(
        host::v1::GetHostStatusResponse response,
        session->AskAt<HostStatus>(channel, &HostStatus::Stub::async::ProvideRecoveryKey, request));
    return session->Show(response, [&](const host::v1::GetHostStatusResponse&) {
      session->Say(args->name, " is open again");
    });
  });
}

void AddKeyPersistence(Command* group) {
  struct Args {
    std::string name;
    std::string onoff;
  };
  auto args = std::make_shared<Args>();
  Command command =
      group->Sub("key-persistence", "Whether it keeps keys of standard providers over its boots",
                 "host key-persistence esx-1 on");
  command.Argument(&args->name, "NAME", "the host; it needs a TPM 2.0");
  command.Argument(&args->onoff, "on|off", "off also erases what is kept");
  command.Run([args](Session* session) -> absl::Status {
    if (args->onoff != "on" && args->onoff != "off") return UsageError("say on or off");
    v1::SetKeyPersistenceRequest request;
    request.set_host(args->name);
    request.set_enabled(args->onoff == "on");
    KS_ASSIGN_OR_RETURN(const v1::Host host,
                        session->Ask<Hosts>(&Stub::async::SetKeyPersistence, request));
    return ShowHost(session, host);
  });
}

}  // namespace

void AddHostCommands(Command* root) {
  Command group = root->Sub("host", "ESXi hosts: attach, move, break, enable encryption",
                            "host move esx-2 --to vcenter-b --cluster cluster-b");
  AddList(&group);
  AddShow(&group);
  AddStatus(&group);
  AddAdd(&group);
  AddMove(&group);
  AddRemove(&group);
  AddProcessActions(&group, "host", "esx-1");
  AddEnableEncryption(&group);
  AddModeChange<v1::PrepareCryptoRequest, HostMethod<v1::PrepareCryptoRequest>>(
      &group, "prepare", "Encryption mode: incapable -> prepared", &Stub::async::PrepareCrypto);
  AddKeyChange<v1::EnableCryptoRequest, HostMethod<v1::EnableCryptoRequest>>(
      &group, "enable", "Encryption mode: prepared -> safe", &Stub::async::EnableCrypto);
  AddModeChange<v1::DisableCryptoRequest, HostMethod<v1::DisableCryptoRequest>>(
      &group, "disable", "Encryption mode: safe -> incapable after the next reboot",
      &Stub::async::DisableCrypto);
  AddKeyChange<v1::ChangeKeyRequest, HostMethod<v1::ChangeKeyRequest>>(
      &group, "change-key", "Give a safe host another host key", &Stub::async::ChangeKey);
  AddKeyChange<v1::AddKeyRequest, HostMethod<v1::AddKeyRequest>>(
      &group, "add-key", "Send a provider's key to a safe host", &Stub::async::AddKey);
  AddKeyPersistence(&group);
  AddCoreDumpCommands(&group);
  AddRecover(&group);
}

}  // namespace keysphere::cli
