#include "hostagent/config/config_journal.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/aead.h"
#include "common/crypto/digest.h"
#include "common/status/status.h"

namespace keysphere::hostagent::config {
namespace {

constexpr absl::string_view kMagic("KEYSPHERE JOURNAL 1\n\0\0\0\0", 24);
constexpr absl::string_view kAad = "keysphere config journal";
constexpr size_t kHeaderBytes = 64;
constexpr size_t kCheckBytes = 8;
constexpr size_t kRecordHeaderBytes = 8;
constexpr size_t kTagBytes = 16;
// Records begin at multiples of it, so that a record's first bytes lie in one sector of a disk: a
// power loss leaves all of them or none.
constexpr size_t kAlignment = 8;

absl::Status Corrupt(absl::string_view what) {
  return status::Error(v1::REASON_CIPHERTEXT_CORRUPT,
                       absl::StrCat("the journal of the host configuration ", what))
      .NextStep("Restore config.ks and config.journal from one backup of the state folder.");
}

std::string BigEndian(uint64_t number, int bytes) {
  std::string encoded;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    encoded.push_back(static_cast<char>(number >> shift));
  }
  return encoded;
}

uint64_t ReadBigEndian(absl::string_view bytes) {
  uint64_t number = 0;
  for (const char c : bytes) number = number << 8 | static_cast<uint8_t>(c);
  return number;
}

std::string CheckOf(absl::string_view bytes) {
  return crypto::Sha256(bytes).substr(0, kCheckBytes);
}

std::string RecordHeader(uint64_t number, size_t sealed_bytes) {
  const std::string size = BigEndian(sealed_bytes, 4);
  return absl::StrCat(size, CheckOf(absl::StrCat(BigEndian(number, 8), size)).substr(0, 4));
}

size_t RecordBytes(size_t sealed_bytes) {
  const size_t bytes = kRecordHeaderBytes + sealed_bytes + kCheckBytes;
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

std::string AadAt(const JournalPosition& position) {
  return absl::StrCat(kAad, position.base, BigEndian(position.records, 8), position.last_tag);
}

void Advance(absl::string_view sealed, JournalPosition* position) {
  ++position->records;
  position->last_tag = std::string(sealed.substr(sealed.size() - kTagBytes));
}

// What a power loss leaves of an append that the disk has not got: the file's size alone.
bool IsHole(absl::string_view bytes) {
  return bytes.find_first_not_of('\0') == absl::string_view::npos;
}

absl::StatusOr<JournalRecord> OpenRecord(const crypto::SecretKey& key, absl::string_view sealed,
                                         const JournalPosition& position) {
  absl::StatusOr<std::string> plaintext = crypto::GcmOpen(key, AadAt(position), sealed);
  if (!plaintext.ok()) return Corrupt("does not open: a record's authentication failed");
  JournalRecord record;
  const bool parsed = record.ParseFromString(*plaintext);
  OPENSSL_cleanse(&(*plaintext)[0], plaintext->size());
  if (!parsed) return Corrupt("has a malformed record");
  return record;
}

void ApplyToPersistedKeys(const ConfigChange& change, HostConfig* config) {
  if (change.removed_persisted_keys().empty() && change.put_persisted_keys().empty()) return;
  std::set<std::pair<std::string, std::string>> names;  // there may be a key for each VM
  for (const auto* const list : {&change.removed_persisted_keys(), &change.put_persisted_keys()}) {
    for (const PersistedKey& key : *list) names.emplace(key.provider(), key.key_id());
  }
  auto* const kept = config->mutable_persisted_keys();
  kept->erase(std::remove_if(kept->begin(), kept->end(),
                             [&names](const PersistedKey& key) {
                               return names.count({key.provider(), key.key_id()}) > 0;
                             }),
              kept->end());
  kept->MergeFrom(change.put_persisted_keys());
}

}  // namespace

std::string JournalHeader(absl::string_view base) {
  const std::string header = absl::StrCat(kMagic, base);
  return absl::StrCat(header, CheckOf(header));
}

absl::StatusOr<std::string> EncodeRecord(const crypto::SecretKey& key, const JournalRecord& record,
                                         JournalPosition* position) {
  std::string plaintext = record.SerializeAsString();
  const auto sealed = crypto::GcmSeal(key, AadAt(*position), plaintext);
  OPENSSL_cleanse(&plaintext[0], plaintext.size());
  KS_RETURN_IF_ERROR(sealed.status());
  std::string bytes =
      absl::StrCat(RecordHeader(position->records, sealed->size()), *sealed, CheckOf(*sealed));
  bytes.resize(RecordBytes(sealed->size()), '\0');
  Advance(*sealed, position);
  return bytes;
}

absl::StatusOr<std::vector<ConfigChange>> ReadJournal(const crypto::SecretKey& key,
                                                      absl::string_view base,
                                                      absl::string_view bytes) {
  std::vector<ConfigChange> changes;
  // Killed when it was begun: header and first record are one append.
  if (bytes.size() < kHeaderBytes || IsHole(bytes)) return changes;
  const absl::string_view header = bytes.substr(0, kHeaderBytes - kCheckBytes);
  if (!absl::StartsWith(bytes, kMagic) ||
      CheckOf(header) != bytes.substr(header.size(), kCheckBytes)) {
    return Corrupt("is not one, or is damaged");
  }
  if (header.substr(kMagic.size()) != base) return changes;
  JournalPosition position;
  position.base = std::string(base);
  bytes.remove_prefix(kHeaderBytes);
  while (bytes.size() >= kRecordHeaderBytes && !IsHole(bytes)) {
    const size_t size = ReadBigEndian(bytes.substr(0, 4));
    if (RecordHeader(position.records, size) != bytes.substr(0, kRecordHeaderBytes)) {
      return Corrupt("is damaged");
    }
    if (bytes.size() < RecordBytes(size)) break;
    const absl::string_view sealed = bytes.substr(kRecordHeaderBytes, size);
    if (CheckOf(sealed) != bytes.substr(kRecordHeaderBytes + size, kCheckBytes)) {
      if (bytes.size() == RecordBytes(size)) break;
      return Corrupt("is damaged");
    }
    KS_ASSIGN_OR_RETURN(JournalRecord record, OpenRecord(key, sealed, position));
    Advance(sealed, &position);
    for (ConfigChange& change : *record.mutable_changes()) changes.push_back(std::move(change));
    bytes.remove_prefix(RecordBytes(size));
  }
  return changes;
}

void Apply(const ConfigChange& change, HostConfig* config) {
  auto* const kdks = config->mutable_kdks();
  for (const std::string& provider : change.removed_kdks()) {
    kdks->erase(std::remove_if(kdks->begin(), kdks->end(),
                               [&](const Kdk& kdk) { return kdk.provider() == provider; }),
                kdks->end());
  }
  for (const Kdk& put : change.put_kdks()) {
    const auto held = std::find_if(kdks->begin(), kdks->end(), [&](const Kdk& kdk) {
      return kdk.provider() == put.provider();
    });
    *(held == kdks->end() ? kdks->Add() : &*held) = put;
  }
  if (change.has_attachment()) *config->mutable_attachment() = change.attachment();
  ApplyToPersistedKeys(change, config);
}

bool TakesKeysAway(const JournalRecord& record, const HostConfig& config) {
  std::map<std::string, std::string> kdks;  // check value by provider
  for (const Kdk& kdk : config.kdks()) kdks[kdk.provider()] = kdk.kcv();
  std::set<std::pair<std::string, std::string>> persisted;
  for (const PersistedKey& key : config.persisted_keys()) {
    persisted.emplace(key.provider(), key.key_id());
  }
  for (const ConfigChange& change : record.changes()) {
    for (const std::string& provider : change.removed_kdks()) {
      if (kdks.count(provider) > 0) return true;
    }
    for (const Kdk& put : change.put_kdks()) {
      // Another label of the same key takes none away (S122).
      if (kdks.try_emplace(put.provider(), put.kcv()).first->second != put.kcv()) return true;
    }
    for (const PersistedKey& gone : change.removed_persisted_keys()) {
      if (persisted.count({gone.provider(), gone.key_id()}) > 0) return true;
    }
    for (const PersistedKey& put : change.put_persisted_keys()) {
      if (!persisted.emplace(put.provider(), put.key_id()).second) return true;
    }
  }
  return false;
}

}  // namespace keysphere::hostagent::config
