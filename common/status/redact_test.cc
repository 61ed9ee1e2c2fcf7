#include "common/status/redact.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "redaction.pb.h"

namespace keysphere::status {
namespace {

using ::testing::HasSubstr;
using testing::Inner;
using ::testing::Not;
using testing::Outer;

constexpr char kSecret[] = "open-sesame";

Inner Fill(const std::string& name) {
  Inner inner;
  inner.set_name(name);
  inner.set_kdk(kSecret);
  return inner;
}

TEST(RedactTest, SecretsAreHiddenAtEveryDepth) {
  // Given a message with the secret in each place that can hold one.
  Outer outer;
  *outer.mutable_one() = Fill("a");
  *outer.add_many() = Fill("b");
  (*outer.mutable_by_name())["z"] = Fill("z");
  (*outer.mutable_by_name())["c"] = Fill("c");
  (*outer.mutable_passwords())[kSecret] = kSecret;
  *outer.mutable_hidden() = Fill(kSecret);
  outer.mutable_any()->PackFrom(Fill("d"));
  outer.set_count(7);
  outer.add_secrets(kSecret);
  outer.set_password(kSecret);

  const std::string text = PrintRedacted(outer);

  EXPECT_THAT(text, Not(HasSubstr(kSecret)));
  EXPECT_EQ(text,
            "one { name: \"a\" kdk: <hidden> } many { name: \"b\" kdk: <hidden> } "
            "by_name { key: \"c\" value { name: \"c\" kdk: <hidden> } } "
            "by_name { key: \"z\" value { name: \"z\" kdk: <hidden> } } "
            "passwords: <hidden> hidden: <hidden> "
            "any { [type.googleapis.com/keysphere.status.testing.Inner] "
            "{ name: \"d\" kdk: <hidden> } } count: 7 secrets: <hidden> password: <hidden>");
}

TEST(RedactTest, WhatIsUnknownIsCountedOnly) {
  // Given an Any of an unknown type, and a message parsed by a type that lacks its fields.
  Outer outer;
  outer.mutable_any()->set_type_url("type.googleapis.com/other.Type");
  outer.mutable_any()->set_value(kSecret);
  EXPECT_EQ(PrintRedacted(outer), "any { [other.Type] <11 bytes> }");

  Inner inner;
  Outer only_password;
  only_password.set_password(kSecret);
  ASSERT_TRUE(inner.ParseFromString(only_password.SerializeAsString()));
  EXPECT_EQ(PrintRedacted(inner), "<1 unknown fields>");
}

TEST(RedactTest, AnEmptyMessagePrintsNothing) { EXPECT_EQ(PrintRedacted(Outer()), ""); }

}  // namespace
}  // namespace keysphere::status
