#include "services/simulator/failure.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
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
  const v1::Reason reason =
      detail.reason() == v1::REASON_UNSPECIFIED ? v1::REASON_INTERNAL : detail.reason();
  const auto message = object.fields().find(kMessage);
  status::ErrorBuilder error(
      reason, message == object.fields().end() ? "" : message->second.string_value());
  const absl::string_view whole = detail.object();
  const size_t slash = whole.find('/');
  if (slash != absl::string_view::npos) {
    error.Object(whole.substr(0, slash), whole.substr(slash + 1));
  }
  if (!detail.next_step().empty()) error.NextStep(detail.next_step());
  for (const int other : detail.others()) error.Other(static_cast<v1::Reason>(other));
  for (const auto& [key, value] : detail.metadata()) error.With(key, value);
  return error;
}

}  // namespace keysphere::simulator
