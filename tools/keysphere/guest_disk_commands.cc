#include <fcntl.h>
#include <google/protobuf/struct.pb.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "common/status/status.h"
#include "keysphere/host/v1/host_vms.grpc.pb.h"
#include "keysphere/v1/inventory.grpc.pb.h"
#include "tools/keysphere/commands.h"
#include "tools/keysphere/session.h"
#include "tools/keysphere/stream.h"

namespace keysphere::cli {
namespace {

using HostVms = host::v1::HostVms;
using Stub = HostVms::Stub;

// The most that a host reads or writes at once.
constexpr int64_t kChunkBytes = 1 << 20;
// Of a pipe, to see whether it fits.
constexpr int64_t kMaxAheadBytes = 64 << 20;

struct Args {
  std::string vm;
  std::string host;
  std::string disk;
  std::string offset = "0";
  std::string length;
  std::string file;

  void AddTo(Command* command) {
    command->Argument(&vm, "VM", "a running virtual machine");
    command->Option(&host, "--host", "HOST", "where it is (default: as its controller says)");
    command->Option(&disk, "--disk", "LABEL", "as scsi0:0 (default: the first)");
    command->Option(&offset, "--offset", "BYTES", "where to begin (default: 0)");
    command->Option(&length, "--length", "BYTES", "how much (default: all)");
  }
};

// The host's agent: it serves guests also while its controller is away.
absl::StatusOr<Session::ChannelPtr> HostOf(Session* session, const Args& args) {
  if (!args.host.empty()) return session->Host(args.host);
  v1::GetVmRequest request;
  request.set_vm(args.vm);
  KS_ASSIGN_OR_RETURN(const v1::Vm vm, session->Ask<v1::VirtualMachines>(
                                           &v1::VirtualMachines::Stub::async::GetVm, request));
  return session->Host(vm.host());
}

// What was done. As JSON: 64-bit counts are strings, as in all JSON of this program.
absl::Status Tell(Session* session, const Args& args, const std::string& did, int64_t offset,
                  int64_t bytes) {
  const bool standard = args.file == "-";
  // Where the data itself goes to stdout, nothing else does.
  std::ostream& out = standard && did == "read" ? session->err() : session->out();
  if (!session->json()) {
    if (did == "write") {
      session->Warn("wrote ", bytes, " bytes");
    } else if (!standard) {
      session->Warn("read ", bytes, " bytes into ", args.file);
    }
    return absl::OkStatus();
  }
  google::protobuf::Struct object;
  auto& fields = *object.mutable_fields();
  fields["vm"].set_string_value(args.vm);
  fields["disk"].set_string_value(args.disk);
  fields["offset"].set_string_value(absl::StrCat(offset));
  fields["bytes"].set_string_value(absl::StrCat(bytes));
  fields["file"].set_string_value(args.file);
  KS_ASSIGN_OR_RETURN(const std::string text, ToJson(object));
  out << text;
  return absl::OkStatus();
}

absl::Status DoesNotFit(const Args& args, int64_t capacity, int64_t offset,
                        const std::string& bytes, const std::string& did) {
  return status::Error(v1::REASON_INVALID_ARGUMENT,
                       absl::StrCat("the disk has ", capacity, " bytes: ", bytes,
                                    " bytes from offset ", offset, " do not fit"))
      .Object("vm", args.vm)
      .NextStep(absl::StrCat("Nothing was ", did, ". Say --offset and --length that fit."));
}

absl::StatusOr<int64_t> CapacityOf(Session* session, const Session::ChannelPtr& channel,
                                   const Args& args) {
  host::v1::ReadGuestDiskRequest request;
  request.set_vm(args.vm);
  request.set_disk(args.disk);
  KS_ASSIGN_OR_RETURN(const host::v1::ReadGuestDiskResponse response,
                      session->AskAt<HostVms>(channel, &Stub::async::ReadGuestDisk, request));
  return response.capacity_bytes();
}

absl::Status ReadDisk(Session* session, const Args& args) {
  KS_ASSIGN_OR_RETURN(int64_t offset, ParseBytes(args.offset));
  int64_t length = -1;
  if (!args.length.empty()) {
    KS_ASSIGN_OR_RETURN(length, ParseBytes(args.length));
  }
  KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, HostOf(session, args));
  KS_ASSIGN_OR_RETURN(const int64_t capacity, CapacityOf(session, channel, args));
  const int64_t room = capacity - offset;
  if (room < 0 || length > room) {
    return DoesNotFit(args, capacity, offset, absl::StrCat(std::max<int64_t>(length, 0)), "read");
  }
  const int64_t begin = offset;
  const int64_t end = offset + (length < 0 ? room : length);
  // Opened, and what it held dropped, only when the host has answered.
  absl::optional<Stream> file;
  Progress progress(session, absl::StrCat("read ", args.vm));
  do {
    host::v1::ReadGuestDiskRequest request;
    request.set_vm(args.vm);
    request.set_disk(args.disk);
    request.set_offset(offset);
    request.set_length(static_cast<int32_t>(std::min(end - offset, kChunkBytes)));
    KS_ASSIGN_OR_RETURN(const host::v1::ReadGuestDiskResponse response,
                        session->AskAt<HostVms>(channel, &Stub::async::ReadGuestDisk, request));
    if (!file.has_value()) {
      KS_ASSIGN_OR_RETURN(Stream opened,
                          Stream::Open(args.file, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO));
      file.emplace(std::move(opened));
    }
    if (response.data().empty()) break;
    KS_RETURN_IF_ERROR(file->Write(response.data()));
    offset += response.data().size();
    progress.Tell(offset - begin, end - begin);
  } while (offset < end);
  return Tell(session, args, "read", begin, offset - begin);
}

// What is to be written, `bytes` of `file` (-1: all of it, and nobody knows how much that is), so
// that nothing is written of what does not fit. What it had to read for that is in `ahead`.
absl::Status CheckFits(Session* session, const Session::ChannelPtr& channel, const Args& args,
                       int64_t offset, int64_t bytes, const Stream& file, std::string* ahead) {
  KS_ASSIGN_OR_RETURN(const int64_t capacity, CapacityOf(session, channel, args));
  const int64_t room = capacity - offset;
  if (room < 0 || bytes > room) {
    return DoesNotFit(args, capacity, offset, absl::StrCat(std::max<int64_t>(bytes, 0)), "written");
  }
  // A pipe into a larger disk is written as it comes.
  if (bytes >= 0 || room > kMaxAheadBytes) return absl::OkStatus();
  KS_ASSIGN_OR_RETURN(*ahead, file.Read(room + 1));
  if (static_cast<int64_t>(ahead->size()) <= room) return absl::OkStatus();
  return DoesNotFit(args, capacity, offset, absl::StrCat("more than ", room), "written");
}

absl::Status WriteDisk(Session* session, const Args& args) {
  KS_ASSIGN_OR_RETURN(int64_t offset, ParseBytes(args.offset));
  int64_t rest = -1;
  if (!args.length.empty()) {
    KS_ASSIGN_OR_RETURN(rest, ParseBytes(args.length));
  }
  KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, HostOf(session, args));
  KS_ASSIGN_OR_RETURN(const Stream file, Stream::Open(args.file, O_RDONLY, STDIN_FILENO));
  int64_t total = file.Left();
  if (total < 0 || (rest >= 0 && rest < total)) total = rest;
  std::string ahead;
  KS_RETURN_IF_ERROR(CheckFits(session, channel, args, offset, total, file, &ahead));
  size_t taken = 0;
  const auto read = [&]() -> absl::StatusOr<std::string> {
    if (taken == ahead.size()) {
      return file.Read(rest < 0 ? kChunkBytes : std::min(rest, kChunkBytes));
    }
    std::string chunk = ahead.substr(taken, kChunkBytes);
    taken += chunk.size();
    return chunk;
  };
  Progress progress(session, absl::StrCat("write ", args.vm));
  const int64_t begin = offset;
  KS_ASSIGN_OR_RETURN(std::string data, read());
  while (!data.empty()) {
    host::v1::WriteGuestDiskRequest request;
    request.set_vm(args.vm);
    request.set_disk(args.disk);
    request.set_offset(offset);
    const int64_t size = data.size();
    if (rest >= 0) rest -= size;
    // What comes next decides whether this is the last: that one makes all durable.
    KS_ASSIGN_OR_RETURN(std::string next, read());
    request.set_data(std::move(data));
    request.set_flush(next.empty());
    KS_RETURN_IF_ERROR(
        session->AskAt<HostVms>(channel, &Stub::async::WriteGuestDisk, std::move(request))
            .status());
    offset += size;
    progress.Tell(offset - begin, total);
    data = std::move(next);
  }
  return Tell(session, args, "write", begin, offset - begin);
}

}  // namespace

void AddGuestDiskCommands(Command* vm) {
  {
    auto args = std::make_shared<Args>();
    Command command = vm->Sub("read", "Read a disk as the guest sees it",
                              "vm read web-1 --disk scsi0:0 --file disk.img");
    args->AddTo(&command);
    command.Required(
        &args->file, "--file", "FILE",
        "where the bytes go; -: stdout (with -o json what was read is told on stderr)");
    command.Run([args](Session* session) { return ReadDisk(session, *args); });
  }
  {
    auto args = std::make_shared<Args>();
    Command command = vm->Sub("write", "Write a disk as the guest would; durable at the end",
                              "vm write web-1 --offset 1M --file patch.bin");
    args->AddTo(&command);
    command.Required(&args->file, "--file", "FILE", "where the bytes come from; -: stdin");
    command.Run([args](Session* session) { return WriteDisk(session, *args); });
  }
}

}  // namespace keysphere::cli
