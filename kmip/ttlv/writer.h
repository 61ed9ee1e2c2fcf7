#ifndef KEYSPHERE_KMIP_TTLV_WRITER_H_
#define KEYSPHERE_KMIP_TTLV_WRITER_H_

#include <cstdint>
#include <cstring>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kmip/ttlv/buffer.h"
#include "kmip/ttlv/endian.h"
#include "kmip/ttlv/item.h"
#include "kmip/ttlv/tag.h"

namespace keysphere::kmip::ttlv {

// Appends items to a buffer. The length of a structure is set when it ends:
//   { const Writer::Structure header = writer.Begin(Tag::kRequestHeader); writer.Integer(…); }
class Writer {
 public:
  // `out` outlives the writer.
  explicit Writer(Buffer* out) : out_(out) {}
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Ends the structure when it goes.
  class Structure {
   public:
    Structure(const Structure&) = delete;
    Structure& operator=(const Structure&) = delete;
    ~Structure() {
      Store32(out_->mutable_data() + begin_ - 4, static_cast<uint32_t>(out_->size() - begin_));
    }

   private:
    friend class Writer;
    Structure(Buffer* out, Tag tag) : out_(out) {
      Header(out_->Extend(kHeaderBytes), tag, Type::kStructure, 0);
      begin_ = out_->size();
    }
    Buffer* const out_;
    size_t begin_;
  };
  [[nodiscard]] Structure Begin(Tag tag) { return Structure(out_, tag); }

  void Integer(Tag tag, int32_t value) { Four(tag, Type::kInteger, static_cast<uint32_t>(value)); }
  void LongInteger(Tag tag, int64_t value) {
    Eight(tag, Type::kLongInteger, static_cast<uint64_t>(value));
  }
  // Two's complement, big-endian, of any length above 0: sign-extended to a multiple of 8 bytes.
  void BigInteger(Tag tag, absl::Span<const uint8_t> value) {
    const size_t extension = (8 - value.size() % 8) % 8;
    uint8_t* const at = out_->Extend(kHeaderBytes + extension + value.size());
    Header(at, tag, Type::kBigInteger, extension + value.size());
    const bool negative = !value.empty() && (value[0] & 0x80) != 0;
    memset(at + kHeaderBytes, negative ? 0xff : 0, extension);
    if (!value.empty()) memcpy(at + kHeaderBytes + extension, value.data(), value.size());
  }
  template <typename Enum>
  void Enumeration(Tag tag, Enum value) {
    Four(tag, Type::kEnumeration, static_cast<uint32_t>(value));
  }
  void Boolean(Tag tag, bool value) { Eight(tag, Type::kBoolean, value ? 1 : 0); }
  void Text(Tag tag, absl::string_view value) {
    uint8_t* const space = Space(tag, Type::kTextString, value.size());
    if (!value.empty()) memcpy(space, value.data(), value.size());
  }
  void Bytes(Tag tag, absl::Span<const uint8_t> value) {
    uint8_t* const space = Space(tag, Type::kByteString, value.size());
    if (!value.empty()) memcpy(space, value.data(), value.size());
  }
  // Seconds since 1970.
  void DateTime(Tag tag, int64_t value) {
    Eight(tag, Type::kDateTime, static_cast<uint64_t>(value));
  }
  void Interval(Tag tag, uint32_t seconds) { Four(tag, Type::kInterval, seconds); }

  // The item as it is, under `tag`.
  void Copy(Tag tag, const Item& item) { CopyEncoded(tag, item.encoded()); }
  // As above; `encoded` is an Item's.
  void CopyEncoded(Tag tag, absl::Span<const uint8_t> encoded) {
    if (encoded.size() < kHeaderBytes) return;
    uint8_t* const at = out_->Extend(encoded.size());
    memcpy(at, encoded.data(), encoded.size());
    Header(at, tag, static_cast<Type>(encoded[3]), Load32(encoded.data() + 4));
  }

  Buffer* buffer() { return out_; }

 private:
  static void Header(uint8_t* at, Tag tag, Type type, size_t length) {
    Store64(at, (static_cast<uint64_t>(tag) << 40) | (static_cast<uint64_t>(type) << 32) | length);
  }
  void Four(Tag tag, Type type, uint32_t value) {
    uint8_t* const at = out_->Extend(2 * kHeaderBytes);
    Header(at, tag, type, 4);
    Store64(at + kHeaderBytes, static_cast<uint64_t>(value) << 32);
  }
  void Eight(Tag tag, Type type, uint64_t value) {
    uint8_t* const at = out_->Extend(2 * kHeaderBytes);
    Header(at, tag, type, 8);
    Store64(at + kHeaderBytes, value);
  }
  // Room for a value of `length` bytes; its padding is set.
  uint8_t* Space(Tag tag, Type type, size_t length) {
    const size_t padded = (length + 7) / 8 * 8;
    uint8_t* const at = out_->Extend(kHeaderBytes + padded);
    Header(at, tag, type, length);
    if (padded != 0) Store64(at + padded, 0);
    return at + kHeaderBytes;
  }

  Buffer* const out_;
};

}  // namespace keysphere::kmip::ttlv

#endif  // KEYSPHERE_KMIP_TTLV_WRITER_H_
