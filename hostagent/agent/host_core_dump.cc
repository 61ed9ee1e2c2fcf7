// Core dumps, encrypted: WriteCoreDump, ReadCoreDump.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "hostagent/agent/host_agent.h"
#include "hostagent/agent/host_agent_serve.h"
#include "hostagent/dump/core.h"

namespace keysphere::hostagent::agent {
namespace {

using host::v1::ReadCoreDumpResponse;
using host::v1::WriteCoreDumpResponse;

}  // namespace

// The agent's own dump, under way; on the file strand.
struct HostAgent::CoreDump {
  std::string folder;
  std::string path;
  dump::DumpHeader header;
  crypto::SecretKey key;
  std::unique_ptr<dump::DumpWriter> writer;
  absl::optional<dump::Core> core;
};

void HostAgent::CryptoModeChanged() {
  const config::HostKey& key = host_.configuration().host_key();
  if (host_.safe() && (KeyIdOf(key).SerializeAsString() != host_key_id_.SerializeAsString())) {
    absl::StatusOr<crypto::SecretKey> taken = host_.keys.HostKey(key.provider(), key.key_id());
    if (taken.ok()) {
      host_key_ = *std::move(taken);
      host_key_id_ = KeyIdOf(key);
    }
  }
  StatusChanged();
}

absl::StatusOr<std::shared_ptr<HostAgent::CoreDump>> HostAgent::PlanCoreDump() const {
  if (host_.options.memory == nullptr) {
    return status::Error(v1::REASON_UNSUPPORTED, "the host has no process of its own to dump")
        .Object("host", host_.options.name);
  }
  auto dump = std::make_shared<CoreDump>();
  dump->header = NewDumpHeader(host_);
  const v1::CryptoState state = host_.crypto_state();
  if (state == v1::CRYPTO_STATE_SAFE || state == v1::CRYPTO_STATE_PENDING_INCAPABLE) {
    if (host_key_.empty()) {
      return status::Error(v1::REASON_KEY_MISSING_ON_HOST, "the host does not hold its host key")
          .Object("host", host_.options.name);
    }
    KS_ASSIGN_OR_RETURN(dump->key, host_key_.Clone());
    dump->header.set_provider(host_key_id_.provider_id());
    dump->header.set_key_id(host_key_id_.key_id());
  }
  dump->folder = DumpFolder(host_.options);
  dump->path = NewDumpPath(host_, "hostagent");
  return dump;
}

void HostAgent::StepCoreDump(std::shared_ptr<CoreDump> dump, Callback<WriteCoreDumpResponse> done) {
  file_strand_.Post([this, dump, done = std::move(done)]() mutable {
    const auto step = [this, &dump]() -> absl::StatusOr<uint64_t> {
      if (dump->writer == nullptr) {
        KS_RETURN_IF_ERROR(host_.options.files->MakeFolders(dump->folder));
        KS_ASSIGN_OR_RETURN(dump->writer,
                            dump::DumpWriter::Create(*host_.options.files, dump->path, dump->header,
                                                     std::move(dump->key)));
        KS_ASSIGN_OR_RETURN(dump->core, dump::Core::Take(*host_.options.memory));
      }
      KS_ASSIGN_OR_RETURN(const bool all, dump->core->Step(dump->writer.get()));
      if (!all) return 0;
      return dump->writer->Finish();
    };
    const absl::StatusOr<uint64_t> written = step();
    if (written.ok() && *written == 0) {
      StepCoreDump(std::move(dump), std::move(done));  // others may have a turn
      return;
    }
    host_.strand.Post([this, dump, written, done = std::move(done)]() mutable {
      dumping_ = false;
      if (!written.ok()) {
        done(written.status());
      } else {
        done(DumpAnswer(dump->path, dump->header, *written));
      }
    });
  });
}

void HostAgent::WriteCoreDump(const Caller& caller, const host::v1::WriteCoreDumpRequest& request,
                              Callback<WriteCoreDumpResponse> done) {
  Serve(caller, Right::kEncrypt, request, std::move(done),
        [this](const host::v1::WriteCoreDumpRequest& req, Callback<WriteCoreDumpResponse> answer) {
          if (!req.vm().empty()) return vms_->WriteCore(req.vm(), std::move(answer));
          if (dumping_) {
            return answer(status::Error(v1::REASON_OVERLOADED, "a core dump is under way")
                              .Object("host", host_.options.name)
                              .NextStep("try again later"));
          }
          absl::StatusOr<std::shared_ptr<CoreDump>> dump = PlanCoreDump();
          if (!dump.ok()) return answer(dump.status());
          dumping_ = true;
          StepCoreDump(*std::move(dump), std::move(answer));
        });
}

absl::StatusOr<ReadCoreDumpResponse> HostAgent::ReadDumpPart(
    const host::v1::ReadCoreDumpRequest& request, const crypto::SecretKey& host_key,
    const v1::CryptoKeyId& host_key_id) const {
  const auto key = [&](const dump::DumpHeader& header) -> absl::StatusOr<crypto::SecretKey> {
    if (!header.wrapped_key().empty()) return host_.keys.VmKek(header.provider(), header.key_id());
    // Gone from the cache, the host key serves until the reboot (S150).
    if (!host_key.empty() && host_key_id.provider_id() == header.provider() &&
        host_key_id.key_id() == header.key_id()) {
      return host_key.Clone();
    }
    return host_.keys.HostKey(header.provider(), header.key_id());
  };
  KS_ASSIGN_OR_RETURN(const dump::DumpReader reader,
                      dump::DumpReader::Open(*host_.options.files, request.path(), key));
  ReadCoreDumpResponse response;
  KS_ASSIGN_OR_RETURN(*response.mutable_data(),
                      reader.Chunk(static_cast<uint64_t>(request.part())));
  response.set_parts(static_cast<int64_t>(reader.chunks()));
  if (!reader.header().key_id().empty()) {
    response.mutable_key()->set_provider_id(reader.header().provider());
    response.mutable_key()->set_key_id(reader.header().key_id());
  }
  return response;
}

void HostAgent::ReadCoreDump(const Caller& caller, const host::v1::ReadCoreDumpRequest& request,
                             Callback<ReadCoreDumpResponse> done) {
  Serve(caller, Right::kEncrypt, request, std::move(done),
        [this](const host::v1::ReadCoreDumpRequest& req, Callback<ReadCoreDumpResponse> answer) {
          // What lies elsewhere is no dump of this host's, whatever is in it.
          if (files::FolderOf(req.path()) != DumpFolder(host_.options)) {
            return answer(status::Error(v1::REASON_NOT_FOUND, "the host has no such core dump")
                              .Object("dump", req.path())
                              .NextStep("Name it by the path that the dump's writing answered."));
          }
          auto host_key = std::make_shared<crypto::SecretKey>();
          if (!host_key_.empty()) {
            absl::StatusOr<crypto::SecretKey> cloned = host_key_.Clone();
            if (!cloned.ok()) return answer(cloned.status());
            *host_key = *std::move(cloned);
          }
          file_strand_.Post([this, req, host_key, host_key_id = host_key_id_,
                             answer = std::move(answer)]() mutable {
            absl::StatusOr<ReadCoreDumpResponse> part = ReadDumpPart(req, *host_key, host_key_id);
            host_.strand.Post([part = std::move(part), answer = std::move(answer)]() mutable {
              answer(std::move(part));
            });
          });
        });
}

}  // namespace keysphere::hostagent::agent
