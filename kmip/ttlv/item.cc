#include "kmip/ttlv/item.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "common/status/text.h"

namespace keysphere::kmip::ttlv {
namespace {

constexpr uint8_t kStandardTags = 0x42;
constexpr uint8_t kExtensionTags = 0x54;

absl::Status Malformed(absl::string_view what, size_t offset) {
  return status::Error(v1::REASON_INVALID_ARGUMENT,
                       absl::StrCat("malformed TTLV at byte ", offset, ": ", what));
}

absl::Status OverLimit(absl::string_view what) {
  return status::Error(v1::REASON_TOO_LARGE, absl::StrCat("TTLV ", what));
}

// The bytes that a type always has; 0: it has no fixed length.
constexpr uint32_t kFixedLength[] = {0, 0, 4, 8, 0, 4, 8, 0, 0, 8, 4};

bool IsUtf8(absl::Span<const uint8_t> bytes) {
  size_t i = 0;
  // Nearly all texts are ASCII.
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t eight;
    memcpy(&eight, bytes.data() + i, 8);
    if ((eight & 0x8080808080808080) != 0) break;
  }
  while (i < bytes.size()) {
    const uint8_t first = bytes[i];
    if (first < 0x80) {
      ++i;
      continue;
    }
    const size_t more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    if (first < 0xc2 || first > 0xf4 || bytes.size() - i <= more) return false;
    for (size_t k = 1; k <= more; ++k) {
      if ((bytes[i + k] & 0xc0) != 0x80) return false;
    }
    // Over-long forms, surrogates, beyond U+10FFFF.
    const uint8_t second = bytes[i + 1];
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
        (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) {
      return false;
    }
    i += more + 1;
  }
  return true;
}

// The value of an item that is no structure, inside its bounds.
absl::Status CheckValue(Type type, const uint8_t* value, size_t length, size_t offset) {
  const uint32_t fixed = kFixedLength[static_cast<size_t>(type)];
  if (fixed != 0 && length != fixed) {
    return Malformed(absl::StrCat(TypeName(type), " of ", length, " bytes"), offset);
  }
  const size_t padding = (8 - length % 8) % 8;
  for (size_t i = 0; i < padding; ++i) {
    if (value[length + i] != 0) return Malformed("padding that is not zero", offset);
  }
  if (type == Type::kBoolean && Load64(value) > 1) {
    return Malformed("Boolean that is neither true nor false", offset);
  }
  if (type == Type::kBigInteger && (length == 0 || length % 8 != 0)) {
    return Malformed(absl::StrCat("Big Integer of ", length, " bytes"), offset);
  }
  if (type == Type::kTextString && !IsUtf8({value, length})) {
    return Malformed("Text String that is not UTF-8", offset);
  }
  return absl::OkStatus();
}

}  // namespace

absl::string_view TypeName(Type type) {
  constexpr const char* kNames[] = {"Structure",   "Integer", "Long Integer", "Big Integer",
                                    "Enumeration", "Boolean", "Text String",  "Byte String",
                                    "Date-Time",   "Interval"};
  const size_t number = static_cast<size_t>(type);
  return number >= 1 && number <= 10 ? kNames[number - 1] : "unknown type";
}

absl::Status Item::WrongType(Type wanted) const {
  return status::Error(
      v1::REASON_INVALID_ARGUMENT,
      absl::StrCat(TagName(tag_), " is of the type ", TypeName(type_), ", not ", TypeName(wanted)));
}

absl::StatusOr<Item> Parse(absl::Span<const uint8_t> bytes, const Limits& limits) {
  if (bytes.size() > limits.max_bytes) {
    return OverLimit(absl::StrCat("of more than ", limits.max_bytes, " bytes"));
  }
  const int max_depth = std::min(limits.max_depth, kMaxDepth);
  const uint8_t* const begin = bytes.data();
  const uint8_t* at = begin;
  const uint8_t* ends[kMaxDepth + 1];  // of the structures that are open, the whole first
  int depth = 0;
  ends[0] = begin + bytes.size();
  size_t items = 0;
  do {
    const size_t offset = at - begin;
    const size_t left = ends[depth] - at;
    if (left < kHeaderBytes) return Malformed("no room for an item", offset);
    if (++items > limits.max_items) {
      return OverLimit(absl::StrCat("of more than ", limits.max_items, " items"));
    }
    const uint8_t type = at[3];
    const size_t length = Load32(at + 4);
    if (at[0] != kStandardTags && at[0] != kExtensionTags) return Malformed("no tag", offset);
    if (type < 1 || type > 10) return Malformed("unknown type", offset);
    const size_t padded = (length + 7) / 8 * 8;
    if (padded > left - kHeaderBytes) return Malformed("longer than what it is in", offset);
    at += kHeaderBytes;
    if (type == static_cast<uint8_t>(Type::kStructure)) {
      if (length % 8 != 0) return Malformed("Structure of an odd length", offset);
      if (depth == max_depth) {
        return OverLimit(absl::StrCat("nested deeper than ", max_depth));
      }
      ends[++depth] = at + length;
    } else {
      KS_RETURN_IF_ERROR(CheckValue(static_cast<Type>(type), at, length, offset));
      at += padded;
    }
    while (depth > 0 && at == ends[depth]) --depth;
    // The first item is the whole.
  } while (depth > 0);
  if (at != ends[0]) return Malformed("bytes behind the item", at - begin);
  return Item::At(begin);
}

absl::StatusOr<size_t> MessageBytes(absl::Span<const uint8_t> header, Tag tag,
                                    const Limits& limits) {
  const uint64_t first = Load64(header.data());
  if ((first >> 32) != ((static_cast<uint64_t>(tag) << 8) | 1)) {
    return Malformed(absl::StrCat("not a ", TagName(tag)), 0);
  }
  const size_t length = static_cast<uint32_t>(first);
  if (length % 8 != 0) return Malformed("Structure of an odd length", 0);
  if (length + kHeaderBytes > limits.max_bytes) {
    return OverLimit(absl::StrCat("of more than ", limits.max_bytes, " bytes"));
  }
  return length + kHeaderBytes;
}

}  // namespace keysphere::kmip::ttlv
