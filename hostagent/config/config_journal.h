#ifndef KEYSPHERE_HOSTAGENT_CONFIG_CONFIG_JOURNAL_H_
#define KEYSPHERE_HOSTAGENT_CONFIG_CONFIG_JOURNAL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"
#include "hostagent/config/host_config.pb.h"

namespace keysphere::hostagent::config {

// The bytes of config.journal: what has changed since its config.ks, its base, was written. It is
// only ever appended to, one record a commit, and every integer in it is big-endian:
//   header (64 bytes): "KEYSPHERE JOURNAL 1\n", zeros up to 24 bytes | checksum of the base (32) |
//     first 8 bytes of the SHA-256 of all before
//   record: size of what is sealed (4) | check of number and size (4) | JournalRecord,
//     AES-256-GCM | first 8 bytes of the SHA-256 of what is sealed | zeros up to a multiple of 8
// A record is authenticated with the base's checksum, its number from 0 and the tag of the record
// before: none can be taken out, moved, or brought here from another journal. Cutting the end off
// makes an older configuration, as putting an older config.ks back does.

// What the next record follows.
struct JournalPosition {
  std::string base;  // checksum of config.ks
  uint64_t records = 0;
  std::string last_tag;
};

std::string JournalHeader(absl::string_view base);

// The bytes of a record at `position`, which then is that behind it. The caller makes each durable
// before it appends the next.
absl::StatusOr<std::string> EncodeRecord(const crypto::SecretKey& key, const JournalRecord& record,
                                         JournalPosition* position);

// The changes in a journal of the base, in order. A record that a killed append left incomplete at
// the end was told to nobody, and is left out; so is all of a journal of another base.
// CIPHERTEXT_CORRUPT: damaged elsewhere, or the key is not that of the file.
absl::StatusOr<std::vector<ConfigChange>> ReadJournal(const crypto::SecretKey& key,
                                                      absl::string_view base,
                                                      absl::string_view bytes);

void Apply(const ConfigChange& change, HostConfig* config);

// Whether a key that `config` holds, or an earlier change of the record puts, is not in it after
// the record. In a journal it would go on lying in the base and in earlier records, for whoever has
// the configuration key.
bool TakesKeysAway(const JournalRecord& record, const HostConfig& config);

}  // namespace keysphere::hostagent::config

#endif  // KEYSPHERE_HOSTAGENT_CONFIG_CONFIG_JOURNAL_H_
