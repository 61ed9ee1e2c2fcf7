#include <fcntl.h>
#include <google/protobuf/struct.pb.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "common/status/status.h"
#include "keysphere/v1/inventory.grpc.pb.h"
#include "tools/keysphere/commands.h"
#include "tools/keysphere/session.h"
#include "tools/keysphere/stream.h"
#include "tools/keysphere/vm_output.h"

namespace keysphere::cli {
namespace {

using Hosts = v1::Hosts;
using Stub = Hosts::Stub;

std::string KeyOf(const v1::CryptoKeyId& key, bool has_key) {
  return has_key ? KeyText(key) : "none (not encrypted)";
}

void AddWrite(Command* host) {
  struct Args {
    std::string name;
    std::string vm;
  };
  auto args = std::make_shared<Args>();
  Command command = host->Sub("core-dump", "Write a core dump of its agent, or of a running VM",
                              "host core-dump esx-1 --vm web-1");
  command.Argument(&args->name, "NAME", "the host");
  command.Option(&args->vm, "--vm", "VM", "of this VM (default: of the agent)");
  command.Run([args](Session* session) -> absl::Status {
    v1::WriteCoreDumpRequest request;
    request.set_host(args->name);
    request.set_vm(args->vm);
    KS_ASSIGN_OR_RETURN(const v1::WriteCoreDumpResponse response,
                        session->Ask<Hosts>(&Stub::async::WriteCoreDump, request));
    return session->Show(response, [session](const v1::WriteCoreDumpResponse& shown) {
      Fields fields;
      fields.Add("file", shown.path())
          .Add("size", FormatBytes(shown.bytes()))
          .Add("key", KeyOf(shown.key(), shown.has_key()))
          .Print(session->out());
    });
  });
}

struct ReadArgs {
  std::string host;
  std::string dump;
  std::string file;
};

absl::Status ReadDump(Session* session, const ReadArgs& args) {
  // Opened, and what it held dropped, only when the host has answered.
  absl::optional<Stream> file;
  Progress progress(session, absl::StrCat("read ", args.dump));
  int64_t bytes = 0;
  v1::ReadCoreDumpRequest request;
  request.set_host(args.host);
  request.set_path(args.dump);
  v1::ReadCoreDumpResponse response;
  do {
    KS_ASSIGN_OR_RETURN(response, session->Ask<Hosts>(&Stub::async::ReadCoreDump, request));
    if (!file.has_value()) {
      KS_ASSIGN_OR_RETURN(Stream opened,
                          Stream::Open(args.file, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO));
      file.emplace(std::move(opened));
    }
    KS_RETURN_IF_ERROR(file->Write(response.data()));
    bytes += static_cast<int64_t>(response.data().size());
    request.set_part(request.part() + 1);
    progress.Tell(request.part(), response.parts());
  } while (request.part() < response.parts());
  // Where the dump itself goes to stdout, nothing else does.
  if (args.file == "-") return absl::OkStatus();
  if (!session->json()) {
    Fields fields;
    fields.Add("file", args.file)
        .Add("size", FormatBytes(bytes))
        .Add("opened with", KeyOf(response.key(), response.has_key()))
        .Print(session->out());
    return absl::OkStatus();
  }
  google::protobuf::Struct object;
  auto& fields = *object.mutable_fields();
  fields["host"].set_string_value(args.host);
  fields["dump"].set_string_value(args.dump);
  fields["file"].set_string_value(args.file);
  fields["bytes"].set_string_value(absl::StrCat(bytes));  // as 64-bit counts are in JSON
  if (response.has_key()) {
    auto& key = *fields["key"].mutable_struct_value()->mutable_fields();
    key["providerId"].set_string_value(response.key().provider_id());
    key["keyId"].set_string_value(response.key().key_id());
  }
  KS_ASSIGN_OR_RETURN(const std::string text, ToJson(object));
  session->out() << text;
  return absl::OkStatus();
}

void AddRead(Command* host) {
  auto args = std::make_shared<ReadArgs>();
  Command command = host->Sub(
      "core-dump-read", "Open a core dump with the key that it names, if the host has it",
      "host core-dump-read esx-1 /tmp/c/state/esx-1/dumps/web-1-1.kscore --file web-1.core");
  command.Argument(&args->host, "NAME", "the host that wrote it");
  command.Argument(&args->dump, "DUMP", "its path, as core-dump told it");
  command.Required(&args->file, "--file", "FILE", "where it goes; -: stdout");
  command.Run([args](Session* session) { return ReadDump(session, *args); });
}

}  // namespace

void AddCoreDumpCommands(Command* host) {
  AddWrite(host);
  AddRead(host);
}

}  // namespace keysphere::cli
