#include "common/status/text.h"

#include "gtest/gtest.h"

namespace keysphere::status {
namespace {

TEST(TextTest, EnumsReadAsInVSphere) {
  EXPECT_EQ(EnumWord("CRYPTO_STATE_PENDING_INCAPABLE", "CRYPTO_STATE_"), "pendingIncapable");
  EXPECT_EQ(EnumWord("CRYPTO_STATE_SAFE", "CRYPTO_STATE_"), "safe");
  EXPECT_EQ(EnumWord("CRYPTO_STATE_UNSPECIFIED", "CRYPTO_STATE_"), "-");
  EXPECT_EQ(EnumWord("", "CRYPTO_STATE_"), "-");
}

}  // namespace
}  // namespace keysphere::status
