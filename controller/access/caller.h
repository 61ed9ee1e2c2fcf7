#ifndef KEYSPHERE_CONTROLLER_ACCESS_CALLER_H_
#define KEYSPHERE_CONTROLLER_ACCESS_CALLER_H_

#include <string>

namespace keysphere::controller::access {

// Who asks for an operation of the controller.
struct Caller {
  // The NAME of spiffe://DOMAIN/user/NAME; empty: the controller itself.
  std::string user;
  // What the client dialled: "vcenter-a.keysphere.test:7443" (S3).
  std::string authority;
};

}  // namespace keysphere::controller::access

#endif  // KEYSPHERE_CONTROLLER_ACCESS_CALLER_H_
