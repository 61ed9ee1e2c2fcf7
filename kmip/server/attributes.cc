#include "kmip/server/attributes.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "kmip/messages/fields.h"
#include "kmip/server/attribute_rules.h"

namespace keysphere::kmip::server {
namespace {

using messages::Attribute;
using messages::Refusal;
using messages::ResultReason;
using messages::State;
using ttlv::Item;
using ttlv::Tag;
using ttlv::Writer;

constexpr int kMaxInstances = 64;  // of all attributes that clients set freely
constexpr int kMaxNames = 16;      // so that an object and its names fit a transaction

std::string Encoded(absl::Span<const uint8_t> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}
absl::Span<const uint8_t> Bytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// A value that `write` writes under the tag Attribute Value.
template <typename Write>
std::string Value(Write write) {
  ttlv::Buffer buffer;
  Writer writer(&buffer);
  write(&writer);
  return Encoded(buffer.span());
}

std::string DateValue(int64_t date) {
  return Value([&](Writer* writer) { writer->DateTime(Tag::kAttributeValue, date); });
}
std::string EnumerationValue(uint32_t number) {
  return Value([&](Writer* writer) { writer->Enumeration(Tag::kAttributeValue, number); });
}
std::string IntegerValue(int32_t number) {
  return Value([&](Writer* writer) { writer->Integer(Tag::kAttributeValue, number); });
}
std::string TextValue(absl::string_view text) {
  return Value([&](Writer* writer) { writer->Text(Tag::kAttributeValue, text); });
}

std::string DigestValue(const StoredObject& object) {
  return Value([&](Writer* writer) {
    const Writer::Structure value = writer->Begin(Tag::kAttributeValue);
    writer->Enumeration(Tag::kHashingAlgorithm, messages::HashingAlgorithm::kSha256);
    writer->Bytes(Tag::kDigestValue, Bytes(object.digest()));
    // New in 1.1, but clients of 1.0 want it too.
    writer->Enumeration(Tag::kKeyFormatType, messages::KeyFormat::kRaw);
  });
}

std::string RevocationValue(const StoredObject& object) {
  return Value([&](Writer* writer) {
    const Writer::Structure value = writer->Begin(Tag::kAttributeValue);
    writer->Enumeration(Tag::kRevocationReasonCode, object.revocation_reason());
    if (!object.revocation_message().empty()) {
      writer->Text(Tag::kRevocationMessage, object.revocation_message());
    }
  });
}

absl::Status ReadOnly(absl::string_view name) {
  return Refusal(ResultReason::kPermissionDenied,
                 absl::StrCat("the attribute ", status::Quote(name), " is read-only"));
}

absl::StatusOr<AttributeRule> RuleOf(absl::string_view name, ResultReason unknown) {
  const absl::optional<AttributeRule> rule = FindRule(name);
  if (rule.has_value()) return *rule;
  return Refusal(unknown, absl::StrCat("unknown attribute ", status::Quote(name)));
}

// A date that clients may set, by its rules (3.20-3.24): null if `name` is none.
struct DateField {
  bool (StoredObject::*has)() const;
  void (StoredObject::*set)(int64_t);
};
absl::optional<DateField> DateFieldOf(absl::string_view name) {
  if (name == "Activation Date") {
    return DateField{&StoredObject::has_activation_date, &StoredObject::set_activation_date};
  }
  if (name == "Process Start Date") {
    return DateField{&StoredObject::has_process_start_date, &StoredObject::set_process_start_date};
  }
  if (name == "Protect Stop Date") {
    return DateField{&StoredObject::has_protect_stop_date, &StoredObject::set_protect_stop_date};
  }
  if (name == "Deactivation Date") {
    return DateField{&StoredObject::has_deactivation_date, &StoredObject::set_deactivation_date};
  }
  return absl::nullopt;
}

absl::Status SetDate(absl::string_view name, const Item& value, int64_t now, StoredObject* object) {
  const State state = StateAt(*object, now);
  if (state != State::kPreActive && (state != State::kActive || name == "Activation Date")) {
    return ReadOnly(name);
  }
  int64_t date = 0;
  KS_RETURN_IF_ERROR(value.GetDateTime(&date));
  StoredObject changed = *object;
  (changed.*DateFieldOf(name)->set)(date);
  if (changed.has_deactivation_date() &&
      ((changed.has_activation_date() && changed.deactivation_date() < changed.activation_date()) ||
       (changed.has_protect_stop_date() &&
        changed.deactivation_date() < changed.protect_stop_date()))) {
    return Refusal(ResultReason::kInvalidField,
                   "the Deactivation Date lies before the Activation or Protect Stop Date");
  }
  *object = std::move(changed);
  return absl::OkStatus();
}

int CountOf(const StoredObject& object, absl::string_view name) {
  return static_cast<int>(
      std::count_if(object.attributes().begin(), object.attributes().end(),
                    [&](const StoredObject::Attribute& one) { return one.name() == name; }));
}

StoredObject::Attribute* FindInstance(StoredObject* object, absl::string_view name, int32_t index) {
  for (StoredObject::Attribute& one : *object->mutable_attributes()) {
    if (one.name() == name && one.index() == index) return &one;
  }
  return nullptr;
}

// Another instance with the next free index.
absl::StatusOr<int32_t> Append(const Attribute& attribute, StoredObject* object) {
  if (object->attributes_size() >= kMaxInstances ||
      (attribute.name == "Name" && CountOf(*object, "Name") >= kMaxNames)) {
    return Refusal(ResultReason::kIndexOutOfBounds,
                   absl::StrCat("an object has at most ", kMaxInstances, " attributes, ", kMaxNames,
                                " names among them"));
  }
  int32_t next = 0;
  for (const StoredObject::Attribute& one : object->attributes()) {
    if (one.name() == attribute.name) next = std::max(next, one.index() + 1);
  }
  StoredObject::Attribute* const added = object->add_attributes();
  added->set_name(std::string(attribute.name));
  added->set_index(next);
  added->set_value(Encoded(attribute.value.encoded()));
  return next;
}

}  // namespace

State StateAt(const StoredObject& object, int64_t now) {
  State state = static_cast<State>(object.state());
  if (state == State::kPreActive && object.has_activation_date() &&
      object.activation_date() <= now) {
    state = State::kActive;
  }
  if (state == State::kActive && object.has_deactivation_date() &&
      object.deactivation_date() <= now) {
    state = State::kDeactivated;
  }
  return state;
}

std::vector<ShownAttribute> ShowAttributes(absl::string_view uid, const StoredObject& object,
                                           int64_t now) {
  std::vector<ShownAttribute> shown;
  const auto add = [&](const char* name, std::string value) {
    shown.push_back({name, 0, std::move(value)});
  };
  const auto add_date = [&](const char* name, bool has, int64_t date) {
    if (has) add(name, DateValue(date));
  };
  add("Unique Identifier", TextValue(uid));
  add("Object Type", EnumerationValue(object.object_type()));
  if (object.algorithm() != 0) add("Cryptographic Algorithm", EnumerationValue(object.algorithm()));
  if (object.length() != 0) add("Cryptographic Length", IntegerValue(object.length()));
  add("Cryptographic Usage Mask", IntegerValue(object.usage_mask()));
  if (!object.digest().empty()) add("Digest", DigestValue(object));
  if (CountOf(object, "Operation Policy Name") == 0) {
    add("Operation Policy Name", TextValue("default"));
  }
  add("State", EnumerationValue(static_cast<uint32_t>(StateAt(object, now))));
  add("Initial Date", DateValue(object.initial_date()));
  add_date("Activation Date", object.has_activation_date(), object.activation_date());
  add_date("Process Start Date", object.has_process_start_date(), object.process_start_date());
  add_date("Protect Stop Date", object.has_protect_stop_date(), object.protect_stop_date());
  add_date("Deactivation Date", object.has_deactivation_date(), object.deactivation_date());
  add_date("Destroy Date", object.has_destroy_date(), object.destroy_date());
  add_date("Compromise Occurrence Date", object.has_compromise_occurrence_date(),
           object.compromise_occurrence_date());
  add_date("Compromise Date", object.has_compromise_date(), object.compromise_date());
  if (object.revocation_reason() != 0) add("Revocation Reason", RevocationValue(object));
  add("Last Change Date", DateValue(object.last_change_date()));
  std::vector<ShownAttribute> free;
  for (const StoredObject::Attribute& one : object.attributes()) {
    free.push_back({one.name(), one.index(), one.value()});
  }
  std::stable_sort(free.begin(), free.end(), [](const auto& a, const auto& b) {
    return a.name != b.name ? a.name < b.name : a.index < b.index;
  });
  std::move(free.begin(), free.end(), std::back_inserter(shown));
  return shown;
}

void WriteAttribute(const ShownAttribute& attribute, Writer* writer) {
  const Writer::Structure structure = writer->Begin(Tag::kAttribute);
  writer->Text(Tag::kAttributeName, attribute.name);
  if (attribute.index != 0) writer->Integer(Tag::kAttributeIndex, attribute.index);
  writer->CopyEncoded(Tag::kAttributeValue, Bytes(attribute.value));
}

absl::Status SetAtCreation(const Attribute& attribute, StoredObject* object) {
  KS_ASSIGN_OR_RETURN(const AttributeRule rule,
                      RuleOf(attribute.name, ResultReason::kInvalidField));
  if (!rule.at_creation) {
    return Refusal(ResultReason::kInvalidField,
                   absl::StrCat("clients do not set the attribute ", rule.name));
  }
  KS_RETURN_IF_ERROR(CheckValue(rule, attribute.value));
  const absl::optional<DateField> date = DateFieldOf(rule.name);
  bool again = !rule.many && CountOf(*object, rule.name) > 0;
  int32_t number = 0;
  uint32_t algorithm = 0;
  if (date.has_value()) {
    again = (object->*date->has)();
  } else if (rule.name == "Cryptographic Algorithm") {
    again = object->algorithm() != 0;
    KS_RETURN_IF_ERROR(attribute.value.GetEnumeration(&algorithm));
    object->set_algorithm(algorithm);
  } else if (rule.name == "Cryptographic Length") {
    again = object->length() != 0;
    KS_RETURN_IF_ERROR(attribute.value.GetInteger(&number));
    object->set_length(number);
  } else if (rule.name == "Cryptographic Usage Mask") {
    again = object->usage_mask() != 0;
    KS_RETURN_IF_ERROR(attribute.value.GetInteger(&number));
    object->set_usage_mask(number);
  } else if (!again) {
    return Append(attribute, object).status();
  }
  if (again) {
    return Refusal(ResultReason::kIndexOutOfBounds,
                   absl::StrCat("the attribute ", rule.name, " is there more than once"));
  }
  // Dates of the past make a key active from the start: the rules of its state do not hold yet.
  if (date.has_value()) return SetDate(rule.name, attribute.value, INT64_MIN, object);
  return absl::OkStatus();
}

absl::Status AddAttribute(Attribute* attribute, int64_t now, StoredObject* object) {
  KS_ASSIGN_OR_RETURN(const AttributeRule rule,
                      RuleOf(attribute->name, ResultReason::kPermissionDenied));
  if (!rule.modifiable) return ReadOnly(rule.name);
  if (attribute->index.has_value()) {
    return Refusal(ResultReason::kInvalidField, "a new attribute has no Attribute Index");
  }
  KS_RETURN_IF_ERROR(CheckValue(rule, attribute->value));
  const absl::optional<DateField> date = DateFieldOf(rule.name);
  if (date.has_value() ? (object->*date->has)() : !rule.many && CountOf(*object, rule.name) > 0) {
    return Refusal(ResultReason::kIllegalOperation,
                   absl::StrCat("the object has the attribute ", rule.name, " already"));
  }
  if (date.has_value()) return SetDate(rule.name, attribute->value, now, object);
  KS_ASSIGN_OR_RETURN(const int32_t index, Append(*attribute, object));
  if (index != 0) attribute->index = index;
  return absl::OkStatus();
}

absl::Status ModifyAttribute(const Attribute& attribute, int64_t now, StoredObject* object) {
  KS_ASSIGN_OR_RETURN(const AttributeRule rule,
                      RuleOf(attribute.name, ResultReason::kInvalidField));
  if (!rule.modifiable) return ReadOnly(rule.name);
  KS_RETURN_IF_ERROR(CheckValue(rule, attribute.value));
  const int32_t index = attribute.index.value_or(0);
  const absl::optional<DateField> date = DateFieldOf(rule.name);
  StoredObject::Attribute* const instance = FindInstance(object, rule.name, index);
  const bool exists = date.has_value() ? (object->*date->has)() : CountOf(*object, rule.name) > 0;
  if (!exists) {
    return Refusal(ResultReason::kInvalidField,
                   absl::StrCat("the object has no attribute ", rule.name));
  }
  if (date.has_value() ? index != 0 : instance == nullptr) {
    return Refusal(ResultReason::kItemNotFound,
                   absl::StrCat("the attribute ", rule.name, " has no instance ", index));
  }
  if (date.has_value()) return SetDate(rule.name, attribute.value, now, object);
  instance->set_value(Encoded(attribute.value.encoded()));
  return absl::OkStatus();
}

absl::Status DeleteAttribute(absl::string_view name, absl::optional<int32_t> index,
                             StoredObject* object, ShownAttribute* removed) {
  KS_ASSIGN_OR_RETURN(const AttributeRule rule, RuleOf(name, ResultReason::kItemNotFound));
  if (!rule.deletable) {
    return Refusal(ResultReason::kPermissionDenied,
                   absl::StrCat("clients do not delete the attribute ", rule.name));
  }
  auto* const attributes = object->mutable_attributes();
  for (auto it = attributes->begin(); it != attributes->end(); ++it) {
    if (it->name() != rule.name || it->index() != index.value_or(0)) continue;
    *removed = ShownAttribute{it->name(), it->index(), it->value()};
    attributes->erase(it);
    return absl::OkStatus();
  }
  return Refusal(ResultReason::kItemNotFound,
                 absl::StrCat("the object has no such instance of ", rule.name));
}

namespace {

absl::optional<int64_t> DateOf(absl::string_view encoded) {
  const auto item = ttlv::Parse(Bytes(encoded));
  int64_t date = 0;
  if (!item.ok() || !item->GetDateTime(&date).ok()) return absl::nullopt;
  return date;
}

bool HasMask(const ShownAttribute& shown, const Attribute& wanted) {
  const auto item = ttlv::Parse(Bytes(shown.value));
  int32_t has = 0, asked = 0;
  return item.ok() && item->GetInteger(&has).ok() && wanted.value.GetInteger(&asked).ok() &&
         (has & asked) == asked;
}

bool HasDate(const std::vector<ShownAttribute>& shown, const messages::Attributes& wanted,
             absl::string_view name) {
  int64_t low = INT64_MAX, high = INT64_MIN;
  for (const Attribute& one : wanted) {
    int64_t date = 0;
    if (one.name != name || !one.value.GetDateTime(&date).ok()) continue;
    low = std::min(low, date);
    high = std::max(high, date);
  }
  return std::any_of(shown.begin(), shown.end(), [&](const ShownAttribute& one) {
    const absl::optional<int64_t> date = one.name == name ? DateOf(one.value) : absl::nullopt;
    return date.has_value() && low <= *date && *date <= high;
  });
}

}  // namespace

bool Matches(const std::vector<ShownAttribute>& shown, const messages::Attributes& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const Attribute& one) {
    if (one.value.type() == ttlv::Type::kDateTime) return HasDate(shown, wanted, one.name);
    const absl::string_view value(reinterpret_cast<const char*>(one.value.encoded().data()),
                                  one.value.encoded().size());
    return std::any_of(shown.begin(), shown.end(), [&](const ShownAttribute& has) {
      if (has.name != one.name) return false;
      return one.name == "Cryptographic Usage Mask" ? HasMask(has, one)
                                                    : absl::string_view(has.value) == value;
    });
  });
}

}  // namespace keysphere::kmip::server
