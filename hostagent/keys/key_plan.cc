#include "hostagent/keys/key_plan.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/crypto/kdf.h"
#include "common/files/names.h"
#include "common/keyset/keyset.h"
#include "common/status/status.h"

namespace keysphere::hostagent::keys {
namespace {

using host::v1::ApplyKeysRequest;
using host::v1::KeyEntry;

constexpr size_t kMaxKeyIdBytes = 256;

absl::Status CheckEntry(const KeyEntry& entry) {
  KS_RETURN_IF_ERROR(files::ValidateName(entry.provider()));
  if (entry.type() != v1::PROVIDER_TYPE_NATIVE) {
    return status::Error(v1::REASON_UNSUPPORTED, "hosts take whole keys of native providers only")
        .Object("provider", entry.provider());
  }
  if (entry.key_id().empty() || entry.key_id().size() > kMaxKeyIdBytes) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, "key_id must have 1 to 256 bytes")
        .Object("provider", entry.provider());
  }
  if (entry.key_check_value().size() != crypto::kCheckValueBytes) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, "key_check_value must have 8 bytes")
        .Object("provider", entry.provider());
  }
  return absl::OkStatus();
}

// One provider that the controller wants here.
struct Wanted {
  KeyEntry entry;
  int sealed_index = -1;  // -1: the controller takes it as held
};

absl::StatusOr<std::map<std::string, Wanted>> CollectWanted(const ApplyKeysRequest& request) {
  std::map<std::string, Wanted> wanted;
  for (int i = 0; i < request.keys_size(); ++i) {
    KS_RETURN_IF_ERROR(CheckEntry(request.keys(i).entry()));
    const KeyEntry& entry = request.keys(i).entry();
    if (!wanted.try_emplace(entry.provider(), Wanted{entry, i}).second) {
      return status::Error(v1::REASON_INVALID_ARGUMENT, "a provider is named twice")
          .Object("provider", entry.provider());
    }
  }
  for (const KeyEntry& entry : request.held()) {
    KS_RETURN_IF_ERROR(CheckEntry(entry));
    if (!wanted.try_emplace(entry.provider(), Wanted{entry, -1}).second) {
      return status::Error(v1::REASON_INVALID_ARGUMENT, "a provider is named twice")
          .Object("provider", entry.provider());
    }
  }
  return wanted;
}

// REASON_UNSPECIFIED: the host may hold it.
v1::Reason RefusalOf(const KeyEntry& entry, const HostFacts& facts) {
  if (!facts.supports_native) return v1::REASON_VERSION_UNSUPPORTED;
  if (entry.tpm_required() && !facts.has_tpm_2) return v1::REASON_TPM_REQUIRED;
  return v1::REASON_UNSPECIFIED;
}

bool SameLabel(const KeyEntry& a, const KeyEntry& b) {
  return a.key_id() == b.key_id() && a.tpm_required() == b.tpm_required() && a.type() == b.type();
}

}  // namespace

absl::StatusOr<KeyPlan> PlanKeys(const std::vector<KeyEntry>& current,
                                 const ApplyKeysRequest& request, const HostFacts& facts) {
  KS_ASSIGN_OR_RETURN(const auto wanted, CollectWanted(request));
  const bool tick = request.allow_removal();
  std::map<std::string, const KeyEntry*> held;
  for (const KeyEntry& entry : current) held[entry.provider()] = &entry;

  KeyPlan plan;
  std::map<std::string, const KeyEntry*> leftover = held;
  for (const auto& [provider, want] : wanted) {
    plan.named.push_back(provider);
    const v1::Reason refusal = RefusalOf(want.entry, facts);
    if (refusal != v1::REASON_UNSPECIFIED) {
      host::v1::WithheldProvider refused;
      *refused.mutable_entry() = want.entry;
      refused.set_reason(refusal);
      plan.refused.push_back(std::move(refused));
      continue;  // a tick removes what is held of it: it stays in `leftover`
    }
    leftover.erase(provider);
    const auto it = held.find(provider);
    if (it == held.end()) {
      if (want.sealed_index >= 0) {
        plan.steps.push_back({KeyStep::Kind::kStore, want.entry, want.sealed_index, false});
      }
    } else if (keyset::SameKey(*it->second, want.entry)) {
      if (!SameLabel(*it->second, want.entry)) {
        plan.steps.push_back({KeyStep::Kind::kRelabel, want.entry, -1, false});
      }
    } else if (tick && want.sealed_index >= 0) {
      plan.steps.push_back({KeyStep::Kind::kStore, want.entry, want.sealed_index, true});
    } else {
      plan.collisions.push_back(want.entry);
    }
  }
  for (const host::v1::WithheldProvider& withheld : request.withheld()) {
    plan.named.push_back(withheld.entry().provider());
  }
  for (const host::v1::StandardProviderState& state : request.standard_providers()) {
    plan.named.push_back(state.provider());
  }
  if (tick) {
    for (const auto& [provider, entry] : leftover) {
      plan.steps.push_back({KeyStep::Kind::kRemove, *entry, -1, false});
    }
  }
  return plan;
}

bool SupportsNativeKeys(const std::string& version) {
  std::vector<int> parts;
  for (const absl::string_view part : absl::StrSplit(version, '.')) {
    int number = 0;
    if (!absl::SimpleAtoi(part, &number)) return false;
    parts.push_back(number);
  }
  parts.resize(std::max<size_t>(parts.size(), 3));
  return std::tie(parts[0], parts[1], parts[2]) >= std::make_tuple(7, 0, 2);
}

}  // namespace keysphere::hostagent::keys
