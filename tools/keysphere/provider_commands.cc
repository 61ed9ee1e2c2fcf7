#include <poll.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files/file_system.h"
#include "common/status/status.h"
#include "keysphere/v1/key_providers.grpc.pb.h"
#include "tools/keysphere/commands.h"
#include "tools/keysphere/provider_request.h"
#include "tools/keysphere/secret.h"
#include "tools/keysphere/session.h"
#include "tools/keysphere/standard_provider.h"

namespace keysphere::cli {
namespace {

using Providers = v1::KeyProviders;
using Stub = Providers::Stub;

// What ImportKeyProvider takes.
constexpr size_t kMaxBundleBytes = 64 << 10;

std::string Health(const v1::KeyProvider& provider) {
  return EnumWord(v1::ProviderHealth::Status_Name(provider.health().status()), "STATUS_");
}

std::string Type(const v1::KeyProvider& provider) {
  return EnumWord(v1::ProviderType_Name(provider.type()), "PROVIDER_TYPE_");
}

void PrintProvider(const v1::KeyProvider& provider, std::ostream& out) {
  Fields fields;
  fields.Add("name", provider.name()).Add("type", Type(provider));
  if (provider.has_standard_info()) {
    AddStandardFields(provider.standard_info(), &fields);
  } else {
    const v1::NativeProviderInfo& native = provider.native_info();
    fields.Add("key id", native.key_id())
        .Add("check value", native.key_check_value())
        .Add("backed up", native.backup_suggested() ? "yes (a new backup is suggested)"
                                                    : YesNo(native.has_backup()))
        .Add("TPM required", YesNo(native.constraints().tpm_required()));
  }
  fields.Add("default", YesNo(provider.is_default()))
      .Add("default of", Join(provider.default_for_clusters()))
      .Add("health", Health(provider))
      .Add("created", FormatTimestamp(provider.create_time()));
  for (const std::string& detail : provider.health().details()) fields.Add("", detail);
  fields.Print(out);
}

absl::Status ShowProvider(Session* session, const v1::KeyProvider& provider) {
  return session->Show(
      provider, [session](const v1::KeyProvider& shown) { PrintProvider(shown, session->out()); });
}

void AddCreate(Command* group) {
  struct Args {
    std::string name;
    std::string key_id;
    absl::optional<bool> tpm_required;
    bool kmip = false;
    StandardArgs standard;
  };
  auto args = std::make_shared<Args>();
  Command command =
      group->Sub("create", "Make a key provider: a native one, or with --kmip a standard one",
                 "provider create skp-1 --kmip --kms-server kms.lab:5696 --trust kms-ca.pem");
  command.Argument(&args->name, "NAME", "a name that no provider of this vCenter has");
  command.Option(&args->key_id, "--key-id", "UUID", "its key id (default: a new one)");
  command.YesNo(&args->tpm_required, "tpm-required",
                "only hosts with a TPM 2.0 may hold its key (the default)");
  command.Flag(&args->kmip, "--kmip",
               "its keys are in a KMS; without --kms-server: the simulated cluster's");
  args->standard.AddTo(&command);
  args->standard.AddClientTo(&command);
  command.Run([args](Session* session) -> absl::Status {
    if (args->kmip) {
      if (!args->key_id.empty() || args->tpm_required.has_value()) {
        return UsageError("--key-id and --tpm-required are of native providers");
      }
      v1::CreateKeyProviderRequest request;
      request.set_name(args->name);
      Wiper wipe_password(request.mutable_standard()->mutable_password());
      Wiper wipe_key(request.mutable_standard()->mutable_client_private_key());
      KS_RETURN_IF_ERROR(args->standard.Fill(session, request.mutable_standard()));
      KS_ASSIGN_OR_RETURN(const v1::KeyProvider provider,
                          session->Ask<Providers>(&Stub::async::CreateKeyProvider, request));
      return ShowProvider(session, provider);
    }
    if (args->standard.any()) return UsageError("a KMS goes with --kmip");
    v1::CreateKeyProviderRequest request =
        NewCreateRequest(args->name, args->key_id, args->tpm_required);
    KS_ASSIGN_OR_RETURN(
        const v1::KeyProvider provider,
        session->Ask<Providers>(&Stub::async::CreateKeyProvider, std::move(request)));
    return ShowProvider(session, provider);
  });
}

void AddList(Command* group) {
  Command command = group->Sub("list", "List the key providers of a vCenter", "provider list");
  command.Run([](Session* session) -> absl::Status {
    v1::ListKeyProvidersResponse all;
    do {
      v1::ListKeyProvidersRequest request;
      request.set_page_size(1000);
      request.set_page_token(all.next_page_token());
      KS_ASSIGN_OR_RETURN(const v1::ListKeyProvidersResponse page,
                          session->Ask<Providers>(&Stub::async::ListKeyProviders, request));
      all.clear_warnings();
      all.MergeFrom(page);
      all.set_next_page_token(page.next_page_token());
    } while (!all.next_page_token().empty());
    return session->Show(all, [session](const v1::ListKeyProvidersResponse& shown) {
      Table table({"NAME", "TYPE", "KEY ID", "BACKED UP", "TPM", "DEFAULT", "HEALTH"});
      for (const v1::KeyProvider& provider : shown.key_providers()) {
        std::string defaults = provider.is_default() ? "yes" : "";
        const std::string clusters = Join(provider.default_for_clusters());
        absl::StrAppend(&defaults, defaults.empty() || clusters.empty() ? "" : ", ", clusters);
        table.Add({provider.name(), Type(provider), provider.native_info().key_id(),
                   provider.has_standard_info() ? "" : YesNo(provider.native_info().has_backup()),
                   provider.native_info().constraints().tpm_required() ? "required" : "", defaults,
                   Health(provider)});
      }
      table.Print(session->out());
      for (const std::string& warning : shown.warnings()) {
        session->Warn("warning: ", warning);
      }
    });
  });
}

void AddShow(Command* group) {
  auto name = std::make_shared<std::string>();
  Command command = group->Sub("show", "Show a key provider", "provider show nkp-a");
  command.Argument(name.get(), "NAME", "the provider");
  command.Run([name](Session* session) -> absl::Status {
    v1::GetKeyProviderRequest request;
    request.set_name(*name);
    KS_ASSIGN_OR_RETURN(const v1::KeyProvider provider,
                        session->Ask<Providers>(&Stub::async::GetKeyProvider, request));
    return ShowProvider(session, provider);
  });
}

void AddDelete(Command* group) {
  auto name = std::make_shared<std::string>();
  Command command =
      group->Sub("delete", "Delete a key provider; use never prevents that", "provider delete old");
  command.Argument(name.get(), "NAME", "the provider");
  command.Run([name](Session* session) -> absl::Status {
    v1::DeleteKeyProviderRequest request;
    request.set_name(*name);
    KS_ASSIGN_OR_RETURN(const v1::DeleteKeyProviderResponse response,
                        session->Ask<Providers>(&Stub::async::DeleteKeyProvider, request));
    return session->Show(response, [&](const v1::DeleteKeyProviderResponse& shown) {
      session->Say("deleted ", *name, "; VMs here that name it: ", shown.vms_in_inventory());
    });
  });
}

void AddDefault(Command* group) {
  struct Args {
    std::string name;
    std::string cluster;
    bool clear = false;
  };
  auto args = std::make_shared<Args>();
  Command command = group->Sub("default", "Set or clear the default provider",
                               "provider default nkp-a --cluster cluster-a");
  command.OptionalArgument(&args->name, "NAME", "the provider");
  command.Option(&args->cluster, "--cluster", "CLUSTER", "of this cluster, not of the vCenter");
  command.Flag(&args->clear, "--clear", "no default any more");
  command.Run([args](Session* session) -> absl::Status {
    if (args->name.empty() != args->clear) return UsageError("say a provider, or --clear");
    v1::SetDefaultKeyProviderRequest request;
    request.set_name(args->name);
    request.set_cluster(args->cluster);
    KS_ASSIGN_OR_RETURN(const v1::SetDefaultKeyProviderResponse response,
                        session->Ask<Providers>(&Stub::async::SetDefaultKeyProvider, request));
    return session->Show(response, [&](const v1::SetDefaultKeyProviderResponse& shown) {
      session->Say("default: ", args->clear ? "none" : args->name,
                   "; before: ", shown.former_default().empty() ? "none" : shown.former_default());
    });
  });
}

void AddUpdate(Command* group) {
  struct Args {
    std::string name;
    std::string key_id;
    StandardArgs standard;
  };
  auto args = std::make_shared<Args>();
  Command command =
      group->Sub("update", "Native: another key id, the key stays. Standard: its KMS",
                 "provider update nkp-a --key-id 7a3b0c3e-4c5f-4a76-9a49-0c6d7b4c1f21");
  command.Argument(&args->name, "NAME", "the provider");
  command.Option(&args->key_id, "--key-id", "UUID", "the new key id of a native provider");
  args->standard.AddTo(&command);
  command.Run([args](Session* session) -> absl::Status {
    if (args->key_id.empty() && !args->standard.any()) return UsageError("say what is to change");
    v1::UpdateKeyProviderRequest request;
    request.set_name(args->name);
    request.set_key_id(args->key_id);
    if (args->standard.any()) KS_RETURN_IF_ERROR(args->standard.FillUpdate(&request));
    Wiper wipe(request.has_standard() ? request.mutable_standard()->mutable_password() : nullptr);
    KS_ASSIGN_OR_RETURN(const v1::KeyProvider provider,
                        session->Ask<Providers>(&Stub::async::UpdateKeyProvider, request));
    return ShowProvider(session, provider);
  });
}

// Fetches the bundle for a token. The caller wipes it.
absl::Status Download(Session* session, const Session::ChannelPtr& channel,
                      const v1::DownloadKeyProviderRequest& request, std::string* bundle) {
  bundle->reserve(kMaxBundleBytes);  // a growing string would leave copies
  bool too_large = false;
  KS_RETURN_IF_ERROR(session->ReadStream<Providers>(
      channel, &Stub::async::DownloadKeyProvider, request,
      [&](const v1::DownloadKeyProviderResponse& part) {
        too_large = bundle->size() + part.chunk().size() > kMaxBundleBytes;
        if (!too_large) bundle->append(part.chunk());
        return !too_large;
      }));
  if (!too_large) return absl::OkStatus();
  return status::Error(v1::REASON_TOO_LARGE, "the bundle is larger than 64 KiB");
}

// The vCenter notes a backup when it knows that its client got everything (S2): a moment after the
// client knows.
absl::StatusOr<v1::KeyProvider> WaitUntilBackedUp(Session* session,
                                                  const Session::ChannelPtr& channel,
                                                  const std::string& name) {
  constexpr int kPauseMilliseconds = 20;
  constexpr int kTries = 500;  // ten seconds
  v1::GetKeyProviderRequest request;
  request.set_name(name);
  for (int i = 0; i < kTries; ++i) {
    KS_ASSIGN_OR_RETURN(v1::KeyProvider provider,
                        session->AskAt<Providers>(channel, &Stub::async::GetKeyProvider, request));
    if (provider.native_info().has_backup()) return provider;
    poll(nullptr, 0, kPauseMilliseconds);
  }
  return status::Error(v1::REASON_DEADLINE_EXCEEDED,
                       absl::StrCat("the bundle is here, but the vCenter does not take ",
                                    status::Quote(name), " for backed up"))
      .Object("provider", name)
      .NextStep("Export it again.");
}

// The bundle's file is renamed to its name: nothing but a file may go by that, no device, pipe or
// link. Told before the vCenter takes the provider for backed up.
absl::Status CheckTarget(const std::string& path) {
  const files::FileSystem disk;
  const absl::StatusOr<files::FileInfo> info = disk.Stat(path);
  if (info.ok() && !info->is_regular) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat(status::Quote(path), " is there and is no regular file"))
        .Object("file", path)
        .NextStep("Name a new file, or one to replace.");
  }
  if (info.ok()) return absl::OkStatus();
  if (info.status().code() != absl::StatusCode::kNotFound) return info.status();
  const std::string folder = files::FolderOf(path);
  return disk.Stat(folder).status();
}

void AddExport(Command* group) {
  struct Args {
    std::string name;
    std::string file;
    SecretOptions password;
  };
  auto args = std::make_shared<Args>();
  Command command =
      group->Sub("export",
                 "Back a provider up: write its PKCS#12 bundle to a file (mode 0600). Without a "
                 "password the key lies in it in clear: whoever has the file has the key",
                 "provider export nkp-a --file nkp-a.p12 --password-file pw.txt");
  command.Argument(&args->name, "NAME", "the provider");
  command.Required(&args->file, "--file", "FILE", "where the bundle goes");
  args->password.AddTo(&command, "password");
  command.Run([args](Session* session) -> absl::Status {
    KS_RETURN_IF_ERROR(CheckTarget(args->file));
    KS_ASSIGN_OR_RETURN(absl::optional<Secret> password,
                        ReadSecret(args->password, "Password of the backup", true));
    KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, session->Controller());
    v1::ExportKeyProviderRequest request;
    request.set_name(args->name);
    Wiper wipe_password(request.mutable_password());
    if (password.has_value()) {
      request.set_password(password->view().data(), password->view().size());
    }
    KS_ASSIGN_OR_RETURN(
        const v1::ExportKeyProviderResponse begun,
        session->AskAt<Providers>(channel, &Stub::async::ExportKeyProvider, request));
    v1::DownloadKeyProviderRequest download;
    download.set_name(args->name);
    download.set_token(begun.token());
    std::string bundle;
    Wiper wipe_bundle(&bundle);
    KS_RETURN_IF_ERROR(Download(session, channel, download, &bundle));
    KS_RETURN_IF_ERROR(files::FileSystem().WriteFileAtomically(args->file, bundle, 0600));
    if (!password.has_value()) {
      session->err() << "warning: the bundle has no password: whoever has the file has the key\n";
    }
    KS_ASSIGN_OR_RETURN(const v1::KeyProvider provider,
                        WaitUntilBackedUp(session, channel, args->name));
    return session->Show(provider, [&](const v1::KeyProvider&) {
      session->Say("wrote ", args->file, " (", bundle.size(), " bytes); ", args->name,
                   " is backed up");
    });
  });
}

struct ImportArgs {
  std::string file;
  SecretOptions password;
  bool dry_run = false;
  absl::optional<bool> tpm_required;
};

absl::StatusOr<v1::ImportKeyProviderResponse> Import(Session* session, const ImportArgs& args,
                                                     v1::ImportKeyProviderRequest* request) {
  absl::StatusOr<v1::ImportKeyProviderResponse> response =
      session->Ask<Providers>(&Stub::async::ImportKeyProvider, *request);
  const bool told = args.password.from_stdin || !args.password.file.empty();
  if (response.ok() || told || status::ReasonOf(response.status()) != v1::REASON_WRONG_PASSWORD) {
    return response;
  }
  // It wants a password, and somebody may sit there who knows it.
  KS_ASSIGN_OR_RETURN(const absl::optional<Secret> password,
                      ReadSecret(args.password, "Password of the backup", false));
  if (!password.has_value()) return response;
  request->set_password(password->view().data(), password->view().size());
  return session->Ask<Providers>(&Stub::async::ImportKeyProvider, *request);
}

void AddImport(Command* group) {
  auto args = std::make_shared<ImportArgs>();
  Command command = group->Sub("import", "Restore a provider from its PKCS#12 bundle",
                               "provider import nkp-a.p12 --password-file pw.txt");
  command.Argument(&args->file, "FILE", "a bundle that `provider export` wrote");
  args->password.AddTo(&command, "password");
  command.Flag(&args->dry_run, "--dry-run", "check all and tell all, create nothing");
  command.YesNo(&args->tpm_required, "tpm-required",
                "only hosts with a TPM 2.0 may hold its key (default: as in the bundle)");
  command.Run([args](Session* session) -> absl::Status {
    v1::ImportKeyProviderRequest request;
    Wiper wipe_bundle(request.mutable_bundle());
    Wiper wipe_password(request.mutable_password());
    KS_ASSIGN_OR_RETURN(
        *request.mutable_bundle(),
        files::FileSystem().ReadFile(args->file, kMaxBundleBytes, files::Links::kFollow));
    if (args->password.from_stdin || !args->password.file.empty()) {
      KS_ASSIGN_OR_RETURN(const absl::optional<Secret> password,
                          ReadSecret(args->password, "", false));
      request.set_password(password->view().data(), password->view().size());
    }
    request.set_dry_run(args->dry_run);
    if (args->tpm_required.has_value()) {
      request.mutable_constraints()->set_tpm_required(*args->tpm_required);
    }
    KS_ASSIGN_OR_RETURN(const v1::ImportKeyProviderResponse response,
                        Import(session, *args, &request));
    return session->Show(response, [&](const v1::ImportKeyProviderResponse& shown) {
      session->out() << (args->dry_run ? "would import" : "imported") << " (exported "
                     << FormatTimestamp(shown.export_time()) << ")\n";
      PrintProvider(shown.provider(), session->out());
    });
  });
}

void AddKmsClusters(Command* group) {
  auto cluster = std::make_shared<std::string>();
  Command command = group->Sub("kms-clusters", "The providers as vSphere's QueryKmipServers tells",
                               "provider kms-clusters --cluster cluster-a");
  command.Option(cluster.get(), "--cluster", "CLUSTER", "tell of this cluster's default");
  command.Run([cluster](Session* session) -> absl::Status {
    v1::ListKmsClustersRequest request;
    request.set_cluster(*cluster);
    KS_ASSIGN_OR_RETURN(const v1::ListKmsClustersResponse response,
                        session->Ask<Providers>(&Stub::async::ListKmsClusters, request));
    return session->Show(response, [session](const v1::ListKmsClustersResponse& shown) {
      Table table({"CLUSTER ID", "MANAGEMENT", "BACKED UP", "TPM", "DEFAULT", "ENTITY DEFAULT"});
      for (const v1::KmipClusterInfo& info : shown.clusters()) {
        table.Add({info.cluster_id(), info.management_type(), YesNo(info.has_backup()),
                   info.tpm_required() ? "required" : "", YesNo(info.use_as_default()),
                   YesNo(info.use_as_entity_default())});
      }
      table.Print(session->out());
    });
  });
}

}  // namespace

void AddProviderCommands(Command* root) {
  Command group = root->Sub("provider", "Key providers: make, back up, restore, set default",
                            "provider create nkp-a --no-tpm-required");
  AddCreate(&group);
  AddList(&group);
  AddShow(&group);
  AddExport(&group);
  AddImport(&group);
  AddDefault(&group);
  AddUpdate(&group);
  AddDelete(&group);
  AddKmsClusters(&group);
  AddKmsProviderCommands(&group);
}

}  // namespace keysphere::cli
