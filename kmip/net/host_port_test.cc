#include "kmip/net/host_port.h"

#include "common/status/matchers.h"
#include "gtest/gtest.h"

namespace keysphere::kmip::net {
namespace {

using status::HasReason;

std::string Normal(absl::string_view text) {
  const auto parsed = ParseHostPort(text, kKmipPort);
  return parsed.ok() ? FormatHostPort(*parsed) : "refused";
}

TEST(HostPortTest, S130_ThePortIsKmipsUnlessAnotherIsNamed) {
  EXPECT_EQ(Normal("kms-1.example.com"), "kms-1.example.com:5696");
  EXPECT_EQ(Normal("kms-1.example.com:443"), "kms-1.example.com:443");
  EXPECT_EQ(Normal("127.0.0.1"), "127.0.0.1:5696");
}

TEST(HostPortTest, AnIPv6AddressStandsInBrackets) {
  EXPECT_EQ(Normal("[::1]:443"), "[::1]:443");
  EXPECT_EQ(Normal("[::1]"), "[::1]:5696");
  EXPECT_EQ(Normal("fe80::1"), "[fe80::1]:5696");
  EXPECT_EQ(ParseHostPort("[::1]:443", 0)->host, "::1");
}

TEST(HostPortTest, WhatIsNoAddressIsRefused) {
  for (const char* text :
       {"", ":443", "[]:443", "[::1", "a:", "a:b", "a:65536", "a:-1", "[::1]x"}) {
    EXPECT_THAT(ParseHostPort(text, kKmipPort), HasReason(v1::REASON_INVALID_ARGUMENT)) << text;
  }
}

}  // namespace
}  // namespace keysphere::kmip::net
