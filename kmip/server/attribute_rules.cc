#include "kmip/server/attribute_rules.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kmip/messages/fields.h"

namespace keysphere::kmip::server {
namespace {

using messages::Fields;
using messages::Refusal;
using messages::ResultReason;
using ttlv::Tag;
using ttlv::Type;

constexpr size_t kMaxNameBytes = 256;
constexpr size_t kMaxValueBytes = 4096;

constexpr AttributeRule kRules[] = {
    // name, type, many, at creation, modifiable, deletable
    {"Unique Identifier", Type::kTextString, false, false, false, false},
    {"Name", Type::kStructure, true, true, true, true},
    {"Object Type", Type::kEnumeration, false, false, false, false},
    {"Cryptographic Algorithm", Type::kEnumeration, false, true, false, false},
    {"Cryptographic Length", Type::kInteger, false, true, false, false},
    {"Cryptographic Parameters", Type::kStructure, true, true, true, true},
    {"Cryptographic Usage Mask", Type::kInteger, false, true, false, false},
    {"Digest", Type::kStructure, true, false, false, false},
    {"Operation Policy Name", Type::kTextString, false, true, false, false},
    {"State", Type::kEnumeration, false, false, false, false},
    {"Initial Date", Type::kDateTime, false, false, false, false},
    {"Activation Date", Type::kDateTime, false, true, true, false},
    {"Process Start Date", Type::kDateTime, false, true, true, false},
    {"Protect Stop Date", Type::kDateTime, false, true, true, false},
    {"Deactivation Date", Type::kDateTime, false, true, true, false},
    {"Destroy Date", Type::kDateTime, false, false, false, false},
    {"Compromise Occurrence Date", Type::kDateTime, false, false, false, false},
    {"Compromise Date", Type::kDateTime, false, false, false, false},
    {"Revocation Reason", Type::kStructure, false, false, false, false},
    {"Lease Time", Type::kInterval, false, false, false, false},
    {"Archive Date", Type::kDateTime, false, false, false, false},
    {"Object Group", Type::kTextString, true, true, true, true},
    {"Link", Type::kStructure, true, true, true, true},
    {"Application Specific Information", Type::kStructure, true, true, true, true},
    {"Contact Information", Type::kTextString, false, true, true, true},
    {"Last Change Date", Type::kDateTime, false, false, false, false},
};

bool IsCustom(absl::string_view name) { return absl::StartsWith(name, "x-"); }

}  // namespace

absl::optional<AttributeRule> FindRule(absl::string_view name) {
  for (const AttributeRule& rule : kRules) {
    if (rule.name == name) return rule;
  }
  if (name.size() > kMaxNameBytes || name.size() <= 2) return absl::nullopt;
  if (IsCustom(name)) return AttributeRule{name, Type::kTextString, true, true, true, true};
  if (absl::StartsWith(name, "y-")) {
    return AttributeRule{name, Type::kTextString, true, false, false, false};
  }
  return absl::nullopt;
}

absl::Status CheckValue(const AttributeRule& rule, const ttlv::Item& value) {
  if (value.tag() != Tag::kAttributeValue) {
    return Refusal(ResultReason::kMissingData,
                   absl::StrCat("the attribute ", rule.name, " has no value"));
  }
  if (value.encoded().size() > kMaxValueBytes) {
    return Refusal(
        ResultReason::kInvalidField,
        absl::StrCat("the attribute ", rule.name, " is longer than ", kMaxValueBytes, " bytes"));
  }
  if (!IsCustom(rule.name) && value.type() != rule.type) {
    return Refusal(ResultReason::kInvalidField,
                   absl::StrCat("the attribute ", rule.name, " is a ", ttlv::TypeName(rule.type),
                                ", not a ", ttlv::TypeName(value.type())));
  }
  absl::string_view text;
  if (rule.name == "Name") {
    Fields fields(value);
    messages::NameType type = messages::NameType::kText;
    fields.Text(Tag::kNameValue, &text) || fields.Missing(Tag::kNameValue);
    fields.Enumeration(Tag::kNameType, &type) || fields.Missing(Tag::kNameType);
    KS_RETURN_IF_ERROR(fields.End());
    if (text.empty() || (type != messages::NameType::kText && type != messages::NameType::kUri)) {
      return Refusal(ResultReason::kInvalidField, "a Name is empty or of an unknown type");
    }
  } else if (rule.name == "Application Specific Information") {
    Fields fields(value);
    fields.Text(Tag::kApplicationNamespace, &text) || fields.Missing(Tag::kApplicationNamespace);
    fields.Text(Tag::kApplicationData, &text) || fields.Missing(Tag::kApplicationData);
    return fields.End();
  }
  return absl::OkStatus();
}

}  // namespace keysphere::kmip::server
