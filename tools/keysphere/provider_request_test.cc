#include "tools/keysphere/provider_request.h"

#include "gtest/gtest.h"

namespace keysphere::cli {
namespace {

TEST(ProviderRequestTest, S24_WithoutTheOptionATpmIsRequired) {
  EXPECT_TRUE(NewCreateRequest("nkp-a", "", absl::nullopt).constraints().tpm_required());
  EXPECT_TRUE(NewCreateRequest("nkp-a", "", true).constraints().tpm_required());
  const v1::CreateKeyProviderRequest without = NewCreateRequest("nkp-a", "7", false);
  EXPECT_TRUE(without.has_constraints());
  EXPECT_FALSE(without.constraints().tpm_required());
  EXPECT_EQ(without.name(), "nkp-a");
  EXPECT_EQ(without.key_id(), "7");
}

}  // namespace
}  // namespace keysphere::cli
