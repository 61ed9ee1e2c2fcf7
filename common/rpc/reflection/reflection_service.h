#ifndef KEYSPHERE_COMMON_RPC_REFLECTION_REFLECTION_SERVICE_H_
#define KEYSPHERE_COMMON_RPC_REFLECTION_REFLECTION_SERVICE_H_

#include <grpcpp/impl/service_type.h>

#include <memory>
#include <string>
#include <vector>

namespace keysphere::rpc {

// gRPC server reflection (grpc.reflection.v1alpha) of these services and of all files that are
// linked into the program, for clients such as grpcurl. Answers what is compiled in, so that every
// caller with a certificate may ask.
std::unique_ptr<grpc::Service> NewReflectionService(std::vector<std::string> services);

}  // namespace keysphere::rpc

#endif  // KEYSPHERE_COMMON_RPC_REFLECTION_REFLECTION_SERVICE_H_
