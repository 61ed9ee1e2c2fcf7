#ifndef KEYSPHERE_COMMON_STATUS_REDACT_H_
#define KEYSPHERE_COMMON_STATUS_REDACT_H_

#include <string>

#include "google/protobuf/message.h"

namespace keysphere::status {

// The only printer of messages: one line in text format, in which every set field that bears the
// option `(keysphere.secret) = true`, at any depth and inside Any, reads `<hidden>`. Unknown fields
// are counted, not shown. Map entries are sorted.
std::string PrintRedacted(const google::protobuf::Message& message);

}  // namespace keysphere::status

#endif  // KEYSPHERE_COMMON_STATUS_REDACT_H_
