#ifndef KEYSPHERE_SERVICES_SIMULATOR_FAILURE_H_
#define KEYSPHERE_SERVICES_SIMULATOR_FAILURE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace keysphere::simulator {

// How a simulator that does not become READY tells whoever started it why, on one line of its
// stdout: "FAILED " and a JSON object of the ErrorDetail's fields and the "message".
std::string FailedLine(const absl::Status& failure);

// The failure in such a line; OK: the line is none.
absl::Status ParseFailedLine(absl::string_view line);

}  // namespace keysphere::simulator

#endif  // KEYSPHERE_SERVICES_SIMULATOR_FAILURE_H_
