#include "hostagent/vm/key_safe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/status/matchers.h"
#include "hostagent/vm/mutate_for_test.h"

namespace keysphere::hostagent::vm {
namespace {

using crypto::SecretKey;
using status::HasReason;
using status::IsOk;
using ::testing::MatchesRegex;

class KeySafeTest : public ::testing::Test {
 protected:
  const KeyId key_{"nkp-a", "5f1c3b3a-3f0e-4f0e-9d55-0c7f9a2f0001"};
  const SecretKey kek_ = SecretKey::Random(32).value();
  const SecretKey dek_ = SecretKey::Random(32).value();
  const std::string binding_ = DekBinding("guid", "home");
};

TEST_F(KeySafeTest, S131_TheLocatorNamesProviderAndKey) {
  const auto safe = SealDek(kek_, key_, dek_, binding_);
  ASSERT_THAT(safe, IsOk());
  const std::string locator = FormatKeySafe(*safe);
  EXPECT_THAT(locator, MatchesRegex("vmware:key/list/\\(pair/\\(fqid/<VMWARE-NULL>/nkp-a/"
                                    "5f1c3b3a-3f0e-4f0e-9d55-0c7f9a2f0001,HMAC-SHA-256,"
                                    "[A-Za-z0-9+/]{112}\\)\\)"));
  const auto parsed = ParseKeySafe(locator, "a.vmx");
  ASSERT_THAT(parsed, IsOk());
  EXPECT_EQ(parsed->key, key_);
  const auto dek = OpenDek(kek_, *parsed, binding_, "a.vmx");
  ASSERT_THAT(dek, IsOk());
  EXPECT_TRUE(dek->Equals(dek_));
}

TEST_F(KeySafeTest, ProvidersArePercentEncoded) {
  const KeyId odd{"p/r),o%v \"ï\"", "k-1"};
  const std::string locator = FormatKeySafe(*SealDek(kek_, odd, dek_, binding_));
  EXPECT_THAT(locator, ::testing::HasSubstr("/p%2fr%29%2co%25v%20%22%c3%af%22/k-1,"));
  EXPECT_EQ(ParseKeySafe(locator, "a.vmx")->key, odd);
}

TEST_F(KeySafeTest, S135_AWrongKekFailsInTheUnwrap) {
  const auto safe = SealDek(kek_, key_, dek_, binding_);
  const SecretKey other = SecretKey::Random(32).value();
  const auto dek = OpenDek(other, *safe, binding_, "a.vmx");
  ASSERT_THAT(dek, HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  const auto detail = status::DetailOf(dek.status());
  EXPECT_EQ(detail.metadata().at("provider"), "nkp-a");
  EXPECT_EQ(detail.metadata().at("key_id"), key_.key_id);
  EXPECT_EQ(detail.metadata().at("file"), "a.vmx");
}

TEST_F(KeySafeTest, AKeySafeOfAnotherObjectDoesNotOpen) {
  const auto safe = SealDek(kek_, key_, dek_, binding_);
  EXPECT_THAT(OpenDek(kek_, *safe, DekBinding("guid2", "home"), "a.vmx"),
              HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  EXPECT_THAT(OpenDek(kek_, *safe, DekBinding("guid", "disk", "x"), "a.vmx"),
              HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST_F(KeySafeTest, EveryFlippedBitIsFound) {
  const std::string locator = FormatKeySafe(*SealDek(kek_, key_, dek_, binding_));
  for (size_t i = 0; i < locator.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = locator;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
      EXPECT_FALSE(ParseKeySafe(flipped, "a.vmx").ok()) << flipped;
    }
  }
}

TEST_F(KeySafeTest, AForgedCheckSumDoesNotHelp) {
  // The check sum tells damage; the MAC under the DEK tells forgery of the key's name.
  const auto safe = SealDek(kek_, key_, dek_, binding_);
  KeySafe forged = *safe;
  forged.key.provider = "nkp-b";
  EXPECT_THAT(OpenDek(kek_, forged, binding_, "a.vmx"), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST_F(KeySafeTest, OtherFormsAreRefused) {
  const std::string good = FormatKeySafe(*SealDek(kek_, key_, dek_, binding_));
  for (const std::string& bad :
       {std::string(), good + " ", " " + good, good.substr(0, good.size() - 1),
        absl::StrReplaceAll(good, {{"HMAC-SHA-256", "HMAC-SHA-1"}}),
        absl::StrReplaceAll(good, {{"<VMWARE-NULL>", "x"}}),
        absl::StrReplaceAll(good, {{"nkp-a", ""}}),
        absl::StrReplaceAll(good, {{"nkp-a", "nkp%2Da"}}),
        absl::StrReplaceAll(good, {{"nkp-a", "nkp%0aa"}}),
        absl::StrReplaceAll(good, {{"nkp-a", "nkp-a/x"}}),
        absl::StrReplaceAll(good, {{"nkp-a", std::string(400, 'a')}}),
        absl::StrReplaceAll(good, {{"HMAC-SHA-256,", "HMAC-SHA-256, "}}),
        absl::StrReplaceAll(good, {{"))", "=))"}}), std::string(1 << 20, 'v')}) {
    EXPECT_THAT(ParseKeySafe(bad, "a.vmx"), HasReason(v1::REASON_VM_FILE_INVALID)) << bad;
  }
  EXPECT_THAT(ParseKeySafe("vmware:key/list/(pair/(phrase/MA3fCoc%3d/pass2key%3dPBKDF2,x,y))", "a"),
              HasReason(v1::REASON_UNSUPPORTED));
}

TEST_F(KeySafeTest, MutatedLocatorsAreRefused) {
  const std::string good = FormatKeySafe(*SealDek(kek_, key_, dek_, binding_));
  std::mt19937_64 random(3);
  for (int i = 0; i < 20000; ++i) {
    const std::string bad = Mutate(good, random);
    if (bad == good) continue;
    EXPECT_FALSE(ParseKeySafe(bad, "a.vmx").ok()) << bad;
  }
}

}  // namespace
}  // namespace keysphere::hostagent::vm
