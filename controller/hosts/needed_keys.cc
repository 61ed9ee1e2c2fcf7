#include "controller/hosts/needed_keys.h"

#include <algorithm>

namespace keysphere::controller::hosts {

KeyNamePtr NeededKeys::Name(absl::string_view provider, absl::string_view id) {
  return &*names_.insert(KeyName{std::string(provider), std::string(id)}).first;
}

std::vector<KeyNamePtr> NeededKeys::KeysOf(const v1::Vm& vm) {
  std::vector<KeyNamePtr> keys;
  const auto add = [this, &keys](const v1::CryptoKeyId& id) {
    const KeyNamePtr key = Name(id);
    if (key != nullptr && std::find(keys.begin(), keys.end(), key) == keys.end()) {
      keys.push_back(key);
    }
  };
  add(vm.key_id());
  for (const v1::VmDisk& disk : vm.disks()) add(disk.key_id());
  return keys;
}

void NeededKeys::Add(const std::string& cluster, KeyNamePtr key) {
  if (cluster.empty() || key == nullptr) return;
  OfProvider& needed = clusters_[cluster][key->provider];
  if (++needed.uses[key] > 1) return;
  needed.log.push_back(key);
  if (added_) added_(cluster);
}

void NeededKeys::Remove(const std::string& cluster, KeyNamePtr key) {
  if (cluster.empty() || key == nullptr) return;
  OfProvider& needed = clusters_[cluster][key->provider];
  const auto it = needed.uses.find(key);
  if (it == needed.uses.end() || --it->second > 0) return;
  needed.uses.erase(it);
  if (needed.log.size() < 2 * needed.uses.size() + 1000) return;
  needed.log.clear();
  for (const auto& [name, uses] : needed.uses) needed.log.push_back(name);
  std::sort(needed.log.begin(), needed.log.end(), ByName());
  ++needed.rewrites;
}

const NeededKeys::OfProvider* NeededKeys::Of(absl::string_view cluster,
                                             absl::string_view provider) const {
  const auto it = clusters_.find(cluster);
  if (it == clusters_.end()) return nullptr;
  const auto found = it->second.find(provider);
  return found == it->second.end() ? nullptr : &found->second;
}

}  // namespace keysphere::controller::hosts
