#ifndef KEYSPHERE_HOSTAGENT_TPM_FIRMWARE_H_
#define KEYSPHERE_HOSTAGENT_TPM_FIRMWARE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/files/file_system.h"

namespace keysphere::hostagent::tpm {

// The host's firmware settings, `firmware.json` in the TPM's folder: a JSON object such as
// {"secureBoot": true}. It stands for what real firmware measures into PCR 7: the state of Secure
// Boot and its keys. Edit it to play a changed firmware (S138); any member counts.

// SHA-256 of the settings, 32 bytes. Spacing and the order of members do not matter. A missing file
// is made, with Secure Boot on. INVALID_ARGUMENT: not a JSON object.
absl::StatusOr<std::string> MeasureFirmware(const files::FileSystem& files,
                                            absl::string_view tpm_dir);

}  // namespace keysphere::hostagent::tpm

#endif  // KEYSPHERE_HOSTAGENT_TPM_FIRMWARE_H_
