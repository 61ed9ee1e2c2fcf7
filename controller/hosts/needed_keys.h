#ifndef KEYSPHERE_CONTROLLER_HOSTS_NEEDED_KEYS_H_
#define KEYSPHERE_CONTROLLER_HOSTS_NEEDED_KEYS_H_

#include <cstddef>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "keysphere/v1/inventory.pb.h"
#include "keysphere/v1/types.pb.h"

namespace keysphere::controller::hosts {

// A key by its name. One object for each name, which stays: a pointer is as good as the name.
struct KeyName {
  std::string provider;
  std::string id;

  friend bool operator<(const KeyName& a, const KeyName& b) {
    return a.id != b.id ? a.id < b.id : a.provider < b.provider;
  }
};
using KeyNamePtr = const KeyName*;
// For sets whose order must not depend on where names lie.
struct ByName {
  bool operator()(KeyNamePtr a, KeyNamePtr b) const { return *a < *b; }
};

// Which keys the VMs and hosts of each cluster use: a host of the cluster holds all of them that
// are of standard providers (S55). Kept as VMs come, change and go, so that a pass over hosts that
// have all they need costs nothing for each VM. Lives on the controller's strand.
class NeededKeys {
 public:
  // The keys of one provider in one cluster.
  struct OfProvider {
    // How many objects use the key.
    absl::flat_hash_map<KeyNamePtr, int> uses;
    // Every key that came into use, in that order; a reader remembers how far it has read. Those
    // that are in use no more stay until a rewrite.
    std::vector<KeyNamePtr> log;
    // Rises when the log is rewritten: begin again.
    int rewrites = 0;
  };

  KeyNamePtr Name(absl::string_view provider, absl::string_view id);
  // nullptr for an object that is not encrypted.
  KeyNamePtr Name(const v1::CryptoKeyId& key) {
    return key.key_id().empty() ? nullptr : Name(key.provider_id(), key.key_id());
  }

  // Of its home and its disks, each once.
  std::vector<KeyNamePtr> KeysOf(const v1::Vm& vm);

  // An object of the cluster uses the key, or does so no longer. An empty cluster: nothing.
  void Add(const std::string& cluster, KeyNamePtr key);
  void Remove(const std::string& cluster, KeyNamePtr key);

  // nullptr: nothing is needed.
  const OfProvider* Of(absl::string_view cluster, absl::string_view provider) const;

  // Called with the cluster when a key came into use there.
  void OnAdded(std::function<void(const std::string&)> listener) { added_ = std::move(listener); }

 private:
  using Clusters =
      std::map<std::string, std::map<std::string, OfProvider, std::less<>>, std::less<>>;

  std::set<KeyName> names_;
  Clusters clusters_;
  std::function<void(const std::string&)> added_;
};

}  // namespace keysphere::controller::hosts

#endif  // KEYSPHERE_CONTROLLER_HOSTS_NEEDED_KEYS_H_
