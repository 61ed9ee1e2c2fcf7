#ifndef KEYSPHERE_HOSTAGENT_TPM_TRANSPORT_H_
#define KEYSPHERE_HOSTAGENT_TPM_TRANSPORT_H_

#include <tss2/tss2_tcti.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/files/file_system.h"

namespace keysphere::hostagent::tpm {

// The way to a TPM chip: carries commands, and switches its power where that can be done. Not
// thread safe.
class Transport {
 public:
  virtual ~Transport() = default;

  // Resets the chip as a power cycle does: PCRs are zero, TPM2_Startup is due. OK without doing
  // anything where can_power_cycle() is false.
  virtual absl::Status PowerCycle() = 0;
  // False: the machine's firmware resets the chip and extends its PCRs; here they are only read.
  virtual bool can_power_cycle() const = 0;

  // True: what goes through it leaves this process and is encrypted therefore.
  virtual bool leaves_process() const = 0;

  // Valid after PowerCycle and as long as this object.
  virtual TSS2_TCTI_CONTEXT* tcti() = 0;

  // Locks the chip's memory, where it lies in this process, and keeps it out of dumps. Called when
  // the chip has started. An error is reported and otherwise without consequence.
  virtual absl::Status ProtectMemory() { return absl::OkStatus(); }
  // Makes durable what the chip wrote. The error of a write that failed since the last call.
  virtual absl::Status TakeStorageError() { return absl::OkStatus(); }
};

// libtpms inside this process: a chip whose permanent memory lies in `tpm_dir`. One in a process at
// a time (FAILED_PRECONDITION): libtpms keeps its state in global variables.
absl::StatusOr<std::unique_ptr<Transport>> MakeLibtpmsTransport(absl::string_view tpm_dir,
                                                                const files::FileSystem* files);

// What a TCTI string names, e.g. "swtpm:host=127.0.0.1,port=2321", "swtpm:path=/run/tpm.sock" or
// "device:/dev/tpmrm0". A swtpm is power-cycled through its control channel, which must be at the
// port plus one, or at the path with ".ctrl" behind it.
absl::StatusOr<std::unique_ptr<Transport>> MakeTctiTransport(absl::string_view tcti);

}  // namespace keysphere::hostagent::tpm

#endif  // KEYSPHERE_HOSTAGENT_TPM_TRANSPORT_H_
