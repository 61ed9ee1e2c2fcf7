#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <tss2/tss2_tctildr.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/files/file_system.h"
#include "common/status/status.h"
#include "hostagent/tpm/transport.h"

namespace keysphere::hostagent::tpm {
namespace {

constexpr time_t kControlSeconds = 10;

absl::Status TctiError(absl::string_view tcti, absl::string_view what) {
  return status::Error(v1::REASON_TPM_FAILED, absl::StrCat(what, ": ", status::Quote(tcti)))
      .NextStep("Check that the TPM of --tpm-tcti is there and that nobody else uses it.");
}

// Where a swtpm listens for control commands.
struct ControlAddress {
  std::string path;  // or:
  std::string host = "127.0.0.1";
  uint32_t port = 2322;
};

absl::StatusOr<ControlAddress> ControlAddressOf(absl::string_view tcti) {
  ControlAddress address;
  absl::string_view settings = tcti;
  absl::ConsumePrefix(&settings, "swtpm");
  absl::ConsumePrefix(&settings, ":");
  for (absl::string_view setting : absl::StrSplit(settings, ',', absl::SkipEmpty())) {
    uint32_t port = 0;
    if (absl::ConsumePrefix(&setting, "path=")) {
      address.path = absl::StrCat(setting, ".ctrl");
    } else if (absl::ConsumePrefix(&setting, "host=")) {
      address.host = std::string(setting);
    } else if (absl::ConsumePrefix(&setting, "port=") && absl::SimpleAtoi(setting, &port) &&
               port > 0 && port < 65535) {
      address.port = port + 1;
    } else {
      return status::Error(v1::REASON_INVALID_ARGUMENT,
                           absl::StrCat("not a TCTI string of swtpm: ", status::Quote(tcti)))
          .NextStep("Write swtpm:host=ADDRESS,port=PORT or swtpm:path=SOCKET.");
    }
  }
  return address;
}

files::Descriptor ConnectUnix(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return {};
  std::memcpy(address.sun_path, path.data(), path.size());
  files::Descriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid() ||
      connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return {};
  }
  return fd;
}

files::Descriptor ConnectTcp(const std::string& host, uint32_t port) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &found) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(found, &freeaddrinfo);
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    files::Descriptor fd(socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol));
    if (fd.valid() && connect(fd.get(), a->ai_addr, a->ai_addrlen) == 0) return fd;
  }
  return {};
}

// swtpm's control protocol: a command number and its arguments, answered with a result; all of them
// 32 bits in network order.
absl::StatusOr<uint32_t> Control(int fd, std::vector<uint32_t> words) {
  for (uint32_t& word : words) word = htonl(word);
  const size_t size = words.size() * sizeof(uint32_t);
  uint32_t result = 0;
  if (send(fd, words.data(), size, MSG_NOSIGNAL) != static_cast<ssize_t>(size) ||
      recv(fd, &result, sizeof(result), MSG_WAITALL) != sizeof(result)) {
    return status::Error(
        v1::REASON_TPM_FAILED,
        absl::StrCat("swtpm's control channel does not answer: ", std::strerror(errno)));
  }
  return ntohl(result);
}

absl::Status ResetSwtpm(absl::string_view tcti) {
  constexpr uint32_t kCmdInit = 2;  // stops a running TPM, then starts it
  constexpr uint32_t kNoFlags = 0;
  KS_ASSIGN_OR_RETURN(const ControlAddress address, ControlAddressOf(tcti));
  const files::Descriptor fd =
      address.path.empty() ? ConnectTcp(address.host, address.port) : ConnectUnix(address.path);
  if (!fd.valid()) return TctiError(tcti, "swtpm's control channel cannot be reached");
  const timeval limit = {kControlSeconds, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  KS_ASSIGN_OR_RETURN(const uint32_t result, Control(fd.get(), {kCmdInit, kNoFlags}));
  if (result != 0) return TctiError(tcti, absl::StrCat("swtpm does not reset, error ", result));
  return absl::OkStatus();
}

class TctiTransport : public Transport {
 public:
  explicit TctiTransport(absl::string_view name) : name_(name) {}
  ~TctiTransport() override { Tss2_TctiLdr_Finalize(&context_); }

  bool can_power_cycle() const override {
    return name_ == "swtpm" || absl::StartsWith(name_, "swtpm:");
  }
  bool leaves_process() const override { return true; }
  TSS2_TCTI_CONTEXT* tcti() override { return context_; }

  absl::Status PowerCycle() override {
    Tss2_TctiLdr_Finalize(&context_);
    context_ = nullptr;
    if (can_power_cycle()) KS_RETURN_IF_ERROR(ResetSwtpm(name_));
    if (Tss2_TctiLdr_Initialize(name_.c_str(), &context_) != TSS2_RC_SUCCESS) {
      context_ = nullptr;
      return TctiError(name_, "the TPM cannot be reached");
    }
    return absl::OkStatus();
  }

 private:
  const std::string name_;
  TSS2_TCTI_CONTEXT* context_ = nullptr;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> MakeTctiTransport(absl::string_view tcti) {
  if (tcti.empty()) return status::Error(v1::REASON_INVALID_ARGUMENT, "the TCTI string is empty");
  return std::unique_ptr<Transport>(std::make_unique<TctiTransport>(tcti));
}

}  // namespace keysphere::hostagent::tpm
