#ifndef KEYSPHERE_KMIP_SERVER_OPERATIONS_H_
#define KEYSPHERE_KMIP_SERVER_OPERATIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/random/random.h"
#include "kmip/messages/message.h"
#include "kmip/messages/payloads.h"
#include "kmip/server/attributes.h"
#include "kmip/server/fault_injector.h"
#include "kmip/server/objects.h"
#include "kmip/ttlv/writer.h"

namespace keysphere::kmip::server {

// Carries out the operations of one request on the objects of its client. Errors are Refusals of
// kmip/messages; an operation that fails has changed nothing and written nothing that counts.
class Operations {
 public:
  // All outlive this; `faults` may be null. `now`: seconds since 1970.
  Operations(Objects* objects, random::Random* random, FaultInjector* faults,
             const messages::ProtocolVersion& version, int64_t now)
      : objects_(objects), random_(random), faults_(faults), version_(version), now_(now) {}

  // Writes the fields of the Response Payload.
  absl::Status Run(messages::Operation operation, const ttlv::Item& payload, ttlv::Writer* writer);

  // What an absent Unique Identifier means: the object of the last Create, Register or Locate.
  const std::string& placeholder() const { return placeholder_; }
  void set_placeholder(std::string uid) { placeholder_ = std::move(uid); }

 private:
  struct Found {
    std::string uid;
    StoredObject object;  // as it is in the store
    bool told_pre_active = false;
  };

  absl::Status Create(const ttlv::Item& payload, ttlv::Writer* writer);
  absl::Status Register(const ttlv::Item& payload, ttlv::Writer* writer);
  absl::Status Get(const ttlv::Item& payload, ttlv::Writer* writer);
  absl::Status GetAttributes(const ttlv::Item& payload, ttlv::Writer* writer);
  absl::Status GetAttributeList(const ttlv::Item& payload, ttlv::Writer* writer);
  absl::Status AddAttribute(const ttlv::Item& payload, ttlv::Writer* writer);
  absl::Status ModifyAttribute(const ttlv::Item& payload, ttlv::Writer* writer);
  absl::Status DeleteAttribute(const ttlv::Item& payload, ttlv::Writer* writer);
  absl::Status Locate(const ttlv::Item& payload, ttlv::Writer* writer);
  absl::Status Activate(const ttlv::Item& payload, ttlv::Writer* writer);
  absl::Status Revoke(const ttlv::Item& payload, ttlv::Writer* writer);
  absl::Status Destroy(const ttlv::Item& payload, ttlv::Writer* writer);
  absl::Status Query(const ttlv::Item& payload, ttlv::Writer* writer);
  absl::Status DiscoverVersions(const ttlv::Item& payload, ttlv::Writer* writer);

  // Item Not Found: none, or another client's.
  absl::StatusOr<Found> Find(const absl::optional<absl::string_view>& uid);
  // What clients are told of it: by a fault not always what it is.
  std::vector<ShownAttribute> Show(Found found) const;
  // Invalid Field if a Link leads to an object that is not there.
  absl::Status CheckLink(const messages::Attribute& attribute);
  // A new object with its key; its identifier.
  absl::StatusOr<std::string> Keep(StoredObject object, crypto::SecretKey key);
  // An object that was changed.
  absl::Status Update(Found* found);
  // Illegal Operation if an object bears the name (an encoded Name value) already.
  absl::Status TakeName(absl::string_view name, absl::string_view uid);

  Objects* const objects_;
  random::Random* const random_;
  FaultInjector* const faults_;
  const messages::ProtocolVersion version_;
  const int64_t now_;
  std::string placeholder_;
};

}  // namespace keysphere::kmip::server

#endif  // KEYSPHERE_KMIP_SERVER_OPERATIONS_H_
