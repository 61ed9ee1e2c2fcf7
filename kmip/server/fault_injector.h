#ifndef KEYSPHERE_KMIP_SERVER_FAULT_INJECTOR_H_
#define KEYSPHERE_KMIP_SERVER_FAULT_INJECTOR_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "kmip/messages/enums.h"

namespace keysphere::kmip::server {

// What a key server under simulation does wrong. Asked by the listener for each connection and
// message, and by the engine for each object. Thread safe.
class FaultInjector {
 public:
  virtual ~FaultInjector() = default;

  // A new connection is closed before its handshake.
  virtual bool RefusesConnection() { return false; }

  // What happens to one request message.
  struct MessageFault {
    // The answer is held back for so long (InfiniteDuration: for ever; the connection stays).
    absl::Duration delay = absl::ZeroDuration();
    // General Failure instead of the answer; nothing is carried out.
    bool fail = false;
    // The connection ends when so many bytes of the answer are sent.
    absl::optional<size_t> drop_after_bytes;
  };
  virtual MessageFault OnMessage() { return MessageFault(); }

  // An object of that identifier behaves as if it were not there, or were not active.
  enum class ObjectFault { kNone, kMissing, kNotActive };
  virtual ObjectFault OnObject(absl::string_view /*uid*/) { return ObjectFault::kNone; }

  // A request asks for this; each item of a batch.
  virtual void OnOperation(messages::Operation /*operation*/) {}
  // Between the commit of a request with a Create and its answer.
  virtual void OnCreated() {}
};

}  // namespace keysphere::kmip::server

#endif  // KEYSPHERE_KMIP_SERVER_FAULT_INJECTOR_H_
