#ifndef KEYSPHERE_KMIP_TTLV_ITEM_H_
#define KEYSPHERE_KMIP_TTLV_ITEM_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "kmip/ttlv/endian.h"
#include "kmip/ttlv/tag.h"

// Tag, type, length, value: the encoding of KMIP (9.1 of the specification). Numbers are
// big-endian; an item is an 8-byte header and its value, padded with zeros to a multiple of 8.
namespace keysphere::kmip::ttlv {

enum class Type : uint8_t {
  kStructure = 1,
  kInteger = 2,
  kLongInteger = 3,
  kBigInteger = 4,
  kEnumeration = 5,
  kBoolean = 6,
  kTextString = 7,
  kByteString = 8,
  kDateTime = 9,
  kInterval = 10,
};

absl::string_view TypeName(Type type);  // "Text String"

constexpr size_t kHeaderBytes = 8;

// What a message may be at most.
struct Limits {
  size_t max_bytes = 1 << 20;
  int max_depth = 16;  // structures inside each other
  size_t max_items = 16384;
};
constexpr int kMaxDepth = 64;  // the most that Limits may allow

class Item;

// The items directly inside a structure, for range-based for.
class Items {
 public:
  class Iterator {
   public:
    explicit Iterator(const uint8_t* at) : at_(at) {}
    inline Item operator*() const;
    inline Iterator& operator++();
    bool operator!=(const Iterator& other) const { return at_ != other.at_; }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }

   private:
    const uint8_t* at_;
  };
  Items(const uint8_t* begin, const uint8_t* end) : begin_(begin), end_(end) {}
  Iterator begin() const { return Iterator(begin_); }
  Iterator end() const { return Iterator(end_); }
  bool empty() const { return begin_ == end_; }

 private:
  const uint8_t* begin_;
  const uint8_t* end_;
};

// One item of a message whose bytes were checked by Parse: nothing is copied, so the bytes must
// outlive it.
class Item {
 public:
  // Nothing: an empty structure without a tag.
  Item() = default;

  Tag tag() const { return tag_; }
  Type type() const { return type_; }
  // The value, without padding.
  absl::Span<const uint8_t> value() const { return {value_, size_}; }
  // Header, value and padding.
  absl::Span<const uint8_t> encoded() const {
    return value_ == nullptr ? absl::Span<const uint8_t>()
                             : absl::Span<const uint8_t>(value_ - kHeaderBytes,
                                                         kHeaderBytes + (size_ + 7) / 8 * 8);
  }

  // Each fails (INVALID_ARGUMENT, naming the tag) when the item is of another type.
  absl::Status Get(Items* out) const {
    if (type_ != Type::kStructure) return WrongType(Type::kStructure);
    *out = Items(value_, value_ + size_);
    return absl::OkStatus();
  }
  absl::Status GetInteger(int32_t* out) const {
    if (type_ != Type::kInteger) return WrongType(Type::kInteger);
    *out = static_cast<int32_t>(Load32(value_));
    return absl::OkStatus();
  }
  absl::Status GetLongInteger(int64_t* out) const {
    if (type_ != Type::kLongInteger) return WrongType(Type::kLongInteger);
    *out = static_cast<int64_t>(Load64(value_));
    return absl::OkStatus();
  }
  // Two's complement, big-endian, a multiple of 8 bytes.
  absl::Status GetBigInteger(absl::Span<const uint8_t>* out) const {
    if (type_ != Type::kBigInteger) return WrongType(Type::kBigInteger);
    *out = value();
    return absl::OkStatus();
  }
  absl::Status GetEnumeration(uint32_t* out) const {
    if (type_ != Type::kEnumeration) return WrongType(Type::kEnumeration);
    *out = Load32(value_);
    return absl::OkStatus();
  }
  template <typename Enum>
  absl::Status GetEnumeration(Enum* out) const {
    uint32_t number = 0;
    absl::Status status = GetEnumeration(&number);
    *out = static_cast<Enum>(number);
    return status;
  }
  absl::Status GetBoolean(bool* out) const {
    if (type_ != Type::kBoolean) return WrongType(Type::kBoolean);
    *out = value_[7] != 0;
    return absl::OkStatus();
  }
  // UTF-8.
  absl::Status GetText(absl::string_view* out) const {
    if (type_ != Type::kTextString) return WrongType(Type::kTextString);
    *out = absl::string_view(reinterpret_cast<const char*>(value_), size_);
    return absl::OkStatus();
  }
  absl::Status GetBytes(absl::Span<const uint8_t>* out) const {
    if (type_ != Type::kByteString) return WrongType(Type::kByteString);
    *out = value();
    return absl::OkStatus();
  }
  // Seconds since 1970.
  absl::Status GetDateTime(int64_t* out) const {
    if (type_ != Type::kDateTime) return WrongType(Type::kDateTime);
    *out = static_cast<int64_t>(Load64(value_));
    return absl::OkStatus();
  }
  // Seconds.
  absl::Status GetInterval(uint32_t* out) const {
    if (type_ != Type::kInterval) return WrongType(Type::kInterval);
    *out = Load32(value_);
    return absl::OkStatus();
  }

 private:
  friend class Items::Iterator;
  friend absl::StatusOr<Item> Parse(absl::Span<const uint8_t> bytes, const Limits& limits);
  Item(Tag tag, Type type, const uint8_t* value, size_t size)
      : tag_(tag), type_(type), value_(value), size_(size) {}
  static Item At(const uint8_t* at) {
    const uint64_t header = Load64(at);
    return Item(static_cast<Tag>(header >> 40), static_cast<Type>((header >> 32) & 0xff),
                at + kHeaderBytes, static_cast<uint32_t>(header));
  }
  absl::Status WrongType(Type wanted) const;

  Tag tag_ = static_cast<Tag>(0);
  Type type_ = Type::kStructure;
  const uint8_t* value_ = nullptr;
  size_t size_ = 0;
};

inline Item Items::Iterator::operator*() const { return Item::At(at_); }
inline Items::Iterator& Items::Iterator::operator++() {
  at_ += kHeaderBytes + (static_cast<size_t>(Load32(at_ + 4)) + 7) / 8 * 8;
  return *this;
}

// The one item that `bytes` are, checked to its depth: types and their lengths, lengths inside
// their structures, padding, booleans, UTF-8. INVALID_ARGUMENT: malformed. TOO_LARGE: over a limit.
absl::StatusOr<Item> Parse(absl::Span<const uint8_t> bytes, const Limits& limits = Limits());

// How long the message is that begins with these 8 bytes, header included. INVALID_ARGUMENT: no
// structure of this tag. TOO_LARGE: over limits.max_bytes.
absl::StatusOr<size_t> MessageBytes(absl::Span<const uint8_t> header, Tag tag,
                                    const Limits& limits = Limits());

}  // namespace keysphere::kmip::ttlv

#endif  // KEYSPHERE_KMIP_TTLV_ITEM_H_
