#include "hostagent/tpm/tpm.h"

#include "common/status/status.h"

namespace keysphere::hostagent::tpm {
namespace {

class NoTpm : public Tpm {
 public:
  explicit NoTpm(TpmVersion version) : version_(version) {}

  TpmVersion version() const override { return version_; }
  absl::StatusOr<std::string> Seal(const crypto::SecretKey&) override { return Absent(); }
  absl::StatusOr<crypto::SecretKey> Unseal(absl::string_view) override { return Absent(); }
  absl::StatusOr<std::string> ReadPcr7() override { return Absent(); }
  absl::Status Shutdown() override { return absl::OkStatus(); }
  TpmStats Stats() const override {
    TpmStats stats;
    stats.version = version_;
    stats.transport = "none";
    return stats;
  }

 private:
  absl::Status Absent() const {
    return status::Error(v1::REASON_TPM_FAILED,
                         version_ == TpmVersion::k12
                             ? "this host has a TPM 1.2, which counts as none"
                             : "this host has no TPM")
        .NextStep("Give the host a TPM 2.0.");
  }

  const TpmVersion version_;
};

}  // namespace

absl::string_view TpmVersionName(TpmVersion version) {
  switch (version) {
    case TpmVersion::k12:
      return "1.2";
    case TpmVersion::k20:
      return "2.0";
    case TpmVersion::kNone:
      break;
  }
  return "none";
}

std::unique_ptr<Tpm> MakeNoTpm(TpmVersion version) {
  return std::make_unique<NoTpm>(version == TpmVersion::k20 ? TpmVersion::kNone : version);
}

}  // namespace keysphere::hostagent::tpm
