#include "hostagent/dump/dump_file.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/aead.h"
#include "common/status/status.h"
#include "hostagent/vm/key_safe.h"

namespace keysphere::hostagent::dump {
namespace {

constexpr absl::string_view kMagic = "KSCORE1\n";
constexpr uint32_t kMaxHeaderBytes = 64 << 10;
constexpr uint32_t kMaxChunkBytes = 32 << 20;
constexpr uint64_t kLengthBytes = 4;

std::string LittleEndian(uint32_t number) {
  std::string out;
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>(number >> (8 * i)));
  return out;
}

std::string Aad(absl::string_view header, uint64_t chunk, bool last) {
  return absl::StrCat(header, "#", chunk, last ? ".last" : ".more");
}

absl::Span<const uint8_t> Bytes(absl::string_view data) {
  return {reinterpret_cast<const uint8_t*>(data.data()), data.size()};
}

absl::Status Malformed(const std::string& path, absl::string_view what) {
  return status::Error(v1::REASON_VM_FILE_INVALID, what).Object("dump", path);
}

// Of a chunk on disk beside its plaintext.
uint64_t ChunkOverhead(bool encrypted) {
  return kLengthBytes + (encrypted ? crypto::kGcmOverheadBytes : 0);
}

}  // namespace

DumpWriter::DumpWriter(const files::FileSystem& files, std::string path, std::string header,
                       uint32_t chunk_bytes, crypto::SecretKey key)
    : files_(files),
      path_(std::move(path)),
      temporary_(absl::StrCat(path_, ".part")),
      header_(std::move(header)),
      chunk_bytes_(chunk_bytes),
      key_(std::move(key)) {}

DumpWriter::~DumpWriter() {
  OPENSSL_cleanse(&pending_[0], pending_.size());
  if (finished_ || !file_.is_open()) return;
  file_.Close();
  files_.Remove(temporary_, files::Durability::kNotDurable).IgnoreError();
}

absl::StatusOr<std::unique_ptr<DumpWriter>> DumpWriter::Create(const files::FileSystem& files,
                                                               const std::string& path,
                                                               const DumpHeader& header,
                                                               crypto::SecretKey key) {
  if (header.chunk_bytes() == 0 || header.chunk_bytes() > kMaxChunkBytes) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, "a dump's chunks have 1 byte to 32 MiB");
  }
  auto writer = absl::WrapUnique(new DumpWriter(files, path, header.SerializeAsString(),
                                                header.chunk_bytes(), std::move(key)));
  KS_ASSIGN_OR_RETURN(writer->file_,
                      files.Open(writer->temporary_, files::OpenMode::kCreate, 0600));
  KS_RETURN_IF_ERROR(writer->file_.Truncate(0));
  KS_RETURN_IF_ERROR(writer->WriteRaw(absl::StrCat(
      kMagic, LittleEndian(static_cast<uint32_t>(writer->header_.size())), writer->header_)));
  return writer;
}

absl::Status DumpWriter::WriteRaw(absl::string_view data) {
  KS_RETURN_IF_ERROR(file_.WriteAt(size_, Bytes(data)));
  size_ += data.size();
  return absl::OkStatus();
}

absl::Status DumpWriter::WriteChunk(absl::string_view data, bool last) {
  std::string sealed;
  if (!key_.empty()) {
    KS_ASSIGN_OR_RETURN(sealed, crypto::GcmSeal(key_, Aad(header_, chunks_, last), data));
    data = sealed;
  }
  ++chunks_;
  KS_RETURN_IF_ERROR(WriteRaw(LittleEndian(static_cast<uint32_t>(data.size()))));
  return WriteRaw(data);
}

absl::Status DumpWriter::Write(absl::string_view data) {
  while (!data.empty()) {
    if (pending_.size() == chunk_bytes_) {
      KS_RETURN_IF_ERROR(WriteChunk(pending_, /*last=*/false));
      pending_.clear();
    }
    if (pending_.capacity() < chunk_bytes_) pending_.reserve(chunk_bytes_);  // never moved again
    const size_t count = std::min<size_t>(chunk_bytes_ - pending_.size(), data.size());
    pending_.append(data.data(), count);
    data.remove_prefix(count);
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> DumpWriter::Finish() {
  KS_RETURN_IF_ERROR(WriteChunk(pending_, /*last=*/true));
  KS_RETURN_IF_ERROR(file_.Sync());
  KS_RETURN_IF_ERROR(files_.Rename(temporary_, path_));
  finished_ = true;
  return size_;
}

absl::StatusOr<std::string> DumpReader::Read(uint64_t offset, uint64_t bytes) const {
  if (offset > size_ || bytes > size_ - offset) {
    return Malformed(file_.path(), "the dump is cut off");
  }
  std::string out(bytes, '\0');
  const auto span = absl::MakeSpan(reinterpret_cast<uint8_t*>(&out[0]), out.size());
  KS_ASSIGN_OR_RETURN(const size_t count, file_.ReadAt(offset, span));
  if (count != bytes) return Malformed(file_.path(), "the dump is cut off");
  return out;
}

absl::StatusOr<std::string> DumpReader::ReadSized(uint64_t offset, uint64_t max_bytes) const {
  KS_ASSIGN_OR_RETURN(const std::string length, Read(offset, kLengthBytes));
  uint64_t bytes = 0;
  for (int i = kLengthBytes - 1; i >= 0; --i) bytes = bytes << 8 | static_cast<uint8_t>(length[i]);
  if (bytes > max_bytes) return Malformed(file_.path(), "the dump is malformed");
  return Read(offset + kLengthBytes, bytes);
}

absl::StatusOr<DumpReader> DumpReader::Open(const files::FileSystem& files, const std::string& path,
                                            KeyLookup key) {
  DumpReader reader;
  KS_ASSIGN_OR_RETURN(reader.file_, files.Open(path, files::OpenMode::kRead));
  KS_ASSIGN_OR_RETURN(reader.size_, reader.file_.Size());
  KS_ASSIGN_OR_RETURN(const std::string magic, reader.Read(0, kMagic.size()));
  if (magic != kMagic) return Malformed(path, "this is no dump");
  KS_ASSIGN_OR_RETURN(reader.raw_header_, reader.ReadSized(kMagic.size(), kMaxHeaderBytes));
  DumpHeader& header = reader.header_;
  if (!header.ParseFromString(reader.raw_header_) || header.chunk_bytes() == 0 ||
      header.chunk_bytes() > kMaxChunkBytes) {
    return Malformed(path, "the dump's header is malformed");
  }
  const uint64_t overhead = ChunkOverhead(!header.key_id().empty());
  const uint64_t body = reader.size_ - kMagic.size() - kLengthBytes - reader.raw_header_.size();
  const uint64_t whole = overhead + header.chunk_bytes();
  if (body == 0 || (body % whole != 0 && body % whole < overhead)) {
    return Malformed(path, "the dump is cut off");
  }
  reader.chunks_ = (body + whole - 1) / whole;
  if (header.key_id().empty()) return reader;
  KS_ASSIGN_OR_RETURN(reader.key_, key(header));
  if (header.wrapped_key().empty()) return reader;
  if (header.wrapped_key().size() != vm::kKeySafeBlobBytes) {
    return Malformed(path, "the dump's wrapped key is malformed");
  }
  const vm::KeySafe safe{{header.provider(), header.key_id()}, header.wrapped_key()};
  KS_ASSIGN_OR_RETURN(
      reader.key_, vm::OpenDek(reader.key_, safe, vm::DekBinding(header.vm_guid(), "home"), path));
  return reader;
}

absl::StatusOr<std::string> DumpReader::Chunk(uint64_t number) const {
  if (number >= chunks_) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, absl::StrCat("the dump has ", chunks_))
        .Object("dump", file_.path());
  }
  const uint64_t start = kMagic.size() + kLengthBytes + raw_header_.size();
  const uint64_t whole = ChunkOverhead(!key_.empty()) + header_.chunk_bytes();
  const uint64_t offset = start + number * whole;
  const bool last = number == chunks_ - 1;
  const uint64_t bytes = (last ? size_ - offset : whole) - kLengthBytes;
  KS_ASSIGN_OR_RETURN(std::string data, ReadSized(offset, bytes));
  if (data.size() != bytes) return Malformed(file_.path(), "the dump is malformed");
  if (key_.empty()) return data;
  return crypto::GcmOpen(key_, Aad(raw_header_, number, last), data);
}

absl::Status ReadDump(const files::FileSystem& files, const std::string& path,
                      DumpReader::KeyLookup key,
                      absl::FunctionRef<absl::Status(absl::string_view)> sink) {
  KS_ASSIGN_OR_RETURN(const DumpReader reader, DumpReader::Open(files, path, key));
  for (uint64_t chunk = 0; chunk < reader.chunks(); ++chunk) {
    KS_ASSIGN_OR_RETURN(const std::string data, reader.Chunk(chunk));
    KS_RETURN_IF_ERROR(sink(data));
  }
  return absl::OkStatus();
}

}  // namespace keysphere::hostagent::dump
