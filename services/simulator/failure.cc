#include "services/simulator/failure.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/status/detail.h"
#include "common/status/status.h"

namespace keysphere::simulator {
namespace {

constexpr char kWord[] = "FAILED ";
constexpr char kMessage[] = "message";

}  // namespace

std::string FailedLine(const absl::Status& failure) {
  std::string json;
  google::protobuf::Struct object;
  const bool made =
      google::protobuf::util::MessageToJsonString(status::DetailOf(failure), &json).ok() &&
      google::protobuf::util::JsonStringToMessage(json, &object).ok();
  if (!made) object.Clear();
  const absl::string_view message = failure.message();
  (*object.mutable_fields())[kMessage].set_string_value(message.data(), message.size());
  json.clear();
  if (!google::protobuf::util::MessageToJsonString(object, &json).ok()) json = "{}";
  return absl::StrCat(kWord, json);
}

absl::Status ParseFailedLine(absl::string_view line) {
  google::protobuf::Struct object;
  v1::ErrorDetail detail;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  if (!absl::ConsumePrefix(&line, kWord)) return absl::OkStatus();
  const google::protobuf::StringPiece json(line.data(), line.size());
  if (!google::protobuf::util::JsonStringToMessage(json, &object).ok() ||
      !google::protobuf::util::JsonStringToMessage(json, &detail, options).ok()) {
    return status::Error(v1::REASON_INTERNAL, "the simulator's FAILED line is not understood");
  }
  const auto message = object.fields().find(kMessage);
  return status::FromDetail(message == object.fields().end() ? "" : message->second.string_value(),
                            detail);
}

}  // namespace keysphere::simulator
