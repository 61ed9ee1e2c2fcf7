#include "controller/remediation/desired_state.h"

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "controller/version/version.h"

namespace keysphere::controller::remediation {
namespace {

absl::Status Refusal(v1::Reason reason, const HostFacts& host, const providers::Provider& provider,
                     absl::string_view why, absl::string_view next_step) {
  return status::Error(reason, absl::StrCat("host ", status::Quote(host.name),
                                            " may not hold the key of provider ",
                                            status::Quote(provider.name), ": ", why))
      .Object("host", host.name)
      .NextStep(next_step)
      .With("provider", provider.name);
}

}  // namespace

absl::Status Entitlement(const HostFacts& host, const providers::Provider& provider) {
  std::vector<absl::Status> refusals;
  const bool native = provider.type == v1::PROVIDER_TYPE_NATIVE;
  if (native && !provider.has_backup) {
    refusals.push_back(Refusal(v1::REASON_NOT_BACKED_UP, host, provider,
                               "the provider was never backed up",
                               "Export the provider and download its bundle."));
  }
  if (host.cluster.empty()) {
    refusals.push_back(Refusal(v1::REASON_NOT_IN_CLUSTER, host, provider,
                               "the host is in no cluster", "Move the host into a cluster."));
  }
  if (native && !version::AtLeast(host.version, version::kFirstNative)) {
    refusals.push_back(Refusal(v1::REASON_VERSION_UNSUPPORTED, host, provider,
                               absl::StrCat("the host runs ", host.version, ", older than 7.0 U2"),
                               "Use a host of version 7.0 U2 or newer."));
  }
  if (native && provider.tpm_required && host.tpm_version != v1::TPM_VERSION_2_0) {
    refusals.push_back(Refusal(v1::REASON_TPM_REQUIRED, host, provider,
                               "the provider is for hosts with a TPM 2.0 only",
                               "Use a host with a TPM 2.0, or restore the provider without that "
                               "constraint."));
  }
  return status::First(refusals);
}

host::v1::KeyEntry EntryOf(const providers::Provider& provider) {
  host::v1::KeyEntry entry;
  entry.set_provider(provider.name);
  entry.set_type(provider.type);
  entry.set_key_id(provider.key_id);
  entry.set_key_check_value(provider.key_check_value);
  entry.set_tpm_required(provider.tpm_required);
  return entry;
}

std::string DesiredState::Digest(const keyset::CachedKeysDigest& cached) const {
  return keyset::Digest(entries, cluster, cached);
}

DesiredState Desire(const HostFacts& host,
                    const std::vector<const providers::Provider*>& providers) {
  DesiredState desired;
  desired.cluster = host.cluster;
  for (const providers::Provider* provider : providers) {
    const absl::Status entitled = Entitlement(host, *provider);
    if (entitled.ok() && provider->type == v1::PROVIDER_TYPE_STANDARD) {
      desired.standard.push_back(provider->name);
      continue;
    }
    if (entitled.ok()) {
      desired.entries.push_back(EntryOf(*provider));
      continue;
    }
    host::v1::WithheldProvider withheld;
    *withheld.mutable_entry() = EntryOf(*provider);
    withheld.set_reason(status::ReasonOf(entitled));
    desired.withheld.push_back(std::move(withheld));
  }
  return desired;
}

}  // namespace keysphere::controller::remediation
