#include "tools/keysphere/secret.h"

#include <fstream>
#include <string>

#include "common/status/matchers.h"
#include "gtest/gtest.h"

namespace keysphere::cli {
namespace {

using status::HasReason;

SecretOptions FileWith(const std::string& text) {
  SecretOptions options;
  options.file = testing::TempDir() + "secret";
  std::ofstream(options.file, std::ios::binary) << text;
  return options;
}

std::string Read(const std::string& text) {
  const auto secret = ReadSecret(FileWith(text), "", false);
  EXPECT_THAT(secret, status::IsOk());
  return std::string(secret.value()->view());
}

TEST(SecretTest, OneNewlineAtTheEndIsNotPartOfIt) {
  EXPECT_EQ(Read("pass word\n"), "pass word");
  EXPECT_EQ(Read("pass word\r\n"), "pass word");
  EXPECT_EQ(Read(" two\nlines\n\n"), " two\nlines\n");
}

// An empty password file must not become a bundle in clear.
TEST(SecretTest, AnEmptyFileIsAMistakeAndNotNoSecret) {
  for (const std::string text : {"", "\n", "\r\n"}) {
    const auto secret = ReadSecret(FileWith(text), "", false);
    EXPECT_TRUE(IsUsageError(secret.status())) << secret.status();
  }
}

TEST(SecretTest, LimitsAndMissingFiles) {
  EXPECT_EQ(Read(std::string(1024, 'x') + "\n").size(), 1024u);
  EXPECT_THAT(ReadSecret(FileWith(std::string(1025, 'x')), "", false),
              HasReason(v1::REASON_TOO_LARGE));
  SecretOptions missing;
  missing.file = testing::TempDir() + "no-such-file";
  EXPECT_THAT(ReadSecret(missing, "", false), HasReason(v1::REASON_NOT_FOUND));
}

TEST(SecretTest, FileAndStdinTogetherAreAMistake) {
  SecretOptions both = FileWith("x");
  both.from_stdin = true;
  EXPECT_TRUE(IsUsageError(ReadSecret(both, "", false).status()));
}

TEST(SecretTest, WhatWasMovedFromIsEmpty) {
  Secret from(std::string("a secret that is longer than a short string"));
  const Secret to(std::move(from));
  EXPECT_TRUE(from.empty());  // NOLINT: that is the point
  EXPECT_EQ(to.view(), "a secret that is longer than a short string");
}

}  // namespace
}  // namespace keysphere::cli
