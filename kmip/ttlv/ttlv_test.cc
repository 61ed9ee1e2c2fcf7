#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"
#include "common/status/matchers.h"
#include "kmip/ttlv/item.h"
#include "kmip/ttlv/writer.h"

namespace keysphere::kmip::ttlv {
namespace {

using status::HasReason;
using status::IsOk;

constexpr Tag kTag = Tag::kCompromiseDate;  // 0x420020, as in the specification's examples

std::string FromHex(absl::string_view hex) {
  return absl::HexStringToBytes(absl::StrReplaceAll(hex, {{" ", ""}, {"|", ""}}));
}
absl::Span<const uint8_t> Span(absl::string_view bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}
std::string Hex(absl::Span<const uint8_t> bytes) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}
std::string Plain(absl::string_view hex) { return absl::BytesToHexString(FromHex(hex)); }

// The examples of 9.1.2 of the specification of KMIP 1.1, both ways.

constexpr char kInteger[] = "42 00 20 | 02 | 00 00 00 04 | 00 00 00 08 00 00 00 00";
constexpr char kLongInteger[] = "42 00 20 | 03 | 00 00 00 08 | 01 B6 9B 4B A5 74 92 00";
constexpr char kBigInteger[] =
    "42 00 20 | 04 | 00 00 00 10 | 00 00 00 00 03 FD 35 EB 6B C2 DF 46 18 08 00 00";
constexpr char kEnumeration[] = "42 00 20 | 05 | 00 00 00 04 | 00 00 00 FF 00 00 00 00";
constexpr char kBoolean[] = "42 00 20 | 06 | 00 00 00 08 | 00 00 00 00 00 00 00 01";
constexpr char kText[] =
    "42 00 20 | 07 | 00 00 00 0B | 48 65 6C 6C 6F 20 57 6F 72 6C 64 00 00 00 00 00";
constexpr char kBytes[] = "42 00 20 | 08 | 00 00 00 03 | 01 02 03 00 00 00 00 00";
constexpr char kDateTime[] = "42 00 20 | 09 | 00 00 00 08 | 00 00 00 00 47 DA 67 F8";
constexpr char kInterval[] = "42 00 20 | 0A | 00 00 00 04 | 00 0D 2F 00 00 00 00 00";
constexpr char kStructure[] =
    "42 00 20 | 01 | 00 00 00 20 | 42 00 04 | 05 | 00 00 00 04 | 00 00 00 FE 00 00 00 00 |"
    "42 00 05 | 02 | 00 00 00 04 | 00 00 00 FF 00 00 00 00";

class ExampleTest : public ::testing::Test {
 protected:
  Item Decode(absl::string_view hex) {
    bytes_ = FromHex(hex);
    const auto item = Parse(Span(bytes_));
    EXPECT_THAT(item, IsOk());
    EXPECT_EQ(item->tag(), kTag);
    return *item;
  }
  std::string Written() { return Hex(buffer_.span()); }

  std::string bytes_;
  Buffer buffer_;
  Writer writer_{&buffer_};
};

TEST_F(ExampleTest, Integer) {
  int32_t value = 0;
  EXPECT_THAT(Decode(kInteger).GetInteger(&value), IsOk());
  EXPECT_EQ(value, 8);
  writer_.Integer(kTag, 8);
  EXPECT_EQ(Written(), Plain(kInteger));
}

TEST_F(ExampleTest, LongInteger) {
  int64_t value = 0;
  EXPECT_THAT(Decode(kLongInteger).GetLongInteger(&value), IsOk());
  EXPECT_EQ(value, 123456789000000000);
  writer_.LongInteger(kTag, value);
  EXPECT_EQ(Written(), Plain(kLongInteger));
}

TEST_F(ExampleTest, BigInteger) {
  // 1234567890000000000000000000
  absl::Span<const uint8_t> value;
  EXPECT_THAT(Decode(kBigInteger).GetBigInteger(&value), IsOk());
  EXPECT_EQ(Hex(value), "0000000003fd35eb6bc2df4618080000");
  writer_.BigInteger(kTag, value.subspan(4));
  EXPECT_EQ(Written(), Plain(kBigInteger));
}

TEST_F(ExampleTest, NegativeBigIntegerIsSignExtended) {
  const uint8_t minus_two = 0xfe;
  writer_.BigInteger(kTag, absl::MakeConstSpan(&minus_two, 1));
  EXPECT_EQ(Written(), Plain("42 00 20 04 00 00 00 08 ff ff ff ff ff ff ff fe"));
}

TEST_F(ExampleTest, Enumeration) {
  uint32_t value = 0;
  EXPECT_THAT(Decode(kEnumeration).GetEnumeration(&value), IsOk());
  EXPECT_EQ(value, 255);
  writer_.Enumeration(kTag, value);
  EXPECT_EQ(Written(), Plain(kEnumeration));
}

TEST_F(ExampleTest, Boolean) {
  bool value = false;
  EXPECT_THAT(Decode(kBoolean).GetBoolean(&value), IsOk());
  EXPECT_TRUE(value);
  writer_.Boolean(kTag, true);
  EXPECT_EQ(Written(), Plain(kBoolean));
}

TEST_F(ExampleTest, Text) {
  absl::string_view value;
  EXPECT_THAT(Decode(kText).GetText(&value), IsOk());
  EXPECT_EQ(value, "Hello World");
  writer_.Text(kTag, value);
  EXPECT_EQ(Written(), Plain(kText));
}

TEST_F(ExampleTest, Bytes) {
  absl::Span<const uint8_t> value;
  EXPECT_THAT(Decode(kBytes).GetBytes(&value), IsOk());
  EXPECT_EQ(Hex(value), "010203");
  writer_.Bytes(kTag, value);
  EXPECT_EQ(Written(), Plain(kBytes));
}

TEST_F(ExampleTest, DateTime) {
  int64_t value = 0;
  EXPECT_THAT(Decode(kDateTime).GetDateTime(&value), IsOk());
  EXPECT_EQ(absl::FormatTime(absl::FromUnixSeconds(value), absl::UTCTimeZone()),
            "2008-03-14T11:56:40+00:00");
  writer_.DateTime(kTag, value);
  EXPECT_EQ(Written(), Plain(kDateTime));
}

TEST_F(ExampleTest, Interval) {
  uint32_t value = 0;
  EXPECT_THAT(Decode(kInterval).GetInterval(&value), IsOk());
  EXPECT_EQ(absl::Seconds(value), absl::Hours(240));
  writer_.Interval(kTag, value);
  EXPECT_EQ(Written(), Plain(kInterval));
}

TEST_F(ExampleTest, StructureOfTwo) {
  const Item item = Decode(kStructure);
  Items items(nullptr, nullptr);
  ASSERT_THAT(item.Get(&items), IsOk());
  auto at = items.begin();
  uint32_t first = 0;
  EXPECT_EQ((*at).tag(), Tag::kApplicationSpecificInformation);
  EXPECT_THAT((*at).GetEnumeration(&first), IsOk());
  EXPECT_EQ(first, 254);
  ++at;
  int32_t second = 0;
  EXPECT_EQ((*at).tag(), Tag::kArchiveDate);
  EXPECT_THAT((*at).GetInteger(&second), IsOk());
  EXPECT_EQ(second, 255);
  ++at;
  EXPECT_TRUE(at == items.end());
  {
    const Writer::Structure structure = writer_.Begin(kTag);
    writer_.Enumeration(Tag::kApplicationSpecificInformation, 254);
    writer_.Integer(Tag::kArchiveDate, 255);
  }
  EXPECT_EQ(Written(), Plain(kStructure));
}

// Types are not mistaken for each other.
TEST_F(ExampleTest, AnotherTypeIsAnErrorThatNamesTheTag) {
  const Item item = Decode(kInteger);
  absl::string_view text;
  const absl::Status status = item.GetText(&text);
  EXPECT_THAT(status, HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_EQ(status.message(), "Compromise Date is of the type Integer, not Text String");
}

TEST(WriterTest, CopyKeepsAllButTheTag) {
  const std::string bytes = FromHex(kStructure);
  Buffer buffer;
  Writer(&buffer).Copy(Tag::kAttributeValue, *Parse(Span(bytes)));
  EXPECT_EQ(Hex(buffer.span()), Plain("42 00 0B") + Plain(kStructure).substr(6));
}

TEST(ParseTest, MalformedInputIsRefused) {
  const std::vector<std::string> malformed = {
      "",
      "42 00 20 02 00 00 00",                             // half a header
      "42 00 20 02 00 00 00 04",                          // no value
      "42 00 20 02 00 00 00 04 00 00 00 08",              // no padding
      "42 00 20 02 00 00 00 08 00 00 00 08 00 00 00 00",  // Integer of 8
      "42 00 20 02 00 00 00 04 00 00 00 08 00 00 00 01",  // padding
      "41 00 20 02 00 00 00 04 00 00 00 08 00 00 00 00",  // no tag
      "42 00 20 00 00 00 00 04 00 00 00 08 00 00 00 00",  // type 0
      "42 00 20 0b 00 00 00 08 00 00 00 08 00 00 00 00",  // type 11
      "42 00 20 06 00 00 00 08 00 00 00 00 00 00 00 02",  // Boolean 2
      "42 00 20 04 00 00 00 04 00 00 00 01 00 00 00 00",  // Big Integer of 4
      "42 00 20 04 00 00 00 00",                          // Big Integer of 0
      "42 00 20 07 00 00 00 02 c3 28 00 00 00 00 00 00",  // not UTF-8
      "42 00 20 07 00 00 00 03 ed a0 80 00 00 00 00 00",  // a surrogate
      "42 00 20 07 00 00 00 01 80 00 00 00 00 00 00 00",  // a continuation
      "42 00 20 07 00 00 00 01 c3 00 00 00 00 00 00 00",  // cut off
      "42 00 20 08 ff ff ff ff 00 00 00 00 00 00 00 00",  // longer than all
      "42 00 20 01 00 00 00 04 00 00 00 00",              // Structure of 4
      "42 00 20 01 00 00 00 08 42 00 20 02 00 00 00 04",  // a child beyond it
      "42 00 20 01 00 00 00 08 42 00 20 01 00 00 00 08",  // a structure beyond it
      "42 00 20 08 00 00 00 00 42 00 20 08 00 00 00 00",  // two items
  };
  for (const std::string& hex : malformed) {
    EXPECT_THAT(Parse(Span(FromHex(hex))), HasReason(v1::REASON_INVALID_ARGUMENT)) << hex;
  }
}

TEST(ParseTest, EmptyValuesAndUtf8AreFine) {
  for (const char* hex :
       {"42 00 20 01 00 00 00 00", "42 00 20 07 00 00 00 00", "42 00 20 08 00 00 00 00",
        "54 00 01 07 00 00 00 04 f0 9f 94 91 00 00 00 00",
        "42 00 20 07 00 00 00 02 c3 bc 00 00"
        "00 00 00 00"}) {
    const std::string bytes = FromHex(hex);
    EXPECT_THAT(Parse(Span(bytes)), IsOk()) << hex;
  }
}

TEST(ParseTest, EveryTruncationIsRefused) {
  const std::string bytes = FromHex(kStructure);
  for (size_t size = 0; size < bytes.size(); ++size) {
    // A copy of that size, so that a sanitizer sees every byte beyond.
    const std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + size);
    EXPECT_FALSE(Parse(cut).ok()) << size;
  }
}

// Structures of `depth` inside each other.
Buffer Nested(int depth) {
  Buffer buffer;
  for (int i = depth; i > 0; --i) {
    uint8_t* const at = buffer.Extend(8);
    Store64(at, (uint64_t{0x420020} << 40) | (uint64_t{1} << 32) | (8 * (i - 1)));
  }
  return buffer;
}

TEST(ParseTest, Limits) {
  EXPECT_THAT(Parse(Nested(16).span()), IsOk());
  EXPECT_THAT(Parse(Nested(17).span()), HasReason(v1::REASON_TOO_LARGE));
  EXPECT_THAT(Parse(Nested(100000).span()), HasReason(v1::REASON_TOO_LARGE));

  Buffer many;
  Writer writer(&many);
  {
    const Writer::Structure structure = writer.Begin(kTag);
    for (int i = 0; i < 9; ++i) writer.Text(kTag, "");
  }
  Limits limits;
  limits.max_items = 10;
  EXPECT_THAT(Parse(many.span(), limits), IsOk());
  limits.max_items = 9;
  EXPECT_THAT(Parse(many.span(), limits), HasReason(v1::REASON_TOO_LARGE));
  limits = Limits();
  limits.max_bytes = many.size();
  EXPECT_THAT(Parse(many.span(), limits), IsOk());
  --limits.max_bytes;
  EXPECT_THAT(Parse(many.span(), limits), HasReason(v1::REASON_TOO_LARGE));
}

TEST(MessageBytesTest, TellsTheLengthByTheHeader) {
  EXPECT_EQ(MessageBytes(Span(FromHex("42 00 78 01 00 00 01 20")), Tag::kRequestMessage).value(),
            0x128);
  EXPECT_THAT(MessageBytes(Span(FromHex("42 00 78 02 00 00 00 04")), Tag::kRequestMessage),
              HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(MessageBytes(Span("GET / HT"), Tag::kRequestMessage),
              HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(MessageBytes(Span(FromHex("42 00 78 01 00 10 00 00")), Tag::kRequestMessage),
              HasReason(v1::REASON_TOO_LARGE));
  EXPECT_THAT(MessageBytes(Span(FromHex("42 00 78 01 00 0f ff f8")), Tag::kRequestMessage), IsOk());
}

TEST(BufferTest, WhatLeavesIsWiped) {
  Buffer buffer;
  memset(buffer.Extend(100), 0xaa, 100);
  const uint8_t* const data = buffer.data();
  buffer.Consume(60);
  EXPECT_EQ(buffer.size(), 40);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(data[i], i < 40 ? 0xaa : 0);
  buffer.Clear();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(data[i], 0);
}

TEST(TagTest, Names) {
  EXPECT_EQ(TagName(Tag::kActivationDate), "Activation Date");
  EXPECT_EQ(TagName(Tag::kPassword), "Password");
  EXPECT_EQ(TagName(static_cast<Tag>(0x4200d3)), "Attestation Capable Indicator");
  EXPECT_EQ(TagName(static_cast<Tag>(0x540001)), "0x540001");
}

}  // namespace
}  // namespace keysphere::kmip::ttlv
