#ifndef KEYSPHERE_CONTROLLER_HOSTS_STANDARD_KEYS_H_
#define KEYSPHERE_CONTROLLER_HOSTS_STANDARD_KEYS_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"
#include "common/keyset/keyset.h"
#include "controller/hosts/needed_keys.h"
#include "controller/kms/kms_clusters.h"
#include "keysphere/host/v1/host_management.pb.h"

namespace keysphere::controller::hosts {

// What one host caches of standard providers, as its controller knows it, and what it lacks of what
// its cluster needs. No calls: HostSession makes them. Lives on the controller's strand.
class StandardKeys {
 public:
  // Keys in one message: some 100 bytes each.
  static constexpr size_t kMaxKeys = 8000;

  // Both outlive it.
  StandardKeys(kms::KmsClusters* kms, NeededKeys* needs) : kms_(kms), needs_(needs) {}

  // The host has told all that it caches. `verified`: up to which instance of each provider its
  // keys were found in the KMS (S152), in this attachment.
  void Reset(const google::protobuf::RepeatedPtrField<host::v1::StandardKeyList>& cached,
             std::map<std::string, int64_t> verified);
  // The host has told again what it caches: what is known of those that are the same stays.
  void Relist(const google::protobuf::RepeatedPtrField<host::v1::StandardKeyList>& cached);

  // The standard providers that the host is entitled to, and its cluster.
  void SetProviders(const std::vector<std::string>& providers, const std::string& cluster);

  bool Caches(KeyNamePtr key) const { return cached_.count(key) != 0; }
  // By provider.
  const std::map<std::string, int64_t>& counts() const { return counts_; }
  const keyset::CachedKeysDigest& digest() const { return digest_; }
  // Cached, or on its way there.
  bool Knows(KeyNamePtr key) const {
    return Caches(key) || ready_.count(key) != 0 || sending_.count(key) != 0;
  }

  // Keys that the cluster needs and the host neither caches nor is about to be sent.
  std::vector<KeyNamePtr> Lacking();
  // Of those, what a pass may ask for: its KMS was not found dead, nor said that it lacks the key.
  std::vector<KeyNamePtr> LackingToAsk();
  // Cached keys that this vCenter did not bring and whose KMS has not said yet that it has them
  // (S152), of a KMS that was not found dead.
  std::vector<KeyNamePtr> Unverified() const;

  // To be sent.
  void Ready(KeyNamePtr key, const kms::FetchedKey& fetched);
  // Keys that a message that adds can bring.
  bool HasReady() const;
  // What the KMS said of a cached key (S152): it has this one, or has it not.
  void Verified(KeyNamePtr key, const kms::FetchedKey& fetched);
  // `instance`: of the provider whose KMS said so.
  void MissingOnKms(KeyNamePtr key, int64_t instance);
  // A message with removal is due.
  bool HasRemovals() const { return !missing_.empty() || replaces_; }
  // All unverified keys of the provider were verified. True: that is news.
  bool NoteVerified();
  const std::map<std::string, int64_t>& verified() const { return verified_; }

  // ---- Messages ----

  // The states of the providers as the host should know them.
  std::vector<host::v1::StandardProviderState> States();
  // What goes with this message, sealed to this boot of the host, and what was told by it.
  struct Sent {
    std::map<KeyNamePtr, kms::FetchedKey, ByName> keys;
    std::string states;
  };
  // Seals a key to this boot of the host.
  using Sealer =
      absl::FunctionRef<absl::StatusOr<std::string>(const KeyName& name, const crypto::SecretKey&)>;
  // Only a message that removes replaces keys.
  absl::StatusOr<Sent> Fill(Sealer seal, bool removal, host::v1::ApplyKeysRequest* request);
  // The host answered, or did not: then the keys are lacking again, unless they go once more.
  void Applied(const Sent& sent, const host::v1::ApplyKeysResponse& response);
  void NotApplied(const Sent& sent, bool again);
  // The host took it otherwise: with its mode (S139).
  void NoteCached(KeyNamePtr key, const kms::FetchedKey& fetched);
  bool Told();
  void ForgetTold() { told_states_.clear(); }
  // It caches keys of providers that it may not have any more.
  bool HasForeign() const;

 private:
  struct Cached {
    std::string check_value;
    int64_t instance = 0;  // of the provider that brought it or verified it; 0: neither
  };
  struct Reading {
    size_t at = 0;
    int rewrites = -1;
    absl::flat_hash_set<KeyNamePtr> lacking;
  };

  bool MayHold(absl::string_view provider) const;
  void Put(KeyNamePtr key, const std::string& check_value, int64_t instance);
  void Erase(KeyNamePtr key);
  int64_t InstanceOf(const std::string& provider) const;
  void Read();

  kms::KmsClusters* const kms_;
  NeededKeys* const needs_;
  std::vector<std::string> providers_;
  std::string cluster_;
  absl::flat_hash_map<KeyNamePtr, Cached> cached_;
  std::map<std::string, int64_t> counts_;  // by provider
  keyset::CachedKeysDigest digest_;
  std::map<std::string, int64_t> verified_;
  std::map<std::string, Reading> readings_;
  std::map<KeyNamePtr, kms::FetchedKey, ByName> ready_;
  std::set<KeyNamePtr, ByName> sending_;
  bool replaces_ = false;                 // something ready replaces what is cached
  std::set<KeyNamePtr, ByName> missing_;  // cached, and the KMS does not have it
  std::string told_states_;
};

}  // namespace keysphere::controller::hosts

#endif  // KEYSPHERE_CONTROLLER_HOSTS_STANDARD_KEYS_H_
