// Core dumps of running VMs.
#include <openssl/crypto.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "hostagent/agent/vm_registry.h"
#include "hostagent/vm/running_vm.h"
#include "hostagent/vm/vm_config.h"

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

// An encrypted VM's goes under the key of its home (S103), which the dump carries wrapped: who has
// the key that it names opens it.
absl::StatusOr<WriteCoreDumpResponse> WriteVmCore(const HostContext& host,
                                                  const vm::RunningVm& running,
                                                  const std::string& path,
                                                  dump::DumpHeader header) {
  crypto::SecretKey key;
  if (running.home_dek() != nullptr) {
    const vm::SealedConfig* const sealed = running.sealed();
    if (sealed == nullptr) {
      return status::Error(v1::REASON_INTERNAL, "an encrypted VM runs without its key safe")
          .Object("vm", header.vm());
    }
    KS_ASSIGN_OR_RETURN(key, running.home_dek()->Clone());
    header.set_provider(sealed->home.key.provider);
    header.set_key_id(sealed->home.key.key_id);
    header.set_wrapped_key(sealed->home.blob);
    header.set_vm_guid(sealed->guid);
  }
  KS_RETURN_IF_ERROR(host.options.files->MakeFolders(DumpFolder(host.options)));
  KS_ASSIGN_OR_RETURN(const std::unique_ptr<dump::DumpWriter> writer,
                      dump::DumpWriter::Create(*host.options.files, path, header, std::move(key)));
  KS_ASSIGN_OR_RETURN(std::string state, running.State());
  const absl::Status written = writer->Write(state);
  OPENSSL_cleanse(&state[0], state.size());
  KS_RETURN_IF_ERROR(written);
  KS_ASSIGN_OR_RETURN(const uint64_t bytes, writer->Finish());
  return DumpAnswer(path, header, bytes);
}

}  // namespace

void VmRegistry::WriteCore(const std::string& name, Callback<WriteCoreDumpResponse> done) {
  RunOn<WriteCoreDumpResponse>(name, std::move(done),
                               [this](const VmPtr& vm, Callback<WriteCoreDumpResponse> answer) {
                                 const absl::Status on = CheckOn(*vm);
                                 if (!on.ok()) {
                                   answer(on);
                                   return;
                                 }
                                 dump::DumpHeader header = NewDumpHeader(*host_);
                                 header.set_vm(vm->name());
                                 const std::string path = NewDumpPath(*host_, vm->name());
                                 OnVm(
                                     vm,
                                     [this, path, header](VmRecord::Files* files) {
                                       return WriteVmCore(*host_, *files->running, path, header);
                                     },
                                     std::move(answer));
                               });
}

}  // namespace keysphere::hostagent::agent
