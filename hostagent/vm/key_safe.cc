#include "hostagent/vm/key_safe.h"

#include <openssl/crypto.h>

#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "common/crypto/digest.h"
#include "common/crypto/key_wrap.h"
#include "common/crypto/mac.h"
#include "common/status/status.h"

namespace keysphere::hostagent::vm {
namespace {

constexpr absl::string_view kPrefix = "vmware:key/list/(pair/(fqid/<VMWARE-NULL>/";
constexpr absl::string_view kPhrasePrefix = "vmware:key/list/(pair/(phrase/";
constexpr absl::string_view kMacName = ",HMAC-SHA-256,";
constexpr absl::string_view kSuffix = "))";
constexpr absl::string_view kMagic("KS1\x01", 4);
constexpr absl::string_view kMacKeyLabel = "keysphere key safe mac";
constexpr size_t kDekBytes = 32;
constexpr size_t kWrappedBytes = 40;
using crypto::kMacBytes;
constexpr size_t kCheckBytes = 8;
static_assert(4 + kWrappedBytes + kMacBytes + kCheckBytes == kKeySafeBlobBytes, "layout");

// Each part with its length, so that no two lists of parts give the same bytes.
std::string Framed(std::initializer_list<absl::string_view> parts) {
  std::string framed;
  for (const absl::string_view part : parts) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      framed += static_cast<char>((part.size() >> shift) & 0xFF);
    }
    absl::StrAppend(&framed, part);
  }
  return framed;
}

absl::StatusOr<std::string> BindingMac(const crypto::SecretKey& dek, const KeyId& key,
                                       absl::string_view wrapped, absl::string_view binding) {
  const crypto::SecretKeyAccess access = crypto::SecretKeyAccess::Token();
  KS_ASSIGN_OR_RETURN(crypto::SecretKey mac_key, crypto::SecretKey::Zeroed(kMacBytes));
  KS_RETURN_IF_ERROR(
      crypto::HmacSha256(dek.bytes(access), {kMacKeyLabel}, mac_key.mutable_bytes(access)));
  std::string mac(kMacBytes, '\0');
  KS_RETURN_IF_ERROR(crypto::HmacSha256(
      mac_key.bytes(access), {Framed({binding, key.provider, key.key_id, wrapped})},
      absl::MakeSpan(reinterpret_cast<uint8_t*>(&mac[0]), mac.size())));
  return mac;
}

std::string CheckSum(const KeyId& key, absl::string_view bytes) {
  return crypto::Sha256(Framed({key.provider, key.key_id, bytes})).substr(0, kCheckBytes);
}

bool IsUnreserved(char c) { return absl::ascii_isalnum(c) || c == '-' || c == '.' || c == '_'; }

std::string PercentEncode(absl::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string encoded;
  for (const char c : text) {
    if (IsUnreserved(c)) {
      encoded += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      encoded += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return encoded;
}

// Canonical only: what PercentEncode would write (either case of the digits).
bool PercentDecode(absl::string_view text, std::string* decoded) {
  decoded->clear();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      if (!IsUnreserved(text[i])) return false;
      *decoded += text[i];
      continue;
    }
    if (i + 2 >= text.size() || !absl::ascii_isxdigit(text[i + 1]) ||
        !absl::ascii_isxdigit(text[i + 2])) {
      return false;
    }
    const std::string byte = absl::HexStringToBytes(text.substr(i + 1, 2));
    if (IsUnreserved(byte[0]) || static_cast<unsigned char>(byte[0]) < 0x20) return false;
    *decoded += byte;
    i += 2;
  }
  return true;
}

absl::Status Malformed(absl::string_view file, absl::string_view what) {
  return status::Error(v1::REASON_VM_FILE_INVALID,
                       absl::StrCat(status::Quote(file), ": key safe: ", what))
      .With("file", file)
      .NextStep("Restore the file from a backup.");
}

}  // namespace

std::string DekBinding(absl::string_view vm_guid, absl::string_view kind,
                       absl::string_view object) {
  return absl::StrCat("keysphere/1\n", vm_guid, "\n", kind, "\n", object);
}

absl::StatusOr<KeySafe> SealDek(const crypto::SecretKey& kek, const KeyId& key,
                                const crypto::SecretKey& dek, absl::string_view binding) {
  if (dek.size() != kDekBytes || key.provider.empty() || key.key_id.empty() ||
      key.provider.size() > kMaxProviderBytes || key.key_id.size() > kMaxKeyIdBytes) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         "a key id needs a provider and a key id, a DEK 32 bytes");
  }
  KS_ASSIGN_OR_RETURN(const std::string wrapped, crypto::WrapKey(kek, dek));
  KS_ASSIGN_OR_RETURN(const std::string mac, BindingMac(dek, key, wrapped, binding));
  KeySafe safe;
  safe.key = key;
  safe.blob = absl::StrCat(kMagic, wrapped, mac);
  safe.blob += CheckSum(key, safe.blob);
  if (safe.blob.size() != kKeySafeBlobBytes) {
    return status::Error(v1::REASON_INTERNAL, "a wrapped DEK has an unexpected size");
  }
  return safe;
}

absl::StatusOr<crypto::SecretKey> OpenDek(const crypto::SecretKey& kek, const KeySafe& safe,
                                          absl::string_view binding, absl::string_view file) {
  const absl::string_view wrapped = absl::string_view(safe.blob).substr(4, kWrappedBytes);
  // The key opened it: what is wrong is the file, so that no key is named.
  const auto damaged = [&](absl::string_view what) {
    return status::Error(v1::REASON_CIPHERTEXT_CORRUPT,
                         absl::StrCat("the DEK in ", status::Quote(file), " ", what))
        .With("file", file)
        .NextStep("Restore the file from a backup.");
  };
  absl::StatusOr<crypto::SecretKey> dek = crypto::UnwrapKey(kek, wrapped);
  if (!dek.ok()) {
    // KEY_MEMORY_FULL and the like say nothing about the file.
    if (status::ReasonOf(dek.status()) != v1::REASON_CIPHERTEXT_CORRUPT) return dek.status();
    return status::Error(v1::REASON_CIPHERTEXT_CORRUPT,
                         absl::StrCat("the DEK in ", status::Quote(file),
                                      " does not unwrap: the key of this name is another one"))
        .Object("key", safe.key.key_id)
        .With("file", file)
        .With("provider", safe.key.provider)
        .With("key_id", safe.key.key_id)
        .NextStep("Bring the key that sealed this VM: the provider's own backup.");
  }
  if (dek->size() != kDekBytes) return damaged("has a wrong size");
  KS_ASSIGN_OR_RETURN(const std::string mac, BindingMac(*dek, safe.key, wrapped, binding));
  const absl::string_view stored =
      absl::string_view(safe.blob).substr(4 + kWrappedBytes, kMacBytes);
  if (CRYPTO_memcmp(mac.data(), stored.data(), kMacBytes) != 0) {
    return damaged("belongs to another VM, disk or key id");
  }
  return dek;
}

std::string FormatKeySafe(const KeySafe& safe) {
  return absl::StrCat(kPrefix, PercentEncode(safe.key.provider), "/",
                      PercentEncode(safe.key.key_id), kMacName, absl::Base64Escape(safe.blob),
                      kSuffix);
}

absl::StatusOr<KeySafe> ParseKeySafe(absl::string_view locator, absl::string_view file) {
  if (locator.size() > kMaxLocatorBytes) return Malformed(file, "too long");
  if (absl::StartsWith(locator, kPhrasePrefix)) {
    return status::Error(v1::REASON_UNSUPPORTED,
                         absl::StrCat(status::Quote(file),
                                      " is encrypted with a password, not by a key provider"))
        .With("file", file)
        .NextStep("Decrypt the VM where its password is known.");
  }
  if (!absl::ConsumePrefix(&locator, kPrefix) || !absl::ConsumeSuffix(&locator, kSuffix)) {
    return Malformed(file, "not a list of one fqid pair");
  }
  const size_t slash = locator.find('/');
  const size_t comma = locator.find(kMacName);
  if (slash == absl::string_view::npos || comma == absl::string_view::npos || comma < slash) {
    return Malformed(file, "no provider, key id and HMAC-SHA-256");
  }
  KeySafe safe;
  if (!PercentDecode(locator.substr(0, slash), &safe.key.provider) || safe.key.provider.empty() ||
      safe.key.provider.size() > kMaxProviderBytes) {
    return Malformed(file, "its provider name is malformed");
  }
  if (!PercentDecode(locator.substr(slash + 1, comma - slash - 1), &safe.key.key_id) ||
      safe.key.key_id.empty() || safe.key.key_id.size() > kMaxKeyIdBytes) {
    return Malformed(file, "its key id is malformed");
  }
  const absl::string_view base64 = locator.substr(comma + kMacName.size());
  // Escaping again rejects blanks, missing padding and the like, which the decoder lets pass.
  if (!absl::Base64Unescape(base64, &safe.blob) || absl::Base64Escape(safe.blob) != base64) {
    return Malformed(file, "its base64 is malformed");
  }
  if (safe.blob.size() != kKeySafeBlobBytes || !absl::StartsWith(safe.blob, kMagic)) {
    return Malformed(file, "a wrapped DEK of an unknown format");
  }
  const size_t checked = kKeySafeBlobBytes - kCheckBytes;
  if (CheckSum(safe.key, absl::string_view(safe.blob).substr(0, checked)) !=
      safe.blob.substr(checked)) {
    return Malformed(file, "its check sum is wrong: the file is damaged");
  }
  return safe;
}

}  // namespace keysphere::hostagent::vm
