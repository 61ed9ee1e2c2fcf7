#include "controller/providers/authority.h"

#include "common/status/matchers.h"
#include "gtest/gtest.h"

namespace keysphere::controller::providers {
namespace {

using status::HasReason;
using status::IsOk;

const std::vector<std::string>& Names() {
  static const auto* const names =
      new std::vector<std::string>{"vcenter-a.keysphere.test", "localhost", "127.0.0.9"};
  return *names;
}

TEST(AuthorityTest, S3_AFullyQualifiedNameOfThisVcenterIsAccepted) {
  for (const char* authority : {"vcenter-a.keysphere.test", "vcenter-a.keysphere.test:7443",
                                "VCENTER-A.KeySphere.test:1", "vcenter-a.keysphere.test.:7443"}) {
    EXPECT_THAT(CheckAuthority(authority, Names()), IsOk()) << authority;
  }
}

TEST(AuthorityTest, S3_AddressesAndShortNamesAreRefused) {
  for (const char* authority :
       {"127.0.0.1", "127.0.0.1:7443", "127.0.0.9:7443", "[::1]", "[::1]:7443", "::1",
        "[::ffff:127.0.0.1]:7443", "localhost", "localhost:7443", "vcenter-a:7443", "", ":", "[",
        "other.keysphere.test:7443", "a.vcenter-a.keysphere.test",
        "vcenter-a.keysphere.test:1:2"}) {
    EXPECT_THAT(CheckAuthority(authority, Names()), HasReason(v1::REASON_FQDN_REQUIRED))
        << authority;
  }
}

}  // namespace
}  // namespace keysphere::controller::providers
