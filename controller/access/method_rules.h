#ifndef KEYSPHERE_CONTROLLER_ACCESS_METHOD_RULES_H_
#define KEYSPHERE_CONTROLLER_ACCESS_METHOD_RULES_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

// What each method of the controller's services asks of its caller (S128). Constant.
namespace keysphere::controller::access {

// Any of these privileges will do; nullptr: a method without a rule, refused to everybody.
// `full_method` as "/keysphere.v1.KeyProviders/CreateKeyProvider".
const std::vector<std::string>* RuleOf(absl::string_view full_method);

// All privileges that there are, by name.
const std::vector<std::string>& KnownPrivileges();

}  // namespace keysphere::controller::access

#endif  // KEYSPHERE_CONTROLLER_ACCESS_METHOD_RULES_H_
