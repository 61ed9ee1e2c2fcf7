#ifndef KEYSPHERE_COMMON_STATUS_CALLBACK_H_
#define KEYSPHERE_COMMON_STATUS_CALLBACK_H_

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keysphere::status {

// How an operation of a domain ends: called once, on the strand of the object that was asked.
template <typename T>
using Callback = absl::AnyInvocable<void(absl::StatusOr<T>)>;
using DoneCallback = absl::AnyInvocable<void(absl::Status)>;

}  // namespace keysphere::status

#endif  // KEYSPHERE_COMMON_STATUS_CALLBACK_H_
