#ifndef KEYSPHERE_HOSTAGENT_TPM_PRIVATE_STACK_H_
#define KEYSPHERE_HOSTAGENT_TPM_PRIVATE_STACK_H_

#include "absl/functional/function_ref.h"

namespace keysphere::hostagent::tpm {

// Runs `work` to its end on a stack of its own that is locked, excluded from dumps and wiped
// afterwards, for libraries that leave secrets in their stack frames. Costs a short-lived thread
// (about 0.1 ms). False: the stack could not be made or locked, and the work ran on an ordinary
// one.
bool RunOnPrivateStack(absl::FunctionRef<void()> work);

}  // namespace keysphere::hostagent::tpm

#endif  // KEYSPHERE_HOSTAGENT_TPM_PRIVATE_STACK_H_
