// Core dumps of running VMs.
#include <openssl/crypto.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "hostagent/agent/vm_registry.h"

namespace keysphere::hostagent::agent {

using host::v1::WriteCoreDumpResponse;

std::string DumpFolder(const HostOptions& options) {
  return absl::StrCat(options.state_dir, "/dumps");
}

std::string NewDumpPath(const HostContext& host, absl::string_view what) {
  const std::string when =
      absl::FormatTime("%Y%m%dT%H%M%SZ", host.options.clock->Now(), absl::UTCTimeZone());
  return absl::StrCat(DumpFolder(host.options), "/", files::PathSafe(what), "-", when, "-",
                      host.options.random->Uuid().substr(0, 8), ".kscore");
}

dump::DumpHeader NewDumpHeader(const HostContext& host) {
  dump::DumpHeader header;
  header.set_host(host.options.name);
  header.set_chunk_bytes(1 << 20);
  header.set_written_at(absl::ToUnixSeconds(host.options.clock->Now()));
  return header;
}

WriteCoreDumpResponse DumpAnswer(const std::string& path, const dump::DumpHeader& header,
                                 uint64_t bytes) {
  WriteCoreDumpResponse response;
  response.set_path(path);
  response.set_bytes(static_cast<int64_t>(bytes));
  if (!header.key_id().empty()) {
    response.mutable_key()->set_provider_id(header.provider());
    response.mutable_key()->set_key_id(header.key_id());
  }
  return response;
}

namespace {

// The size of the file. An encrypted VM's goes under the key of its home (S103).
absl::StatusOr<uint64_t> WriteVmCore(const HostContext& host, const vm::RunningVm& running,
                                     const std::string& path, const dump::DumpHeader& header) {
  crypto::SecretKey key;
  if (running.home_dek() != nullptr) {
    KS_ASSIGN_OR_RETURN(key, running.home_dek()->Clone());
  }
  KS_RETURN_IF_ERROR(host.options.files->MakeFolders(DumpFolder(host.options)));
  KS_ASSIGN_OR_RETURN(const std::unique_ptr<dump::DumpWriter> writer,
                      dump::DumpWriter::Create(*host.options.files, path, header, std::move(key)));
  KS_ASSIGN_OR_RETURN(std::string state, running.State());
  const absl::Status written = writer->Write(state);
  OPENSSL_cleanse(&state[0], state.size());
  KS_RETURN_IF_ERROR(written);
  return writer->Finish();
}

}  // namespace

void VmRegistry::WriteCore(const std::string& name, Callback<WriteCoreDumpResponse> done) {
  RunOn<WriteCoreDumpResponse>(
      name, std::move(done), [this](const VmPtr& vm, Callback<WriteCoreDumpResponse> answer) {
        const absl::Status on = CheckOn(*vm);
        if (!on.ok()) {
          answer(on);
          return;
        }
        dump::DumpHeader header = NewDumpHeader(*host_);
        header.set_vm(vm->name());
        if (vm->encrypted()) {
          header.set_provider(vm->view.key_id().provider_id());
          header.set_key_id(vm->view.key_id().key_id());
        }
        const std::string path = NewDumpPath(*host_, vm->name());
        OnVm(
            vm,
            [this, path, header](VmRecord::Files* files) {
              return WriteVmCore(*host_, *files->running, path, header);
            },
            [path, header, answer = std::move(answer)](absl::StatusOr<uint64_t> bytes) mutable {
              if (!bytes.ok()) {
                answer(bytes.status());
              } else {
                answer(DumpAnswer(path, header, *bytes));
              }
            });
      });
}

}  // namespace keysphere::hostagent::agent
