#ifndef KEYSPHERE_CONTROLLER_API_GRPC_HOST_LINK_H_
#define KEYSPHERE_CONTROLLER_API_GRPC_HOST_LINK_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/daemon/daemon.h"
#include "controller/hosts/host_link.h"

namespace keysphere::controller::api {

// Links to host agents over gRPC: mutual TLS, the host proved by its SPIFFE id.
class GrpcHostLinkFactory : public hosts::HostLinkFactory {
 public:
  // `daemon` outlives it and all links.
  explicit GrpcHostLinkFactory(const daemon::Daemon* daemon) : daemon_(daemon) {}

  absl::StatusOr<std::unique_ptr<hosts::HostLink>> Connect(absl::string_view name,
                                                           absl::string_view address) override;

 private:
  const daemon::Daemon* const daemon_;
};

}  // namespace keysphere::controller::api

#endif  // KEYSPHERE_CONTROLLER_API_GRPC_HOST_LINK_H_
