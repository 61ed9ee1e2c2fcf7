#include "kmip/net/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>

namespace keysphere::kmip::net {
namespace {

using ::testing::SizeIs;

CertificateFacts Facts(std::string uri, std::string common_name, std::string sha256) {
  CertificateFacts facts;
  facts.uri = std::move(uri);
  facts.common_name = std::move(common_name);
  facts.sha256 = std::move(sha256);
  return facts;
}

// Given one text as the URI, the common name and the digest of three certificates, then they have
// three holders: nobody enters another one's partition by the name that a certificate was issued
// to.
TEST(HolderTest, KindsOfNamesAreToldApart) {
  const std::string alice = "spiffe://lab.example/user/alice";
  const std::set<std::string> holders = {HolderOf(Facts(alice, "", "")),
                                         HolderOf(Facts("", alice, "")),
                                         HolderOf(Facts("", "", alice))};
  EXPECT_THAT(holders, SizeIs(3));
  // Nor by a common name that spells the kind out.
  EXPECT_NE(HolderOf(Facts("", HolderOf(Facts(alice, "", "")), "")),
            HolderOf(Facts(alice, "", "")));
}

TEST(HolderTest, TheUriCountsBeforeTheCommonNameAndThatBeforeTheDigest) {
  EXPECT_EQ(HolderOf(Facts("spiffe://a", "b", "c")), "uri spiffe://a");
  EXPECT_EQ(HolderOf(Facts("", "b", "c")), "cn b");
  EXPECT_EQ(HolderOf(Facts("", "", "c")), "sha256 c");
}

}  // namespace
}  // namespace keysphere::kmip::net
