#include "hostagent/tpm/firmware.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/status/status.h"

namespace keysphere::hostagent::tpm {
namespace {

constexpr size_t kMaxBytes = 64 * 1024;
constexpr absl::string_view kDefault = "{\"secureBoot\": true}\n";

// One byte string for each value, whatever the spacing and the order of members were.
std::string Canonical(const google::protobuf::Struct& settings) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    settings.SerializeToCodedStream(&coded);
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::string> MeasureFirmware(const files::FileSystem& files,
                                            absl::string_view tpm_dir) {
  const std::string path = absl::StrCat(tpm_dir, "/firmware.json");
  KS_ASSIGN_OR_RETURN(const bool exists, files.Exists(path));
  if (!exists) {
    KS_RETURN_IF_ERROR(files.MakeFolders(tpm_dir));
    KS_RETURN_IF_ERROR(files.WriteFileAtomically(path, kDefault, 0600));
  }
  KS_ASSIGN_OR_RETURN(const std::string text, files.ReadFile(path, kMaxBytes));
  google::protobuf::Struct settings;
  if (!google::protobuf::util::JsonStringToMessage(text, &settings).ok()) {
    return status::Error(
               v1::REASON_INVALID_ARGUMENT,
               absl::StrCat("the firmware settings are no JSON object: ", status::Quote(path)))
        .NextStep("Write an object such as {\"secureBoot\": true}, or remove the file.");
  }
  return crypto::Sha256(Canonical(settings));
}

}  // namespace keysphere::hostagent::tpm
