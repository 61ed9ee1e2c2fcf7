#ifndef KEYSPHERE_CONTROLLER_ENCRYPTION_AUDIT_H_
#define KEYSPHERE_CONTROLLER_ENCRYPTION_AUDIT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "controller/access/caller.h"
#include "controller/encryption/records.pb.h"
#include "controller/events/event_log.h"
#include "keysphere/v1/types.pb.h"

namespace keysphere::controller::encryption {

// The argument of an audit event that names the operation's task, where it has one.
inline constexpr char kTaskArgument[] = "task";

// The audit event of a crypto operation that was done (S87): user, time, key ids, operation.
void Audit(events::EventLog* events, const access::Caller& caller, absl::string_view operation,
           absl::string_view object, const v1::CryptoKeyId& key, const v1::CryptoKeyId& old_key,
           const std::string& host, const std::string& task = "");

// The same where the host's answer was lost and the VM shows that the operation was done: its time
// is when that was seen.
void AuditLost(events::EventLog* events, const CryptoWork& work, const v1::CryptoKeyId& key,
               const std::string& task);

}  // namespace keysphere::controller::encryption

#endif  // KEYSPHERE_CONTROLLER_ENCRYPTION_AUDIT_H_
