#ifndef KEYSPHERE_CONTROLLER_ENCRYPTION_AUDIT_H_
#define KEYSPHERE_CONTROLLER_ENCRYPTION_AUDIT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "controller/access/caller.h"
#include "controller/events/event_log.h"
#include "keysphere/v1/types.pb.h"

namespace keysphere::controller::encryption {

// The audit event of a crypto operation that was done (S87): user, time, key ids, operation.
void Audit(events::EventLog* events, const access::Caller& caller, absl::string_view operation,
           absl::string_view object, const v1::CryptoKeyId& key, const v1::CryptoKeyId& old_key,
           const std::string& host);

}  // namespace keysphere::controller::encryption

#endif  // KEYSPHERE_CONTROLLER_ENCRYPTION_AUDIT_H_
