#include "common/status/redact.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/any.pb.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/unknown_field_set.h"
#include "keysphere/options.pb.h"

namespace keysphere::status {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr int kMaxDepth = 32;

std::string Print(const Message& message, int depth);

// An Any may hold a message with secrets: it is opened, or else not shown.
std::string PrintAny(const google::protobuf::Any& any, int depth) {
  const size_t slash = any.type_url().rfind('/');
  const std::string name =
      slash == std::string::npos ? any.type_url() : any.type_url().substr(slash + 1);
  const auto* type =
      google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(name);
  std::unique_ptr<Message> inner;
  if (type != nullptr) {
    inner.reset(google::protobuf::MessageFactory::generated_factory()->GetPrototype(type)->New());
  }
  if (inner == nullptr || !inner->ParseFromString(any.value())) {
    return absl::StrCat("[", name, "] <", any.value().size(), " bytes>");
  }
  return absl::StrCat("[", any.type_url(), "] { ", Print(*inner, depth + 1), " }");
}

// The value of one field, or of its `index`th element (-1: not repeated).
std::string PrintValue(const Message& message, const FieldDescriptor* field, int index, int depth) {
  if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
    std::string value;
    google::protobuf::TextFormat::PrintFieldValueToString(message, field, index, &value);
    return absl::StrCat(field->name(), ": ", value);
  }
  const Reflection* reflection = message.GetReflection();
  const Message& child = index < 0 ? reflection->GetMessage(message, field)
                                   : reflection->GetRepeatedMessage(message, field, index);
  const std::string inner = Print(child, depth + 1);
  return absl::StrCat(field->name(), inner.empty() ? " {}" : absl::StrCat(" { ", inner, " }"));
}

std::string Print(const Message& message, int depth) {
  if (depth > kMaxDepth) return "...";
  if (message.GetDescriptor() == google::protobuf::Any::descriptor()) {
    return PrintAny(static_cast<const google::protobuf::Any&>(message), depth);
  }
  const Reflection* reflection = message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  std::vector<std::string> parts;
  for (const FieldDescriptor* field : fields) {
    if (field->options().GetExtension(keysphere::secret)) {
      parts.push_back(absl::StrCat(field->name(), ": <hidden>"));
    } else if (field->is_repeated()) {
      const size_t begin = parts.size();
      for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
        parts.push_back(PrintValue(message, field, i, depth));
      }
      if (field->is_map()) std::sort(parts.begin() + begin, parts.end());
    } else {
      parts.push_back(PrintValue(message, field, -1, depth));
    }
  }
  const int unknown = reflection->GetUnknownFields(message).field_count();
  if (unknown > 0) parts.push_back(absl::StrCat("<", unknown, " unknown fields>"));
  return absl::StrJoin(parts, " ");
}

}  // namespace

std::string PrintRedacted(const Message& message) { return Print(message, 0); }

}  // namespace keysphere::status
