#include "tools/keysphere/app.h"

#include <google/protobuf/struct.pb.h>

#include "tools/keysphere/commands.h"
#include "tools/keysphere/completion.h"

namespace keysphere::cli {
namespace {

constexpr char kVersion[] = "0.1.0";

void AddGlobalOptions(Command* root, GlobalOptions* globals) {
  root->Choice(&globals->output, "-o,--output", {"table", "json"},
               "how to answer (json: the proto3 JSON of the API's answer)");
  root->Option(&globals->server, "--server", "NAME|IP:PORT",
               "the controller to ask (default: the cluster's first)");
  root->Option(&globals->dir, "--dir", "DIR",
               "the cluster's folder (default: $KEYSPHERE_DIR, else your newest that runs)");
  root->Option(&globals->user, "--user", "NAME",
               "act as this user (`keysphere user issue NAME` makes the certificate)");
  root->Option(&globals->authority, "--authority", "NAME",
               "say this name to the controller instead of its DNS name");
  root->Option(&globals->peer, "--peer", "SPIFFE-ID",
               "outside a cluster: who is to be at --server IP:PORT");
  root->Option(&globals->ca, "--ca-file", "FILE", "outside a cluster: the authority (PEM)");
  root->Option(&globals->certificate, "--cert-file", "FILE",
               "outside a cluster: your certificate (PEM)");
  root->Option(&globals->key, "--key-file", "FILE", "outside a cluster: its private key (PEM)");
}

void AddVersion(Command* root) {
  Command command = root->Sub("version", "The version of this program", "version");
  command.Run([](Session* session) -> absl::Status {
    if (session->json()) {
      google::protobuf::Struct object;
      (*object.mutable_fields())["version"].set_string_value(kVersion);
      return session->PrintJson(object);
    }
    session->out() << "keysphere " << kVersion << '\n';
    return absl::OkStatus();
  });
}

void AddCompletion(Command* root, CommandLine* line) {
  auto shell = std::make_shared<std::string>();
  Command command =
      root->Sub("completion", "Print a completion script for a shell",
                "completion bash > ~/.local/share/bash-completion/completions/keysphere");
  command.Argument(shell.get(), "SHELL", "bash, zsh or fish");
  command.Run([shell, line](Session* session) -> absl::Status {
    const absl::StatusOr<std::string> script = CompletionScript(*shell, line->Describe());
    if (script.ok()) session->out() << *script;
    return script.status();
  });
}

}  // namespace

std::unique_ptr<CommandLine> MakeCommandLine(GlobalOptions* globals) {
  auto line = std::make_unique<CommandLine>("keysphere",
                                            "Drives a cluster of emulated vCenters, ESXi hosts and "
                                            "key servers: key providers, VMs that lock "
                                            "and unlock.",
                                            "up --hosts 3 --tpm 1 --simulated-time --detach");
  Command root = line->root();
  AddGlobalOptions(&root, globals);
  AddLifeCommands(&root);
  AddSimulatorCommands(&root);
  AddProviderCommands(&root);
  AddKmsCommands(&root);
  AddClusterCommands(&root);
  AddHostCommands(&root);
  AddVmCommands(&root);
  AddEventCommands(&root);
  AddTaskCommands(&root);
  AddControllerCommands(&root);
  AddAccessCommands(&root);
  AddPkiCommands(&root);
  AddCompletion(&root, line.get());
  AddVersion(&root);
  return line;
}

int Run(const std::vector<std::string>& arguments, const Environment& environment) {
  GlobalOptions globals;
  const std::unique_ptr<CommandLine> line = MakeCommandLine(&globals);
  const CommandLine::Parsed parsed = line->Parse(arguments, *environment.out, *environment.err);
  if (!parsed.action) return parsed.exit_code;
  Session session(&environment, &globals);
  const absl::Status status = parsed.action(&session);
  environment.out->flush();
  if (status.ok()) return kDone;
  PrintError(status, session.json(), *environment.err);
  return IsUsageError(status) ? kUsage : kRefused;
}

}  // namespace keysphere::cli
