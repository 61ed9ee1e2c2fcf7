#ifndef KEYSPHERE_HOSTAGENT_DUMP_DUMP_FILE_H_
#define KEYSPHERE_HOSTAGENT_DUMP_DUMP_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/secret_key.h"
#include "common/files/file_system.h"
#include "hostagent/dump/dump_header.pb.h"

namespace keysphere::hostagent::dump {

// A dump as it lies on disk (S103):
//
//   8 bytes   "KSCORE1\n"
//   4 bytes   length of the header, little endian, and the header
//   chunks    4 bytes of length, little endian; AES-256-GCM (12-byte random nonce, ciphertext, tag)
//             of up to chunk_bytes. AAD: the header, the chunk's number, and whether it is the last
//
// The key of the chunks is the one that the header names or, where the header carries a wrapped
// key, the one that it unwraps.
//
// so that no chunk can be changed, moved, left out or cut off at the end. Not encrypted, the chunks
// are as they are.
class DumpWriter {
 public:
  // A temporary file beside `path` until Finish. `key` empty: not encrypted. `files` outlives it.
  static absl::StatusOr<std::unique_ptr<DumpWriter>> Create(const files::FileSystem& files,
                                                            const std::string& path,
                                                            const DumpHeader& header,
                                                            crypto::SecretKey key);
  ~DumpWriter();  // Not finished: nothing remains.
  DumpWriter(const DumpWriter&) = delete;
  DumpWriter& operator=(const DumpWriter&) = delete;

  absl::Status Write(absl::string_view data);
  // Durable, under its name. The size of the file.
  absl::StatusOr<uint64_t> Finish();

 private:
  DumpWriter(const files::FileSystem& files, std::string path, std::string header,
             uint32_t chunk_bytes, crypto::SecretKey key);

  absl::Status WriteRaw(absl::string_view data);
  absl::Status WriteChunk(absl::string_view data, bool last);

  const files::FileSystem& files_;
  const std::string path_;
  const std::string temporary_;
  const std::string header_;
  const uint32_t chunk_bytes_;
  const crypto::SecretKey key_;
  files::RandomAccessFile file_;
  uint64_t size_ = 0;
  uint64_t chunks_ = 0;
  std::string pending_;  // less than a chunk, or exactly one
  bool finished_ = false;
};

// A dump on disk, read chunk by chunk, in whatever order.
class DumpReader {
 public:
  using KeyLookup = absl::FunctionRef<absl::StatusOr<crypto::SecretKey>(const DumpHeader&)>;

  // `key` is asked, once, for the key that the header of an encrypted one names, and for no other.
  // CIPHERTEXT_CORRUPT: it is not the key that wraps; VM_FILE_INVALID: no dump, or cut off.
  static absl::StatusOr<DumpReader> Open(const files::FileSystem& files, const std::string& path,
                                         KeyLookup key);

  const DumpHeader& header() const { return header_; }
  // At least one.
  uint64_t chunks() const { return chunks_; }
  // CIPHERTEXT_CORRUPT: another key, or changed; VM_FILE_INVALID: malformed, or cut off;
  // INVALID_ARGUMENT: there is none of that number.
  absl::StatusOr<std::string> Chunk(uint64_t number) const;

 private:
  DumpReader() = default;
  absl::StatusOr<std::string> Read(uint64_t offset, uint64_t bytes) const;
  // With its length in front.
  absl::StatusOr<std::string> ReadSized(uint64_t offset, uint64_t max_bytes) const;

  files::RandomAccessFile file_;
  uint64_t size_ = 0;
  std::string raw_header_;
  DumpHeader header_;
  crypto::SecretKey key_;  // of the chunks; empty: not encrypted
  uint64_t chunks_ = 0;
};

// Reads a whole dump to `sink`, piece by piece. Errors are the reader's and the sink's.
absl::Status ReadDump(const files::FileSystem& files, const std::string& path,
                      DumpReader::KeyLookup key,
                      absl::FunctionRef<absl::Status(absl::string_view)> sink);

}  // namespace keysphere::hostagent::dump

#endif  // KEYSPHERE_HOSTAGENT_DUMP_DUMP_FILE_H_
