#ifndef KEYSPHERE_SERVICES_SIMULATOR_BINARIES_H_
#define KEYSPHERE_SERVICES_SIMULATOR_BINARIES_H_

#include <string>

#include "absl/status/statusor.h"

namespace keysphere::simulator {

// Where a daemon's program is: `given` if that is not empty; else beside this program, as an
// installation lays them out; else where a build has it, ../../FOLDER/NAME. NOT_FOUND.
absl::StatusOr<std::string> FindBinary(const std::string& given, const std::string& folder,
                                       const std::string& name);

}  // namespace keysphere::simulator

#endif  // KEYSPHERE_SERVICES_SIMULATOR_BINARIES_H_
