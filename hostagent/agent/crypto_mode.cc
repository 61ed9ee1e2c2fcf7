#include "hostagent/agent/crypto_mode.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "common/status/text.h"

namespace keysphere::hostagent::agent {
namespace {

using host::v1::SetCryptoModeRequest;

// What can be done next in a state.
absl::string_view NextStepFrom(v1::CryptoState state) {
  switch (state) {
    case v1::CRYPTO_STATE_INCAPABLE:
      return "prepare the host, then enable its encryption mode";
    case v1::CRYPTO_STATE_PREPARED:
      return "enable encryption mode of the host with a host key";
    case v1::CRYPTO_STATE_SAFE:
      return "encryption mode is on: change the host key if it shall be another";
    default:
      return "reboot the host";
  }
}

absl::Status WrongState(const config::HostKey& state, absl::string_view wanted) {
  return status::Error(
             v1::REASON_INVALID_STATE,
             absl::StrCat("the host's encryption mode is ",
                          status::EnumWord(v1::CryptoState_Name(StateOf(state)), "CRYPTO_STATE_"),
                          "; it can ", wanted))
      .With("crypto_state", v1::CryptoState_Name(StateOf(state)))
      .NextStep(NextStepFrom(StateOf(state)));
}

// Of the key, or of the KDK that it is derived from: what the request brings, or what the host
// holds. Empty: it is not here.
std::string CheckValueOf(const keys::KeyCache& cache, const v1::CryptoKeyId& key,
                         const std::string& brought) {
  return brought.empty() ? cache.CheckValue(key.provider_id(), key.key_id()) : brought;
}

// Whether a key is, or with this request comes to be, one of a KMS.
bool IsStandard(const keys::KeyCache& cache, const v1::CryptoKeyId& key,
                const std::string& brought) {
  return !brought.empty() || !cache.standard().CheckValue(key.provider_id(), key.key_id()).empty();
}

void MakeSafe(const v1::CryptoKeyId& key, const std::string& check_value, bool standard,
              config::HostKey* state) {
  state->set_state(config::CRYPTO_STATE_SAFE);
  state->set_provider(key.provider_id());
  state->set_key_id(key.key_id());
  state->set_kcv(check_value);
  state->set_standard(standard);
}

bool IsNamed(const config::HostKey& state, const v1::CryptoKeyId& key) {
  return state.provider() == key.provider_id() && state.key_id() == key.key_id();
}

// Refuses the name of the host's key where it would now give another key: the provider's name
// stands for another KDK than the one from which it was derived, or for another KMS that gave the
// same id.
absl::Status CheckSameKey(const std::string& check_value, const v1::CryptoKeyId& key,
                          const config::HostKey& state) {
  if (!IsNamed(state, key) || check_value.empty() || check_value == state.kcv()) {
    return absl::OkStatus();
  }
  return status::Error(v1::REASON_KEY_MISMATCH,
                       "the host key of this id is or was another key of the provider")
      .Object("provider", key.provider_id())
      .NextStep("name a new key id");
}

// `brought`: check value of the key, if it comes with the request.
absl::Status CheckKey(const keys::KeyCache& cache, const v1::CryptoKeyId& key,
                      const std::string& brought, const config::HostKey& state) {
  if (key.key_id().empty() || key.provider_id().empty() || key.key_id().size() > 256) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         "host_key needs a provider_id and a key_id, of at most 256 bytes")
        .NextStep("name a provider and one of its keys");
  }
  if (brought.empty()) {
    KS_RETURN_IF_ERROR(CheckKeyHere(cache, key.provider_id(), key.key_id()));
  }
  KS_RETURN_IF_ERROR(CheckSameKey(CheckValueOf(cache, key, brought), key, state));
  if (!brought.empty()) return absl::OkStatus();
  // Whether it can really be had.
  return cache.HostKey(key.provider_id(), key.key_id()).status();
}

absl::Status MissingKey(const keys::KeyCache& cache, const std::string& provider,
                        const std::string& key_id) {
  const v1::Reason reason = cache.WhyMissing(provider, key_id);
  absl::string_view what = "the host does not hold the provider's key";
  absl::string_view next_step = "create or import the provider on the host's controller";
  if (reason == v1::REASON_KMS_UNREACHABLE) {
    what = "the host does not hold the key, and no server of the provider's KMS answers";
    next_step = "bring the KMS back, then try again";
  } else if (reason == v1::REASON_KEY_MISSING_ON_KMS) {
    what = "the host does not hold the key, and the provider's KMS does not have it";
    next_step = "restore the key on the KMS, or name another";
  } else if (cache.standard().Knows(provider)) {
    what = "the host does not hold this key of the provider";
    next_step = "let the host's controller fetch it";
  }
  return status::Error(reason, what)
      .Object("provider", provider)
      .With("provider", provider)
      .With("key_id", key_id)
      .NextStep(next_step);
}

}  // namespace

v1::CryptoState StateOf(const config::HostKey& key) {
  switch (key.state()) {
    case config::CRYPTO_STATE_PREPARED:
      return v1::CRYPTO_STATE_PREPARED;
    case config::CRYPTO_STATE_SAFE:
      return v1::CRYPTO_STATE_SAFE;
    case config::CRYPTO_STATE_PENDING_INCAPABLE:
      return v1::CRYPTO_STATE_PENDING_INCAPABLE;
    default:
      return v1::CRYPTO_STATE_INCAPABLE;
  }
}

v1::CryptoKeyId KeyIdOf(const config::HostKey& key) {
  v1::CryptoKeyId id;
  id.set_key_id(key.key_id());
  id.set_provider_id(key.provider());
  return id;
}

absl::Status CheckKeyHere(const keys::KeyCache& cache, const std::string& provider,
                          const std::string& key_id) {
  std::vector<absl::Status> refusals;
  if (cache.Collides(provider)) {
    refusals.push_back(
        status::Error(v1::REASON_KEY_MISMATCH,
                      "the host holds another key under the provider's name until the next pass")
            .Object("provider", provider)
            .NextStep("let the next remediation pass swap the keys, or run one"));
  }
  if (!cache.HoldsKey(provider, key_id)) {
    for (const v1::Reason reason : cache.WhyWithheld(provider)) {
      refusals.push_back(status::Error(reason, "the host may not hold the provider's key")
                             .Object("provider", provider));
    }
    refusals.push_back(MissingKey(cache, provider, key_id));
  }
  return status::First(refusals);
}

absl::StatusOr<bool> ChangeCryptoMode(SetCryptoModeRequest::Action action,
                                      const v1::CryptoKeyId& key, const keys::KeyCache& cache,
                                      const std::string& brought, config::HostKey* state) {
  const v1::CryptoState now = StateOf(*state);
  switch (action) {
    case SetCryptoModeRequest::ACTION_PREPARE:
      if (now != v1::CRYPTO_STATE_INCAPABLE) {
        return WrongState(*state, "be prepared only while it is off");
      }
      state->set_state(config::CRYPTO_STATE_PREPARED);
      return true;
    case SetCryptoModeRequest::ACTION_ENABLE:
      if (now == v1::CRYPTO_STATE_SAFE) {
        if (IsNamed(*state, key)) {
          KS_RETURN_IF_ERROR(CheckSameKey(CheckValueOf(cache, key, brought), key, *state));
          return false;
        }
        return status::Error(v1::REASON_ALREADY_EXISTS, "the host is safe with another host key")
            .With("provider", state->provider())
            .With("key_id", state->key_id())
            .NextStep("change the host key instead");
      }
      if (now != v1::CRYPTO_STATE_PREPARED) {
        return WrongState(*state, "be enabled only once it is prepared");
      }
      KS_RETURN_IF_ERROR(CheckKey(cache, key, brought, *state));
      MakeSafe(key, CheckValueOf(cache, key, brought), IsStandard(cache, key, brought), state);
      return true;
    case SetCryptoModeRequest::ACTION_DISABLE:
      if (now != v1::CRYPTO_STATE_SAFE) {
        return WrongState(*state, "be disabled only while the host is safe");
      }
      state->set_state(config::CRYPTO_STATE_PENDING_INCAPABLE);
      return true;
    case SetCryptoModeRequest::ACTION_CHANGE_KEY:
      if (now != v1::CRYPTO_STATE_SAFE) {
        return WrongState(*state, "change its key only while the host is safe");
      }
      if (IsNamed(*state, key)) {
        KS_RETURN_IF_ERROR(CheckSameKey(CheckValueOf(cache, key, brought), key, *state));
        return false;
      }
      KS_RETURN_IF_ERROR(CheckKey(cache, key, brought, *state));
      MakeSafe(key, CheckValueOf(cache, key, brought), IsStandard(cache, key, brought), state);
      return true;
    default:
      return status::Error(v1::REASON_INVALID_ARGUMENT, "action is not set");
  }
}

absl::StatusOr<bool> EnableFor(const std::string& provider, const std::string& key_id,
                               const keys::KeyCache& cache, config::HostKey* state) {
  switch (StateOf(*state)) {
    case v1::CRYPTO_STATE_SAFE:
      return false;
    case v1::CRYPTO_STATE_PENDING_INCAPABLE:
      return WrongState(*state, "be enabled again only after a reboot of the host");
    default:
      break;
  }
  v1::CryptoKeyId key;
  key.set_provider_id(provider);
  key.set_key_id(key_id);
  KS_RETURN_IF_ERROR(CheckKey(cache, key, /*brought=*/"", *state));
  MakeSafe(key, cache.CheckValue(provider, key_id), IsStandard(cache, key, /*brought=*/""), state);
  return true;
}

bool BootCryptoMode(const keys::KeyCache& cache, const std::string& new_key_id,
                    config::HostKey* state) {
  switch (StateOf(*state)) {
    case v1::CRYPTO_STATE_PENDING_INCAPABLE:
      state->Clear();
      state->set_state(config::CRYPTO_STATE_INCAPABLE);
      return true;
    case v1::CRYPTO_STATE_SAFE:
      break;
    default:
      return false;
  }
  // That is what the very key of then gives, not another one under its name (S116, S141).
  if (cache.CheckValue(state->provider(), state->key_id()) == state->kcv() &&
      cache.HostKey(state->provider(), state->key_id()).ok()) {
    return false;
  }
  state->set_state(config::CRYPTO_STATE_INCAPABLE);
  if (!AwaitsHostKey(cache, *state)) MakeOwnHostKey(cache, new_key_id, state);
  return true;
}

bool AwaitsHostKey(const keys::KeyCache& cache, const config::HostKey& state) {
  return StateOf(state) == v1::CRYPTO_STATE_INCAPABLE && state.standard() && cache.size() > 0;
}

bool MakeOwnHostKey(const keys::KeyCache& cache, const std::string& new_key_id,
                    config::HostKey* state) {
  if (StateOf(*state) != v1::CRYPTO_STATE_INCAPABLE) return false;
  for (const host::v1::KeyEntry& held : cache.Held()) {
    if (!cache.HostKey(held.provider(), new_key_id).ok()) continue;
    v1::CryptoKeyId key;
    key.set_provider_id(held.provider());
    key.set_key_id(new_key_id);
    MakeSafe(key, held.key_check_value(), /*standard=*/false, state);
    return true;
  }
  return false;
}

}  // namespace keysphere::hostagent::agent
