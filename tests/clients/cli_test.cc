// The CLI against servers that no simulator started: it is told whom it asks and who it is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/status/matchers.h"
#include "tests/clients/command.h"
#include "tests/processes/lab.h"

namespace keysphere::clients {
namespace {

using processes::ControllerProcess;
using processes::Lab;
using status::IsOk;
using ::testing::HasSubstr;
using ::testing::Not;

class CliTest : public ::testing::Test {
 protected:
  CliTest() : controller_(lab_.AddController("vcenter-a")) {
    EXPECT_THAT(controller_.Start(), IsOk());
  }

  identity::CredentialFiles Issue(const std::string& user) {
    const auto files = identity::CredentialFiles::In(lab_.root(), user);
    EXPECT_THAT(lab_.Issue(identity::Kind::kUser, user).Write(files), IsOk());
    return files;
  }
  // `peer` empty: as the controller's certificate says.
  CommandResult Cli(const std::string& user, std::vector<std::string> command,
                    const std::string& peer = "") {
    const identity::CredentialFiles files = Issue(user);
    std::vector<std::string> words = {"/bin/sh",
                                      "-c",
                                      "exec tools/keysphere/keysphere \"$@\" 2>&1",
                                      "keysphere",
                                      "--server",
                                      controller_.address(),
                                      "--peer",
                                      peer.empty() ? controller_.identity().ToUri() : peer,
                                      "--ca-file",
                                      files.ca,
                                      "--cert-file",
                                      files.certificate,
                                      "--key-file",
                                      files.key};
    words.insert(words.end(), command.begin(), command.end());
    return RunCommand(std::move(words));
  }

  Lab lab_;
  ControllerProcess& controller_;
};

TEST_F(CliTest, AServerOutsideAClusterIsAskedByItsAddressAndIdentity) {
  CommandResult result = Cli("admin", {"cluster", "create", "cluster-a"});
  EXPECT_EQ(result.code, 0) << result.out;
  result = Cli("admin", {"-o", "json", "cluster", "list"});
  EXPECT_EQ(result.code, 0) << result.out;
  EXPECT_THAT(result.out, HasSubstr("cluster-a"));
  result = Cli("admin", {"cluster", "create", "cluster-a"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, HasSubstr("ALREADY_EXISTS"));
}

TEST_F(CliTest, S3_TheNameThatIsDialledIsTheCallersToSay) {
  ASSERT_EQ(Cli("admin", {"provider", "create", "nkp"}).code, 0);
  const std::string bundle = lab_.root() + "/nkp.p12";
  CommandResult result = Cli("admin", {"provider", "export", "nkp", "--file", bundle});
  EXPECT_EQ(result.code, 1) << result.out;
  EXPECT_THAT(result.out, HasSubstr("FQDN_REQUIRED"));
  result = Cli("admin",
               {"--authority", controller_.fqdn(), "provider", "export", "nkp", "--file", bundle});
  EXPECT_EQ(result.code, 0) << result.out;
}

// A bundle's file is made beside its name and renamed: a device would be replaced by it.
TEST_F(CliTest, S2_AnExportToWhatIsNoFileIsRefusedBeforeItCountsAsABackup) {
  ASSERT_EQ(Cli("admin", {"provider", "create", "nkp"}).code, 0);
  const std::string pipe = lab_.root() + "/pipe";
  const std::string link = lab_.root() + "/link";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  ASSERT_EQ(symlink("/dev/full", link.c_str()), 0);
  const std::string missing = lab_.root() + "/no-such-folder/nkp.p12";
  for (const std::string& target : {pipe, link, lab_.root(), missing}) {
    const CommandResult result = Cli("admin", {"--authority", controller_.fqdn(), "provider",
                                               "export", "nkp", "--file", target});
    EXPECT_EQ(result.code, 1) << result.out;
    EXPECT_THAT(result.out, HasSubstr(target == missing ? "NOT_FOUND" : "no regular file"));
  }
  struct stat info {};
  ASSERT_EQ(lstat(pipe.c_str(), &info), 0);
  EXPECT_TRUE(S_ISFIFO(info.st_mode));
  ASSERT_EQ(lstat(link.c_str(), &info), 0);
  EXPECT_TRUE(S_ISLNK(info.st_mode));
  EXPECT_THAT(Cli("admin", {"-o", "json", "provider", "show", "nkp"}).out,
              HasSubstr("\"hasBackup\": false"));
}

TEST_F(CliTest, WhatDoesNotExistIsNotWaitedFor) {
  CommandResult result = Cli("admin", {"wait", "vm", "nosuch", "--power", "on"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, HasSubstr("NOT_FOUND"));
  result = Cli("admin", {"wait", "host", "nosuch", "--booted"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, HasSubstr("NOT_FOUND"));
}

TEST_F(CliTest, S163_AnotherPeerThanTheOneMeantIsRefused) {
  const CommandResult result =
      Cli("admin", {"cluster", "list"}, "spiffe://lab.example/controller/vcenter-b");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, HasSubstr("there answers spiffe://lab.example/controller/vcenter-a"));
}

TEST_F(CliTest, S128_SomebodyWithoutARoleIsRefused) {
  const CommandResult result = Cli("mallory", {"cluster", "list"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, HasSubstr("NO_PERMISSION"));
}

TEST_F(CliTest, WhatIsMissingIsAUsageError) {
  const CommandResult no_server =
      RunCommand({"/bin/sh", "-c", "exec tools/keysphere/keysphere \"$@\" 2>&1", "keysphere",
                  "--peer", controller_.identity().ToUri(), "cluster", "list"});
  EXPECT_EQ(no_server.code, 2) << no_server.out;
  EXPECT_THAT(no_server.out, HasSubstr("--server"));
  const CommandResult no_identity = RunCommand(
      {"/bin/sh", "-c", "exec tools/keysphere/keysphere \"$@\" 2>&1", "keysphere", "--server",
       controller_.address(), "--peer", controller_.identity().ToUri(), "cluster", "list"});
  EXPECT_EQ(no_identity.code, 2) << no_identity.out;
  EXPECT_THAT(no_identity.out, HasSubstr("--cert-file"));
  EXPECT_THAT(no_identity.out, Not(HasSubstr("cluster-a")));
}

}  // namespace
}  // namespace keysphere::clients
