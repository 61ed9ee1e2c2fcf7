#ifndef KEYSPHERE_HOSTAGENT_AGENT_ERRORS_H_
#define KEYSPHERE_HOSTAGENT_AGENT_ERRORS_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

// Errors of the parts of a host, as a person shall read them.
namespace keysphere::hostagent::agent {

// `status`, about this object where it names none.
absl::Status About(const absl::Status& status, absl::string_view kind, absl::string_view name);

// What an operation hears on a VM whose files could not be used when they were read: with the step
// that makes the host read them anew, which restoring a file does not.
absl::Status FilesRefusal(const absl::Status& problem);

// `status` with `edit` applied to every text of it.
absl::Status Edited(const absl::Status& status,
                    absl::FunctionRef<std::string(const std::string&)> edit);

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_ERRORS_H_
