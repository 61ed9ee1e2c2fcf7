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

// The last ones of KMIP 1.2: the EC algorithm, Translate Unwrap, Next Link. Extensions (values from
// 0x80000000 on, bits from 0x00100000 on) mean nothing to this server.
constexpr uint32_t kLastAlgorithm = 0x1a;
constexpr int32_t kAllUses = 0x000fffff;
constexpr uint32_t kFirstLinkType = 0x101;
constexpr uint32_t kLastLinkType = 0x10b;

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

absl::Status CheckLink(const ttlv::Item& value) {
  Fields fields(value);
  uint32_t type = 0;
  absl::string_view uid;
  fields.Enumeration(Tag::kLinkType, &type);
  fields.Text(Tag::kLinkedObjectIdentifier, &uid);
  KS_RETURN_IF_ERROR(fields.End());
  if (type >= kFirstLinkType && type <= kLastLinkType && !uid.empty()) return absl::OkStatus();
  return Refusal(ResultReason::kInvalidField,
                 "a Link has no object, or no Link Type that KMIP 1.2 knows");
}

// Of attributes that are a number.
absl::Status CheckNumber(const AttributeRule& rule, const ttlv::Item& value) {
  int32_t number = 0;
  KS_RETURN_IF_ERROR(value.GetInteger(&number));
  if (rule.name == "Cryptographic Usage Mask" ? (number & ~kAllUses) == 0 : number >= 0) {
    return absl::OkStatus();
  }
  return Refusal(ResultReason::kInvalidField,
                 absl::StrCat("the ", rule.name, " ", number, " has no meaning"));
}

}  // namespace

absl::Status CheckAlgorithm(uint32_t algorithm) {
  if (algorithm >= 1 && algorithm <= kLastAlgorithm) return absl::OkStatus();
  return Refusal(ResultReason::kInvalidField,
                 absl::StrCat("KMIP 1.2 has no Cryptographic Algorithm ", algorithm));
}

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
  if (rule.name == "Link") return CheckLink(value);
  if (rule.type == Type::kInteger) return CheckNumber(rule, value);
  if (rule.name == "Cryptographic Algorithm") {
    uint32_t algorithm = 0;
    KS_RETURN_IF_ERROR(value.GetEnumeration(&algorithm));
    return CheckAlgorithm(algorithm);
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
