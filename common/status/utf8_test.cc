#include "common/status/utf8.h"

#include <string>

#include "gtest/gtest.h"

namespace keysphere::status {
namespace {

TEST(Utf8Test, CharactersOfOneToFourBytes) {
  const std::string texts[] = {"a", "\u00fc", "\u20ac", "\U0001f511"};
  const uint32_t values[] = {'a', 0xfc, 0x20ac, 0x1f511};
  for (size_t i = 0; i < 4; ++i) {
    const CodePoint first = FirstCodePoint(texts[i] + "x");
    EXPECT_TRUE(first.valid);
    EXPECT_EQ(first.value, values[i]);
    EXPECT_EQ(first.bytes, i + 1);
    EXPECT_TRUE(IsUtf8("<" + texts[i] + ">"));
  }
  EXPECT_TRUE(IsUtf8(""));
  // Valid, whatever a terminal makes of it.
  EXPECT_TRUE(IsUtf8("\u202eabc\x01\xc2\x85"));
}

TEST(Utf8Test, WhatIsNoCharacterIsOneByte) {
  for (const std::string text :
       {"\xff", "\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xc3", "\xe2\x82", "\xe2(\xa1"}) {
    const CodePoint first = FirstCodePoint(text);
    EXPECT_FALSE(first.valid);
    EXPECT_EQ(first.bytes, 1);
    EXPECT_EQ(first.value, static_cast<uint8_t>(text[0]));
    EXPECT_FALSE(IsUtf8("a" + text));
  }
}

}  // namespace
}  // namespace keysphere::status
