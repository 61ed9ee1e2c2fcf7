#ifndef KEYSPHERE_KMIP_NET_RESOLVER_H_
#define KEYSPHERE_KMIP_NET_RESOLVER_H_

#include <string>
#include <thread>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "kmip/net/loop.h"

namespace keysphere::kmip::net {

// Looks DNS names up, one at a time, on a thread that runs only meanwhile: the system's resolver
// blocks. For one thread, but for the destructor.
class Resolver {
 public:
  // `loop` outlives it.
  explicit Resolver(Loop* loop) : loop_(loop) {}
  // Waits for the look-up under way.
  ~Resolver() { Join(); }
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // `done` gets the first address, on the loop. Not while a look-up is under way.
  void Resolve(std::string host, absl::AnyInvocable<void(absl::StatusOr<std::string>)> done);
  void Join();

 private:
  Loop* const loop_;
  std::thread thread_;
};

}  // namespace keysphere::kmip::net

#endif  // KEYSPHERE_KMIP_NET_RESOLVER_H_
