#include <google/protobuf/struct.pb.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "common/files/file_system.h"
#include "common/files/names.h"
#include "common/identity/authority.h"
#include "common/identity/certificate.h"
#include "common/status/status.h"
#include "tools/keysphere/commands.h"
#include "tools/keysphere/session.h"

// Certificates for processes outside a simulated cluster. No service is asked.
namespace keysphere::cli {
namespace {

std::string Text(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

absl::StatusOr<identity::Validity> ValidityOf(Session* session, const std::string& not_after) {
  identity::Validity validity = identity::Validity::From(session->Now());
  if (!not_after.empty()) {
    KS_ASSIGN_OR_RETURN(validity.not_after, ParseTimestamp(not_after));
    if (validity.not_after <= session->Now()) {
      return UsageError(absl::StrCat("--not-after: ", Text(validity.not_after), " has passed"));
    }
  }
  return validity;
}

// The paths of files that were made; as JSON an object of strings.
void PrintPaths(Session* session, const std::vector<std::pair<std::string, std::string>>& paths) {
  if (session->json()) {
    google::protobuf::Struct object;
    for (const auto& [name, path] : paths) {
      (*object.mutable_fields())[name].set_string_value(path);
    }
    session->PrintJson(object).IgnoreError();
    return;
  }
  Fields fields;
  for (const auto& [name, path] : paths) fields.Add(name, path);
  fields.Print(session->out());
}

void AddCa(Command* group) {
  struct Args {
    std::string dir;
    std::string domain;
    std::string not_after;
  };
  auto args = std::make_shared<Args>();
  Command command = group->Sub("ca", "Make a certificate authority: DIR/ca.crt, DIR/ca.key",
                               "pki ca ./pki --trust-domain lab.example");
  command.Argument(&args->dir, "DIR", "made if it is not there");
  command.Required(&args->domain, "--trust-domain", "DOMAIN", "of its SPIFFE ids");
  command.Option(&args->not_after, "--not-after", "TIME", "RFC 3339 (default: in 20 years)");
  command.Run([args](Session* session) -> absl::Status {
    KS_ASSIGN_OR_RETURN(const identity::Validity validity, ValidityOf(session, args->not_after));
    const files::FileSystem disk;
    KS_RETURN_IF_ERROR(disk.MakeFolders(args->dir));
    KS_ASSIGN_OR_RETURN(const bool exists, disk.Exists(args->dir + "/ca.key"));
    if (exists) {
      return status::Error(v1::REASON_ALREADY_EXISTS,
                           absl::StrCat("there is an authority in ", status::Quote(args->dir)))
          .NextStep("Name another folder: all its certificates would be void without it.");
    }
    KS_ASSIGN_OR_RETURN(const std::unique_ptr<identity::Authority> authority,
                        identity::Authority::Create(args->domain, validity));
    KS_RETURN_IF_ERROR(authority->Write(args->dir));
    PrintPaths(session, {{"certificate", args->dir + "/ca.crt"}, {"key", args->dir + "/ca.key"}});
    return absl::OkStatus();
  });
}

void AddIssue(Command* group) {
  struct Args {
    std::string kind;
    std::string name;
    std::string ca;
    std::string out;
    std::string not_after;
    std::vector<std::string> ips;
    std::vector<std::string> dns;
  };
  auto args = std::make_shared<Args>();
  Command command = group->Sub("issue", "Issue a certificate: DIR/KIND-NAME.crt and .key",
                               "pki issue host esx-1 --ca ./pki --ip 192.0.2.7");
  command.Argument(&args->kind, "KIND", "controller, host, user or kms");
  command.Argument(&args->name, "NAME", "the NAME of its SPIFFE id");
  command.Required(&args->ca, "--ca", "DIR", "the authority's folder");
  command.Option(&args->out, "--out", "DIR", "where the files go (default: the authority's)");
  command.Option(&args->ips, "--ip", "ADDRESS", "at which it is dialled");
  command.Option(&args->dns, "--dns", "NAME", "by which it is dialled, besides its own");
  command.Option(&args->not_after, "--not-after", "TIME", "RFC 3339 (default: in 20 years)");
  command.Run([args](Session* session) -> absl::Status {
    identity::Authority::Request request;
    if (args->kind == "controller") {
      request.kind = identity::Kind::kController;
    } else if (args->kind == "host") {
      request.kind = identity::Kind::kHost;
    } else if (args->kind == "user") {
      request.kind = identity::Kind::kUser;
    } else if (args->kind == "kms") {
      request.kind = identity::Kind::kKms;
    } else {
      return UsageError("KIND is controller, host, user or kms");
    }
    request.name = args->name;
    request.ip_addresses = args->ips;
    request.dns_names = args->dns;
    KS_ASSIGN_OR_RETURN(request.validity, ValidityOf(session, args->not_after));
    KS_ASSIGN_OR_RETURN(const std::unique_ptr<identity::Authority> authority,
                        identity::Authority::Load(args->ca));
    KS_ASSIGN_OR_RETURN(const identity::Credentials credentials, authority->Issue(request));
    const std::string out = args->out.empty() ? args->ca : args->out;
    KS_RETURN_IF_ERROR(files::FileSystem().MakeFolders(out));
    const auto files = identity::CredentialFiles::In(
        out, absl::StrCat(args->kind, "-", files::PathSafe(args->name)));
    KS_RETURN_IF_ERROR(credentials.Write(files));
    PrintPaths(session,
               {{"authority", files.ca}, {"certificate", files.certificate}, {"key", files.key}});
    return absl::OkStatus();
  });
}

void AddShow(Command* group) {
  auto file = std::make_shared<std::string>();
  Command command =
      group->Sub("show", "Show what a certificate says", "pki show pki/host-esx-1.crt");
  command.Argument(file.get(), "FILE", "PEM");
  command.Run([file](Session* session) -> absl::Status {
    KS_ASSIGN_OR_RETURN(const identity::SecretPem pem, identity::ReadPemFile(*file));
    const absl::StatusOr<identity::CertificateInfo> read = identity::ReadAnyCertificate(pem.view());
    if (!read.ok()) {
      return status::Error(v1::REASON_INVALID_ARGUMENT,
                           absl::StrCat(status::Quote(*file), " holds no certificate in PEM"))
          .Object("file", *file)
          .NextStep("Name a file with -----BEGIN CERTIFICATE----- in it.");
    }
    const identity::CertificateInfo& info = *read;
    PrintPaths(session, {{"subject", info.subject},
                         {"issuer", info.issuer},
                         {"uri", absl::StrJoin(info.uris, ", ")},
                         {"dns", absl::StrJoin(info.dns_names, ", ")},
                         {"ip", absl::StrJoin(info.ip_addresses, ", ")},
                         {"notBefore", Text(info.not_before)},
                         {"notAfter", Text(info.not_after)},
                         {"serial", info.serial}});
    return absl::OkStatus();
  });
}

}  // namespace

void AddPkiCommands(Command* root) {
  Command group = root->Sub("pki", "Certificates for use outside a simulated cluster",
                            "pki ca ./pki --trust-domain lab.example");
  AddCa(&group);
  AddIssue(&group);
  AddShow(&group);
}

}  // namespace keysphere::cli
