#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/files/file_system.h"
#include "common/identity/credentials.h"
#include "common/status/status.h"
#include "keysphere/v1/crypto_manager.grpc.pb.h"
#include "keysphere/v1/key_providers.grpc.pb.h"
#include "tools/keysphere/commands.h"
#include "tools/keysphere/fingerprint.h"
#include "tools/keysphere/session.h"
#include "tools/keysphere/standard_provider.h"

namespace keysphere::cli {
namespace {

using Providers = v1::KeyProviders;
using Stub = Providers::Stub;

absl::Status ShowServers(Session* session, const v1::KeyProvider& provider) {
  return session->Show(provider, [session](const v1::KeyProvider& shown) {
    Fields fields;
    fields.Add("name", shown.name());
    AddStandardFields(shown.standard_info(), &fields);
    fields.Print(session->out());
    PrintServers(shown.standard_info(), session->out());
  });
}

void AddHealth(Command* group) {
  auto name = std::make_shared<std::string>();
  Command command =
      group->Sub("health", "Ask every server of a standard provider now", "provider health skp-1");
  command.Argument(name.get(), "NAME", "the provider");
  command.Run([name](Session* session) -> absl::Status {
    v1::CheckKmsServersRequest request;
    request.set_name(*name);
    KS_ASSIGN_OR_RETURN(const v1::KeyProvider provider,
                        session->Ask<Providers>(&Stub::async::CheckKmsServers, request));
    return ShowServers(session, provider);
  });
}

void AddTrust(Command* group) {
  struct Args {
    std::string name;
    std::string file;
    std::string server;
    std::string fingerprint;
  };
  auto args = std::make_shared<Args>();
  Command command = group->Sub(
      "trust", "Trust a certificate, or see the one that a server presents and trust that",
      "provider trust skp-1 --file kms-ca.pem");
  command.Argument(&args->name, "NAME", "the provider");
  command.Option(&args->file, "--file", "FILE", "PEM: a CA, or a server's own certificate");
  command.Option(&args->server, "--kms-server", "SERVER",
                 "show the certificate that this server presents");
  command.Option(
      &args->fingerprint, "--fingerprint", "SHA256",
      "trust it if this is its fingerprint, as the KMS's administrator says (64 hexadecimal "
      "digits, or with colons as openssl writes them)");
  command.Run([args](Session* session) -> absl::Status {
    if (args->file.empty() == args->server.empty()) {
      return UsageError("say --file, or --kms-server");
    }
    std::string wanted;
    if (!args->fingerprint.empty()) {
      if (args->server.empty()) return UsageError("--fingerprint goes with --kms-server");
      KS_ASSIGN_OR_RETURN(wanted, ParseFingerprint(args->fingerprint));
    }
    v1::TrustKmsServerRequest request;
    request.set_name(args->name);
    if (!args->file.empty()) {
      KS_ASSIGN_OR_RETURN(*request.mutable_certificate(), ReadText(args->file));
    } else {
      v1::RetrieveKmsServerCertificateRequest retrieve;
      retrieve.set_name(args->name);
      retrieve.set_server(args->server);
      KS_ASSIGN_OR_RETURN(
          const v1::RetrieveKmsServerCertificateResponse presented,
          session->Ask<Providers>(&Stub::async::RetrieveKmsServerCertificate, retrieve));
      if (wanted.empty()) {
        return session->Show(presented, [session](const auto& shown) {
          Fields fields;
          fields.Add("subject", shown.subject())
              .Add("fingerprint", shown.fingerprint())
              .Add("until", FormatTimestamp(shown.expire_time()))
              .Add("trusted", YesNo(shown.trusted()))
              .Print(session->out());
        });
      }
      if (presented.fingerprint() != wanted) {
        return status::Error(v1::REASON_CERT_UNTRUSTED,
                             "the server presents a certificate of another fingerprint")
            .Object("server", args->server)
            .NextStep("Ask the administrator of the KMS; somebody may sit in between.");
      }
      request.set_certificate(presented.certificate());
    }
    KS_ASSIGN_OR_RETURN(const v1::KeyProvider provider,
                        session->Ask<Providers>(&Stub::async::TrustKmsServer, request));
    return ShowServers(session, provider);
  });
}

void AddCsr(Command* group) {
  struct Args {
    std::string name;
    std::string file;
  };
  auto args = std::make_shared<Args>();
  Command command = group->Sub("csr", "Make a new client key and the request for its certificate",
                               "provider csr skp-1 --file skp-1.csr");
  command.Argument(&args->name, "NAME", "the provider");
  command.Option(&args->file, "--file", "FILE", "where the request goes (default: printed)");
  command.Run([args](Session* session) -> absl::Status {
    v1::GenerateKmsClientCsrRequest request;
    request.set_name(args->name);
    KS_ASSIGN_OR_RETURN(const v1::GenerateKmsClientCsrResponse response,
                        session->Ask<Providers>(&Stub::async::GenerateKmsClientCsr, request));
    if (!args->file.empty()) {
      KS_RETURN_IF_ERROR(files::FileSystem().WriteFileAtomically(args->file, response.csr(), 0600));
    }
    return session->Show(response, [&](const v1::GenerateKmsClientCsrResponse& shown) {
      if (args->file.empty()) {
        session->out() << shown.csr();
      } else {
        session->Say("wrote ", args->file);
      }
    });
  });
}

void AddClientCertificate(Command* group) {
  struct Args {
    std::string name;
    std::string certificate;
    std::string key;
  };
  auto args = std::make_shared<Args>();
  Command command = group->Sub("client-cert", "Set the certificate that the KMS is shown",
                               "provider client-cert skp-1 --client-cert skp-1.crt");
  command.Argument(&args->name, "NAME", "the provider");
  command.Required(&args->certificate, "--client-cert", "FILE", "PEM");
  command.Option(&args->key, "--client-key", "FILE",
                 "PEM: its private key (default: that of the last CSR)");
  command.Run([args](Session* session) -> absl::Status {
    v1::SetKmsClientCertificateRequest request;
    Wiper wipe(request.mutable_private_key());
    request.set_name(args->name);
    KS_ASSIGN_OR_RETURN(*request.mutable_certificate(), ReadText(args->certificate));
    if (!args->key.empty()) {
      KS_ASSIGN_OR_RETURN(const identity::SecretPem key, identity::ReadPemFile(args->key));
      request.set_private_key(key.view().data(), key.view().size());
    }
    KS_ASSIGN_OR_RETURN(const v1::KeyProvider provider,
                        session->Ask<Providers>(&Stub::async::SetKmsClientCertificate, request));
    return ShowServers(session, provider);
  });
}

// "missingInKms", "available".
std::string StateWord(const v1::CryptoKeyStatus& status) {
  if (status.key_available()) return "available";
  return EnumWord(v1::CryptoKeyStatus::Reason_Name(status.reason()), "REASON_KEY_STATE_");
}

void AddGenerateKey(Command* group) {
  auto name = std::make_shared<std::string>();
  Command command = group->Sub("generate-key", "Have the KMS make a key that nothing uses yet",
                               "provider generate-key skp-1");
  command.OptionalArgument(name.get(), "NAME", "a standard provider (default: the default)");
  command.Run([name](Session* session) -> absl::Status {
    v1::GenerateKeyRequest request;
    request.set_provider(*name);
    KS_ASSIGN_OR_RETURN(
        const v1::GenerateKeyResponse response,
        session->Ask<v1::CryptoManager>(&v1::CryptoManager::Stub::async::GenerateKey, request));
    return session->Show(response, [session](const v1::GenerateKeyResponse& shown) {
      Fields fields;
      fields.Add("provider", shown.key().provider_id())
          .Add("key id", shown.key().key_id())
          .Print(session->out());
    });
  });
}

void AddKeyStatus(Command* group) {
  struct Args {
    std::string name;
    std::vector<std::string> ids;
  };
  auto args = std::make_shared<Args>();
  Command command = group->Sub("key-status", "Whether keys can be used, and who uses them",
                               "provider key-status skp-1 7e2b");
  command.Argument(&args->name, "NAME", "the provider");
  command.Arguments(&args->ids, "KEY_ID", "keys of it");
  command.Run([args](Session* session) -> absl::Status {
    if (args->ids.empty()) return UsageError("name a key id");
    v1::QueryCryptoKeyStatusRequest request;
    for (const std::string& id : args->ids) {
      v1::CryptoKeyId* const key = request.add_keys();
      key->set_provider_id(args->name);
      key->set_key_id(id);
    }
    KS_ASSIGN_OR_RETURN(const v1::QueryCryptoKeyStatusResponse response,
                        session->Ask<v1::CryptoManager>(
                            &v1::CryptoManager::Stub::async::QueryCryptoKeyStatus, request));
    return session->Show(response, [session](const v1::QueryCryptoKeyStatusResponse& shown) {
      Table table({"KEY ID", "STATE", "VMS", "HOSTS"});
      for (const v1::CryptoKeyStatus& status : shown.statuses()) {
        table.Add(
            {status.key().key_id(), StateWord(status), Join(status.vms()), Join(status.hosts())});
      }
      table.Print(session->out());
    });
  });
}

}  // namespace

void AddKmsProviderCommands(Command* provider) {
  AddHealth(provider);
  AddTrust(provider);
  AddCsr(provider);
  AddClientCertificate(provider);
  AddGenerateKey(provider);
  AddKeyStatus(provider);
}

}  // namespace keysphere::cli
