// Finding, reading and querying; operations_change.cc has those that change objects.
#include "kmip/server/operations.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "kmip/messages/fields.h"
#include "kmip/server/attribute_rules.h"

namespace keysphere::kmip::server {

using messages::KeyFormat;
using messages::Operation;
using messages::ProtocolVersion;
using messages::Refusal;
using messages::ResultReason;
using messages::State;
using ttlv::Item;
using ttlv::Tag;
using ttlv::Writer;

namespace {

constexpr Operation kOperations[] = {
    Operation::kCreate,       Operation::kRegister,         Operation::kLocate,
    Operation::kGet,          Operation::kGetAttributes,    Operation::kGetAttributeList,
    Operation::kAddAttribute, Operation::kModifyAttribute,  Operation::kDeleteAttribute,
    Operation::kActivate,     Operation::kRevoke,           Operation::kDestroy,
    Operation::kQuery,        Operation::kDiscoverVersions,
};
// By preference.
constexpr ProtocolVersion kVersions[] = {messages::kVersion12, messages::kVersion11,
                                         messages::kVersion10};

bool IsDestroyed(const StoredObject& object) {
  const State state = static_cast<State>(object.state());
  return state == State::kDestroyed || state == State::kDestroyedCompromised;
}

absl::string_view EncodedText(const Item& item) {
  return {reinterpret_cast<const char*>(item.encoded().data()), item.encoded().size()};
}

}  // namespace

absl::Status Operations::Run(Operation operation, const Item& payload, Writer* writer) {
  switch (operation) {
    case Operation::kCreate:
      return Create(payload, writer);
    case Operation::kRegister:
      return Register(payload, writer);
    case Operation::kLocate:
      return Locate(payload, writer);
    case Operation::kGet:
      return Get(payload, writer);
    case Operation::kGetAttributes:
      return GetAttributes(payload, writer);
    case Operation::kGetAttributeList:
      return GetAttributeList(payload, writer);
    case Operation::kAddAttribute:
      return AddAttribute(payload, writer);
    case Operation::kModifyAttribute:
      return ModifyAttribute(payload, writer);
    case Operation::kDeleteAttribute:
      return DeleteAttribute(payload, writer);
    case Operation::kActivate:
      return Activate(payload, writer);
    case Operation::kRevoke:
      return Revoke(payload, writer);
    case Operation::kDestroy:
      return Destroy(payload, writer);
    case Operation::kQuery:
      return Query(payload, writer);
    case Operation::kDiscoverVersions:
      if (version_ < messages::kVersion11) break;
      return DiscoverVersions(payload, writer);
    default:
      break;
  }
  return Refusal(ResultReason::kOperationNotSupported,
                 absl::StrCat(messages::OperationName(operation), " is not supported"));
}

absl::StatusOr<Operations::Found> Operations::Find(const absl::optional<absl::string_view>& uid) {
  Found found;
  found.uid = uid.has_value() ? std::string(*uid) : placeholder_;
  if (found.uid.empty()) {
    return Refusal(ResultReason::kItemNotFound, "no Unique Identifier, and none before it");
  }
  const auto fault =
      faults_ == nullptr ? FaultInjector::ObjectFault::kNone : faults_->OnObject(found.uid);
  absl::optional<StoredObject> object;
  if (fault != FaultInjector::ObjectFault::kMissing) {
    KS_ASSIGN_OR_RETURN(object, objects_->Find(found.uid));
  }
  if (!object.has_value()) {
    return Refusal(ResultReason::kItemNotFound,
                   absl::StrCat("there is no object ", status::Quote(found.uid)));
  }
  found.object = *std::move(object);
  found.told_pre_active = fault == FaultInjector::ObjectFault::kNotActive;
  return found;
}

std::vector<ShownAttribute> Operations::Show(Found found) const {
  if (found.told_pre_active) {
    found.object.set_state(static_cast<uint32_t>(State::kPreActive));
    found.object.clear_activation_date();
  }
  return ShowAttributes(found.uid, found.object, now_);
}

absl::Status Operations::Get(const Item& payload, Writer* writer) {
  messages::GetRequest request;
  KS_RETURN_IF_ERROR(messages::ReadGet(payload, &request));
  if (request.wrapped) {
    return Refusal(ResultReason::kFeatureNotSupported, "keys are not wrapped by this server");
  }
  if (request.compressed) {
    return Refusal(ResultReason::kKeyCompressionTypeNotSupported,
                   "symmetric keys have no compression");
  }
  KS_ASSIGN_OR_RETURN(const Found found, Find(request.uid));
  if (IsDestroyed(found.object)) {
    return Refusal(ResultReason::kItemNotFound,
                   absl::StrCat("the object ", status::Quote(found.uid), " is destroyed"));
  }
  const auto type = static_cast<messages::ObjectType>(found.object.object_type());
  const KeyFormat format =
      request.format.value_or(static_cast<KeyFormat>(found.object.key_format()));
  const bool transparent =
      format == KeyFormat::kTransparentSymmetricKey && type == messages::ObjectType::kSymmetricKey;
  if (format != static_cast<KeyFormat>(found.object.key_format()) && format != KeyFormat::kRaw &&
      !transparent) {
    return Refusal(ResultReason::kKeyFormatTypeNotSupported,
                   absl::StrCat("key format ", static_cast<uint32_t>(format),
                                " is not supported for this object"));
  }
  KS_ASSIGN_OR_RETURN(const crypto::SecretKey key, objects_->KeyOf(found.uid));
  writer->Enumeration(Tag::kObjectType, type);
  messages::WriteUid(found.uid, writer);
  absl::optional<messages::Algorithm> algorithm;
  absl::optional<int32_t> length;
  if (found.object.algorithm() != 0) {
    algorithm = static_cast<messages::Algorithm>(found.object.algorithm());
  }
  if (found.object.length() != 0) length = found.object.length();
  messages::WriteKey(type, found.object.secret_data_type(), format, key, algorithm, length, writer);
  return absl::OkStatus();
}

absl::Status Operations::GetAttributes(const Item& payload, Writer* writer) {
  messages::UidRequest request;
  KS_RETURN_IF_ERROR(messages::ReadGetAttributes(payload, &request));
  KS_ASSIGN_OR_RETURN(const Found found, Find(request.uid));
  messages::WriteUid(found.uid, writer);
  const auto shown = Show(found);
  const auto write_those = [&](absl::string_view name) {
    for (const ShownAttribute& one : shown) {
      if (name.empty() || one.name == name) WriteAttribute(one, writer);
    }
  };
  if (request.attribute_names.empty()) write_those("");
  // A name that the object does not have is passed over (4.11).
  for (size_t i = 0; i < request.attribute_names.size(); ++i) {
    const absl::string_view name = request.attribute_names[i];
    bool again = name.empty();
    for (size_t k = 0; k < i; ++k) again = again || request.attribute_names[k] == name;
    // Since 1.1 a name stands in a request once.
    if (again && !(version_ < messages::kVersion11)) {
      return Refusal(ResultReason::kInvalidField, "an Attribute Name is empty or there twice");
    }
    if (!again) write_those(name);
  }
  return absl::OkStatus();
}

absl::Status Operations::GetAttributeList(const Item& payload, Writer* writer) {
  messages::UidRequest request;
  KS_RETURN_IF_ERROR(messages::ReadUid(payload, &request));
  KS_ASSIGN_OR_RETURN(const Found found, Find(request.uid));
  messages::WriteUid(found.uid, writer);
  absl::string_view last;
  const auto shown = Show(found);
  for (const ShownAttribute& one : shown) {
    if (one.name != last) writer->Text(Tag::kAttributeName, one.name);
    last = one.name;
  }
  return absl::OkStatus();
}

absl::Status Operations::Locate(const Item& payload, Writer* writer) {
  messages::LocateRequest request;
  KS_RETURN_IF_ERROR(messages::ReadLocate(payload, &request));
  if (request.has_group_member) {
    return Refusal(ResultReason::kFeatureNotSupported, "Object Group Member is not supported");
  }
  const int64_t most = request.maximum_items.value_or(INT32_MAX);
  if (most < 0) return Refusal(ResultReason::kInvalidField, "Maximum Items is negative");
  // Destroyed objects show themselves only to those who ask for a state.
  bool asks_state = false;
  absl::optional<absl::string_view> name;
  for (const messages::Attribute& one : request.attributes) {
    if (one.value.tag() != Tag::kAttributeValue) {
      return Refusal(ResultReason::kMissingData, "an attribute has no value");
    }
    // An attribute that we do not know is one that no object has.
    const absl::optional<AttributeRule> rule = FindRule(one.name);
    if (rule.has_value()) KS_RETURN_IF_ERROR(CheckValue(*rule, one.value));
    asks_state = asks_state || one.name == "State" || one.name == "Destroy Date";
    if (one.name == "Name") name = EncodedText(one.value);
  }
  // Nothing is ever archived.
  constexpr int32_t kOnline = 1;
  if ((request.storage_status.value_or(kOnline) & kOnline) == 0) return absl::OkStatus();
  std::vector<std::string> located;
  const auto consider = [&](absl::string_view uid, const StoredObject& object) {
    if (static_cast<int64_t>(located.size()) >= most) return false;
    if (IsDestroyed(object) && !asks_state) return true;
    if (request.attributes.empty() ||
        Matches(ShowAttributes(uid, object, now_), request.attributes)) {
      located.emplace_back(uid);
    }
    return true;
  };
  if (name.has_value() && !asks_state) {
    KS_ASSIGN_OR_RETURN(const absl::optional<std::string> uid, objects_->FindName(*name));
    if (uid.has_value()) {
      KS_ASSIGN_OR_RETURN(const absl::optional<StoredObject> object, objects_->Find(*uid));
      if (object.has_value()) consider(*uid, *object);
    }
  } else {
    KS_RETURN_IF_ERROR(objects_->ForEach(consider));
  }
  for (const std::string& uid : located) messages::WriteUid(uid, writer);
  // Of several none is meant (4.9).
  placeholder_ = located.size() == 1 ? located[0] : "";
  return absl::OkStatus();
}

absl::Status Operations::Query(const Item& payload, Writer* writer) {
  messages::QueryFunctions functions;
  KS_RETURN_IF_ERROR(messages::ReadQuery(payload, &functions));
  const auto asked = [&](messages::QueryFunction function) {
    for (const messages::QueryFunction one : functions) {
      if (one == function) return true;
    }
    return false;
  };
  if (asked(messages::QueryFunction::kOperations)) {
    for (const Operation operation : kOperations) {
      if (operation == Operation::kDiscoverVersions && version_ < messages::kVersion11) continue;
      writer->Enumeration(Tag::kOperation, operation);
    }
  }
  if (asked(messages::QueryFunction::kObjects)) {
    writer->Enumeration(Tag::kObjectType, messages::ObjectType::kSymmetricKey);
    writer->Enumeration(Tag::kObjectType, messages::ObjectType::kSecretData);
  }
  if (asked(messages::QueryFunction::kServerInformation)) {
    writer->Text(Tag::kVendorIdentification, "keysphere");
    const Writer::Structure information = writer->Begin(Tag::kServerInformation);
  }
  return absl::OkStatus();
}

absl::Status Operations::DiscoverVersions(const Item& payload, Writer* writer) {
  messages::Versions asked;
  KS_RETURN_IF_ERROR(messages::ReadVersions(payload, &asked));
  if (asked.empty()) {
    for (const ProtocolVersion& version : kVersions) messages::WriteVersion(version, writer);
  }
  for (const ProtocolVersion& version : asked) {
    if (messages::IsSupported(version)) messages::WriteVersion(version, writer);
  }
  return absl::OkStatus();
}

}  // namespace keysphere::kmip::server
