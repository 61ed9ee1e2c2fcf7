// The operations that change objects.
#include <openssl/evp.h>

#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "kmip/messages/fields.h"
#include "kmip/server/attribute_rules.h"
#include "kmip/server/attributes.h"
#include "kmip/server/operations.h"

namespace keysphere::kmip::server {

using messages::Algorithm;
using messages::KeyFormat;
using messages::ObjectType;
using messages::Refusal;
using messages::ResultReason;
using messages::RevocationReason;
using messages::State;
using ttlv::Item;
using ttlv::Tag;
using ttlv::Writer;

namespace {

constexpr int32_t kMaxKeyBits = 4096 * 8;
// All Secret Data Types of KMIP 1.2.
constexpr uint32_t kPassword = 1;
constexpr uint32_t kSeed = 2;

absl::string_view EncodedText(const Item& item) {
  return {reinterpret_cast<const char*>(item.encoded().data()), item.encoded().size()};
}

// RSA, DSA, ECDSA; DH, ECDH, ECMQV; EC.
bool IsAsymmetric(uint32_t algorithm) {
  return (algorithm >= 0x04 && algorithm <= 0x06) || (algorithm >= 0x0D && algorithm <= 0x0F) ||
         algorithm == 0x1A;
}

absl::Status CheckKind(const StoredObject& object) {
  if (object.algorithm() == 0 || object.length() == 0) {
    return Refusal(ResultReason::kInvalidField,
                   "a key needs a Cryptographic Algorithm and a Cryptographic Length");
  }
  if (IsAsymmetric(object.algorithm())) {
    return Refusal(ResultReason::kInvalidField, "no symmetric key is of this algorithm");
  }
  const int32_t bits = object.length();
  const bool is_aes = object.algorithm() == static_cast<uint32_t>(Algorithm::kAes);
  if (is_aes ? bits != 128 && bits != 192 && bits != 256
             : bits <= 0 || bits % 8 != 0 || bits > kMaxKeyBits) {
    return Refusal(ResultReason::kInvalidField,
                   absl::StrCat("no key of this algorithm has ", bits, " bits"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> DigestOf(const crypto::SecretKey& key) {
  const absl::Span<const uint8_t> bytes = key.bytes(crypto::SecretKeyAccess::Token());
  std::string digest(32, '\0');
  if (EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<uint8_t*>(&digest[0]), nullptr,
                 EVP_sha256(), nullptr) != 1) {
    return Refusal(ResultReason::kCryptographicFailure, "no digest of the key could be made");
  }
  return digest;
}

bool IsCompromise(RevocationReason reason) {
  return reason == RevocationReason::kKeyCompromise || reason == RevocationReason::kCaCompromise;
}

void SetState(State state, StoredObject* object) {
  object->set_state(static_cast<uint32_t>(state));
}

}  // namespace

absl::Status Operations::TakeName(absl::string_view name, absl::string_view uid) {
  KS_ASSIGN_OR_RETURN(const absl::optional<std::string> other, objects_->FindName(name));
  if (other.has_value()) {
    return Refusal(ResultReason::kIllegalOperation, "another object has this Name");
  }
  return objects_->PutName(name, uid);
}

absl::Status Operations::CheckLink(const messages::Attribute& attribute) {
  if (attribute.name != "Link") return absl::OkStatus();
  messages::Fields fields(attribute.value);
  absl::string_view uid;
  fields.Skip(Tag::kLinkType);
  fields.Text(Tag::kLinkedObjectIdentifier, &uid);
  KS_RETURN_IF_ERROR(fields.End());
  KS_ASSIGN_OR_RETURN(const absl::optional<StoredObject> object, objects_->Find(uid));
  if (object.has_value()) return absl::OkStatus();
  return Refusal(ResultReason::kInvalidField,
                 absl::StrCat("a Link to ", status::Quote(uid), ", which is not there"));
}

absl::StatusOr<std::string> Operations::Keep(StoredObject object, crypto::SecretKey key) {
  std::string uid = random_->Uuid();
  std::set<std::string> names;
  for (const StoredObject::Attribute& one : object.attributes()) {
    if (one.name() != "Name") continue;
    KS_ASSIGN_OR_RETURN(const absl::optional<std::string> other, objects_->FindName(one.value()));
    if (other.has_value() || !names.insert(one.value()).second) {
      return Refusal(ResultReason::kInvalidField, "another object has this Name");
    }
  }
  KS_ASSIGN_OR_RETURN(*object.mutable_digest(), DigestOf(key));
  // Nothing is refused from here on.
  for (const std::string& name : names) KS_RETURN_IF_ERROR(objects_->PutName(name, uid));
  object.set_initial_date(now_);
  object.set_last_change_date(now_);
  SetState(State::kPreActive, &object);
  SetState(StateAt(object, now_), &object);
  objects_->ExpectNew(uid);
  KS_RETURN_IF_ERROR(objects_->PutKey(uid, std::move(key)));
  KS_RETURN_IF_ERROR(objects_->Put(uid, object));
  placeholder_ = uid;
  return uid;
}

absl::Status Operations::Update(Found* found) {
  SetState(StateAt(found->object, now_), &found->object);
  found->object.set_last_change_date(now_);
  return objects_->Put(found->uid, found->object);
}

absl::Status Operations::Create(const Item& payload, Writer* writer) {
  messages::CreateRequest request;
  KS_RETURN_IF_ERROR(messages::ReadCreate(payload, &request));
  if (request.object_type != ObjectType::kSymmetricKey) {
    return Refusal(ResultReason::kInvalidField, "only symmetric keys can be created");
  }
  StoredObject object;
  SetState(State::kPreActive, &object);
  object.set_object_type(static_cast<uint32_t>(request.object_type));
  object.set_key_format(static_cast<uint32_t>(KeyFormat::kRaw));
  for (const messages::Attribute& one : request.attributes) {
    KS_RETURN_IF_ERROR(SetAtCreation(one, &object));
    KS_RETURN_IF_ERROR(CheckLink(one));
  }
  KS_RETURN_IF_ERROR(CheckKind(object));
  if (object.usage_mask() == 0) {
    return Refusal(ResultReason::kInvalidField, "a key needs a Cryptographic Usage Mask");
  }
  KS_ASSIGN_OR_RETURN(crypto::SecretKey key, crypto::SecretKey::Random(object.length() / 8));
  KS_ASSIGN_OR_RETURN(const std::string uid, Keep(std::move(object), std::move(key)));
  writer->Enumeration(Tag::kObjectType, request.object_type);
  messages::WriteUid(uid, writer);
  return absl::OkStatus();
}

absl::Status Operations::Register(const Item& payload, Writer* writer) {
  messages::RegisterRequest request;
  KS_RETURN_IF_ERROR(messages::ReadRegister(payload, &request));
  const messages::KeyBlock& block = request.key_block;
  if (block.wrapped) {
    return Refusal(ResultReason::kFeatureNotSupported, "wrapped keys are not supported");
  }
  const bool is_key = request.object_type == ObjectType::kSymmetricKey;
  if (block.format != KeyFormat::kRaw &&
      !(is_key ? block.format == KeyFormat::kTransparentSymmetricKey
               : block.format == KeyFormat::kOpaque)) {
    return Refusal(ResultReason::kKeyFormatTypeNotSupported,
                   absl::StrCat("key format ", static_cast<uint32_t>(block.format),
                                " is not supported for this object"));
  }
  if (!is_key && (request.secret_data_type < kPassword || request.secret_data_type > kSeed)) {
    return Refusal(ResultReason::kInvalidField, "unknown Secret Data Type");
  }
  StoredObject object;
  SetState(State::kPreActive, &object);
  object.set_object_type(static_cast<uint32_t>(request.object_type));
  object.set_secret_data_type(request.secret_data_type);
  object.set_key_format(static_cast<uint32_t>(block.format));
  const messages::Attributes* const both[] = {&request.attributes, &block.attributes};
  for (const messages::Attributes* const attributes : both) {
    for (const messages::Attribute& one : *attributes) {
      KS_RETURN_IF_ERROR(SetAtCreation(one, &object));
      KS_RETURN_IF_ERROR(CheckLink(one));
    }
  }
  const uint32_t algorithm = static_cast<uint32_t>(block.algorithm.value_or(Algorithm{0}));
  const int32_t length = block.length.value_or(0);
  if ((object.algorithm() != 0 && algorithm != 0 && object.algorithm() != algorithm) ||
      (object.length() != 0 && length != 0 && object.length() != length)) {
    return Refusal(ResultReason::kInvalidField, "the attributes and the key block do not agree");
  }
  if (algorithm != 0) {
    KS_RETURN_IF_ERROR(CheckAlgorithm(algorithm));
    object.set_algorithm(algorithm);
  }
  if (length != 0) object.set_length(length);
  const int64_t bits = static_cast<int64_t>(block.material.size()) * 8;
  if (bits == 0 || bits > kMaxKeyBits || (is_key && object.length() != bits)) {
    return Refusal(ResultReason::kInvalidField,
                   absl::StrCat("the key material has ", bits, " bits"));
  }
  if (is_key) KS_RETURN_IF_ERROR(CheckKind(object));
  KS_ASSIGN_OR_RETURN(crypto::SecretKey key, crypto::SecretKey::CopyOf(block.material));
  KS_ASSIGN_OR_RETURN(const std::string uid, Keep(std::move(object), std::move(key)));
  messages::WriteUid(uid, writer);
  return absl::OkStatus();
}

absl::Status Operations::AddAttribute(const Item& payload, Writer* writer) {
  messages::AttributeRequest request;
  KS_RETURN_IF_ERROR(messages::ReadAttributeRequest(payload, &request));
  KS_ASSIGN_OR_RETURN(Found found, Find(request.uid));
  KS_RETURN_IF_ERROR(server::AddAttribute(&request.attribute, now_, &found.object));
  KS_RETURN_IF_ERROR(CheckLink(request.attribute));
  if (request.attribute.name == "Name") {
    KS_RETURN_IF_ERROR(TakeName(EncodedText(request.attribute.value), found.uid));
  }
  KS_RETURN_IF_ERROR(Update(&found));
  messages::WriteUid(found.uid, writer);
  WriteAttribute({std::string(request.attribute.name), request.attribute.index.value_or(0),
                  std::string(EncodedText(request.attribute.value))},
                 writer);
  return absl::OkStatus();
}

absl::Status Operations::ModifyAttribute(const Item& payload, Writer* writer) {
  messages::AttributeRequest request;
  KS_RETURN_IF_ERROR(messages::ReadAttributeRequest(payload, &request));
  KS_ASSIGN_OR_RETURN(Found found, Find(request.uid));
  const messages::Attribute& attribute = request.attribute;
  std::string old_name;
  for (const StoredObject::Attribute& one : found.object.attributes()) {
    if (one.name() == "Name" && attribute.name == "Name" &&
        one.index() == attribute.index.value_or(0)) {
      old_name = one.value();
    }
  }
  KS_RETURN_IF_ERROR(server::ModifyAttribute(attribute, now_, &found.object));
  KS_RETURN_IF_ERROR(CheckLink(attribute));
  const absl::string_view value = EncodedText(attribute.value);
  if (attribute.name == "Name" && value != old_name) {
    KS_RETURN_IF_ERROR(TakeName(value, found.uid));
    KS_RETURN_IF_ERROR(objects_->DeleteName(old_name));
  }
  KS_RETURN_IF_ERROR(Update(&found));
  messages::WriteUid(found.uid, writer);
  WriteAttribute({std::string(attribute.name), attribute.index.value_or(0), std::string(value)},
                 writer);
  return absl::OkStatus();
}

absl::Status Operations::DeleteAttribute(const Item& payload, Writer* writer) {
  messages::AttributeRequest request;
  KS_RETURN_IF_ERROR(messages::ReadDeleteAttribute(payload, &request));
  KS_ASSIGN_OR_RETURN(Found found, Find(request.uid));
  ShownAttribute removed;
  KS_RETURN_IF_ERROR(server::DeleteAttribute(request.attribute.name, request.attribute.index,
                                             &found.object, &removed));
  if (removed.name == "Name") KS_RETURN_IF_ERROR(objects_->DeleteName(removed.value));
  KS_RETURN_IF_ERROR(Update(&found));
  messages::WriteUid(found.uid, writer);
  WriteAttribute(removed, writer);
  return absl::OkStatus();
}

absl::Status Operations::Activate(const Item& payload, Writer* writer) {
  messages::UidRequest request;
  KS_RETURN_IF_ERROR(messages::ReadUid(payload, &request));
  KS_ASSIGN_OR_RETURN(Found found, Find(request.uid));
  if (StateAt(found.object, now_) != State::kPreActive) {
    return Refusal(ResultReason::kPermissionDenied, "the object is not Pre-Active");
  }
  found.object.set_activation_date(now_);
  KS_RETURN_IF_ERROR(Update(&found));
  messages::WriteUid(found.uid, writer);
  return absl::OkStatus();
}

absl::Status Operations::Revoke(const Item& payload, Writer* writer) {
  messages::RevokeRequest request;
  KS_RETURN_IF_ERROR(messages::ReadRevoke(payload, &request));
  const uint32_t reason = static_cast<uint32_t>(request.reason);
  if (reason < 1 || reason > 7) {
    return Refusal(ResultReason::kInvalidField, "unknown Revocation Reason Code");
  }
  KS_ASSIGN_OR_RETURN(Found found, Find(request.uid));
  StoredObject& object = found.object;
  const State state = StateAt(object, now_);
  SetState(state, &object);
  if (IsCompromise(request.reason)) {
    const bool destroyed = state == State::kDestroyed || state == State::kDestroyedCompromised;
    SetState(destroyed ? State::kDestroyedCompromised : State::kCompromised, &object);
    if (!object.has_compromise_date()) object.set_compromise_date(now_);
    object.set_compromise_occurrence_date(request.compromise_occurred.value_or(
        object.has_compromise_occurrence_date() ? object.compromise_occurrence_date()
                                                : object.initial_date()));
  } else if (state == State::kActive) {
    SetState(State::kDeactivated, &object);
    object.set_deactivation_date(now_);
  } else {
    return Refusal(ResultReason::kIllegalOperation,
                   "only an Active object is revoked for another reason than a compromise");
  }
  object.set_revocation_reason(reason);
  object.set_revocation_message(std::string(request.message.substr(0, 1024)));
  KS_RETURN_IF_ERROR(Update(&found));
  messages::WriteUid(found.uid, writer);
  return absl::OkStatus();
}

absl::Status Operations::Destroy(const Item& payload, Writer* writer) {
  messages::UidRequest request;
  KS_RETURN_IF_ERROR(messages::ReadUid(payload, &request));
  KS_ASSIGN_OR_RETURN(Found found, Find(request.uid));
  const State state = StateAt(found.object, now_);
  if (state == State::kActive) {
    return Refusal(ResultReason::kPermissionDenied, "an Active object is not destroyed");
  }
  if (state == State::kDestroyed || state == State::kDestroyedCompromised) {
    return Refusal(ResultReason::kPermissionDenied, "the object is destroyed already");
  }
  SetState(state == State::kCompromised ? State::kDestroyedCompromised : State::kDestroyed,
           &found.object);
  found.object.set_destroy_date(now_);
  // Its names are free again; the rest of what is known of it stays.
  for (const StoredObject::Attribute& one : found.object.attributes()) {
    if (one.name() == "Name") KS_RETURN_IF_ERROR(objects_->DeleteName(one.value()));
  }
  KS_RETURN_IF_ERROR(objects_->DeleteKey(found.uid));
  KS_RETURN_IF_ERROR(Update(&found));
  messages::WriteUid(found.uid, writer);
  return absl::OkStatus();
}

}  // namespace keysphere::kmip::server
