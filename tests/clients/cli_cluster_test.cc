// Clusters that the CLI starts, finds and ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files/file_system.h"
#include "common/status/matchers.h"
#include "services/simulator/address_block.h"
#include "services/simulator/cluster_folder.h"
#include "tests/clients/command.h"

namespace keysphere::clients {
namespace {

using status::IsOk;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class CliClusterTest : public ::testing::Test {
 protected:
  CliClusterTest() {
    std::string path = ::testing::TempDir() + "/up-XXXXXX";
    dir_ = mkdtemp(path.data());
  }
  ~CliClusterTest() override { Cli({"down"}); }

  std::vector<std::string> Words(const std::vector<std::string>& command) const {
    std::vector<std::string> words = {"/bin/sh",
                                      "-c",
                                      "XDG_RUNTIME_DIR=\"$1\" && export XDG_RUNTIME_DIR && shift "
                                      "&& exec tools/keysphere/keysphere \"$@\" 2>&1",
                                      "keysphere",
                                      dir_ + "-notes",
                                      "--dir",
                                      dir_};
    words.insert(words.end(), command.begin(), command.end());
    return words;
  }
  CommandResult Cli(const std::vector<std::string>& command) const {
    return RunCommand(Words(command));
  }
  pid_t SimulatorPid() const {
    const auto text = files_.ReadFile(dir_ + "/cluster.json", 1 << 20);
    EXPECT_THAT(text, IsOk());
    const auto cluster = simulator::ClusterFromJson(text.value_or("{}"));
    return cluster.ok() ? cluster->pid() : 0;
  }

  const files::FileSystem files_;
  std::string dir_;
};

TEST_F(CliClusterTest, DownRemovesWhatAKilledSimulatorLeft) {
  ASSERT_EQ(Cli({"up", "--hosts", "1", "--tpm", "1", "--detach"}).code, 0);
  ASSERT_EQ(kill(SimulatorPid(), SIGKILL), 0);

  // Nothing is started over it, and the way out is told.
  const CommandResult again = Cli({"up", "--hosts", "1", "--detach"});
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.out, HasSubstr("`keysphere down --dir`"));

  const auto text = files_.ReadFile(dir_ + "/cluster.json", 1 << 20);
  const int block = simulator::BlockOf(simulator::ClusterFromJson(text.value_or("{}"))->address());
  const std::string lock =
      absl::StrCat(simulator::AddressBlock::kLockFolder, "/keysphere-127.", block, ".lock");
  EXPECT_TRUE(files_.Exists(lock).value()) << lock;
  const CommandResult down = Cli({"down"});
  EXPECT_EQ(down.code, 0) << down.out;
  EXPECT_FALSE(files_.Exists(lock).value()) << lock;
  EXPECT_THAT(files_.List(dir_).value(), IsEmpty());
  EXPECT_EQ(Cli({"up", "--hosts", "1", "--detach"}).code, 0);
}

TEST_F(CliClusterTest, WhyTheSimulatorDidNotStartIsTheReason) {
  ASSERT_THAT(files_.WriteFileAtomically(dir_ + "/mine", "precious", 0600), IsOk());
  for (const bool detach : {false, true}) {
    std::vector<std::string> command = {"up", "--hosts", "0"};
    if (detach) command.push_back("--detach");
    const CommandResult result = Cli(command);
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.out, HasSubstr("error: INVALID_STATE: "));
    EXPECT_THAT(result.out, HasSubstr("  next:   "));
    EXPECT_THAT(result.out, Not(HasSubstr("UNREACHABLE")));
  }
  EXPECT_EQ(files_.ReadFile(dir_ + "/mine", 100).value(), "precious");
  ASSERT_THAT(files_.Remove(dir_ + "/mine"), IsOk());
}

TEST_F(CliClusterTest, S138_TheRecoveryKeyIsPrintedWhenAskedFor) {
  ASSERT_EQ(Cli({"up", "--hosts", "1", "--tpm", "1", "--detach"}).code, 0);
  const CommandResult asked = Cli({"host", "status", "esx-1", "--recovery-key"});
  ASSERT_EQ(asked.code, 0) << asked.out;
  const size_t at = asked.out.find_first_not_of(' ', asked.out.find("recovery key") + 12);
  const std::string key = asked.out.substr(at, asked.out.find('\n', at) - at);
  ASSERT_GE(key.size(), 16u) << asked.out;
  const CommandResult shown = Cli({"host", "status", "esx-1"});
  EXPECT_EQ(shown.code, 0);
  EXPECT_THAT(shown.out, HasSubstr("--recovery-key"));
  EXPECT_THAT(shown.out, Not(HasSubstr(key)));
  EXPECT_THAT(Cli({"-o", "json", "host", "status", "esx-1"}).out, Not(HasSubstr(key)));
  EXPECT_THAT(Cli({"-o", "json", "host", "status", "esx-1", "--recovery-key"}).out, HasSubstr(key));
  // After its restart the host tells it no more.
  ASSERT_EQ(Cli({"host", "reboot", "esx-1"}).code, 0);
  const CommandResult late = Cli({"host", "status", "esx-1", "--recovery-key"});
  EXPECT_EQ(late.code, 1);
  EXPECT_THAT(late.out, HasSubstr("INVALID_STATE"));
  EXPECT_THAT(Cli({"host", "status", "esx-1"}).out, Not(HasSubstr("recovery key")));
}

TEST_F(CliClusterTest, ARevisionThatDoesNotExistYetIsRefused) {
  ASSERT_EQ(Cli({"up", "--hosts", "0", "--detach"}).code, 0);
  const CommandResult watch = Cli({"event", "watch", "--after", "99999999"});
  EXPECT_EQ(watch.code, 1);
  EXPECT_THAT(watch.out, HasSubstr("INVALID_ARGUMENT"));
  EXPECT_THAT(watch.out, HasSubstr("the newest is "));
  EXPECT_EQ(Cli({"event", "watch", "--after", "-2"}).code, 2);
}

TEST_F(CliClusterTest, NamesCannotPlayWithTheTerminal) {
  ASSERT_EQ(Cli({"up", "--hosts", "1", "--detach"}).code, 0);
  const std::string control = "\xE2\x80\xAE";  // writes from right to left
  const std::string name = absl::StrCat("q", control, "b");
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"vm", "create", name, "--host", "esx-1"},
        {"vm", "show", name},
        {"vm", "explain", name},
        {"vm", "unregister", name},
        {"vm", "show", name}}) {
    const CommandResult result = Cli(command);
    EXPECT_THAT(result.out, HasSubstr("q")) << command[1];
    EXPECT_THAT(result.out, Not(HasSubstr(control))) << command[1];
  }
}

TEST_F(CliClusterTest, ErrorsSayWhatToDoNext) {
  ASSERT_EQ(Cli({"up", "--hosts", "1", "--kms", "1", "--encrypted-by", "standard",
                 "--simulated-time", "--detach"})
                .code,
            0);
  const std::string next = "  next:   ";
  EXPECT_THAT(Cli({"kms", "latency", "kms-1", "1s", "--jitter", "1s"}).out, HasSubstr(next));
  EXPECT_THAT(Cli({"host", "key-persistence", "esx-1", "on"}).out, HasSubstr(next));
  EXPECT_THAT(Cli({"host", "core-dump", "esx-1", "--vm", "nope"}).out, HasSubstr(next));
  EXPECT_THAT(Cli({"host", "core-dump-read", "esx-1", "/etc/passwd", "--file", "-"}).out,
              HasSubstr(next));
  const CommandResult dumped = Cli({"host", "core-dump", "esx-1"});
  ASSERT_EQ(dumped.code, 0) << dumped.out;
  const std::string path = dumped.out.substr(dumped.out.find('/'));
  const std::string core = ::testing::TempDir() + "/core";
  const CommandResult read =
      Cli({"host", "core-dump-read", "esx-1", path.substr(0, path.find('\n')), "--file", core});
  EXPECT_EQ(read.code, 0) << read.out;
  EXPECT_THAT(files_.ReadFile(core, size_t{1} << 30),
              status::IsOkAndHolds(::testing::StartsWith("\x7f"
                                                         "ELF")));

  // A KMIP user and its password come and go together.
  const std::string password = ::testing::TempDir() + "/password";
  ASSERT_THAT(files_.WriteFileAtomically(password, "secret\n", 0600), IsOk());
  const CommandResult half = Cli({"provider", "update", "skp-1", "--kms-user", "alice"});
  EXPECT_EQ(half.code, 1);
  EXPECT_THAT(half.out, HasSubstr("user_name and password come together"));
  EXPECT_THAT(half.out, HasSubstr(next));
  CommandResult update =
      Cli({"provider", "update", "skp-1", "--kms-user", "alice", "--kms-password-file", password});
  EXPECT_EQ(update.code, 0) << update.out;
  EXPECT_THAT(update.out, HasSubstr("alice"));
  update = Cli({"provider", "update", "skp-1", "--kms-user", ""});
  EXPECT_EQ(update.code, 0) << update.out;
  EXPECT_THAT(update.out, Not(HasSubstr("alice")));

  const CommandResult trust = Cli({"provider", "update", "skp-1", "--trust", password});
  EXPECT_EQ(trust.code, 1);
  EXPECT_THAT(trust.out, HasSubstr("INVALID_ARGUMENT"));
}

TEST_F(CliClusterTest, FlagsOfUpThatDoNotFitEachOtherAreUsageErrors) {
  const std::vector<std::vector<std::string>> mistakes = {
      {"--hosts", "3", "--tpm", "4"},
      {"--vms", "1", "--encrypted", "2"},
      {"--vms", "1", "--hosts", "0"},
      {"--topology", "junk"},
      {"--disk-size", "1000"},
      {"--encrypted-by", "standard"},
      {"--topology", "esx-1=2"},
      {"--topology", "vcenter-a=2", "--hosts", "3"},
      {"--topology", "vcenter-a=2", "--controllers", "2"},
      {"--host-version", "abc"},
  };
  for (const std::vector<std::string>& mistake : mistakes) {
    for (const bool detach : {false, true}) {
      std::vector<std::string> command = {"up"};
      command.insert(command.end(), mistake.begin(), mistake.end());
      if (detach) command.push_back("--detach");
      const CommandResult result = Cli(command);
      EXPECT_EQ(result.code, 2) << mistake[0] << ' ' << mistake[1] << '\n' << result.out;
    }
  }
  EXPECT_THAT(files_.List(dir_).value(), IsEmpty());
}

TEST_F(CliClusterTest, WhatIsToAppearIsWaitedFor) {
  ASSERT_EQ(Cli({"up", "--hosts", "1", "--detach"}).code, 0);
  EXPECT_EQ(Cli({"wait", "vm", "web-1", "--power", "off"}).code, 1);
  RunningCommand wait(Words({"wait", "vm", "web-1", "--power", "off", "--appear"}));
  ASSERT_EQ(Cli({"vm", "create", "web-1", "--host", "esx-1"}).code, 0);
  EXPECT_EQ(wait.Wait(), 0);
}

TEST_F(CliClusterTest, AWriteThatDoesNotFitWritesNothing) {
  ASSERT_EQ(Cli({"up", "--hosts", "1", "--vms", "1", "--detach"}).code, 0);  // a disk of 1 MiB
  ASSERT_EQ(Cli({"vm", "power-on", "vm-1"}).code, 0);
  const std::string image = ::testing::TempDir() + "/image";
  ASSERT_THAT(files_.WriteFileAtomically(image, std::string((1 << 20) + 1, 'x'), 0600), IsOk());
  const CommandResult write = Cli({"vm", "write", "vm-1", "--file", image});
  EXPECT_EQ(write.code, 1);
  EXPECT_THAT(write.out, HasSubstr("INVALID_ARGUMENT"));
  EXPECT_THAT(write.out, HasSubstr("1048576 bytes"));
  const std::string disk = ::testing::TempDir() + "/disk";
  ASSERT_EQ(Cli({"vm", "read", "vm-1", "--file", disk}).code, 0);
  EXPECT_TRUE(files_.ReadFile(disk, 2 << 20).value() == std::string(1 << 20, '\0'));
  // A pipe does not tell its length.
  std::vector<std::string> piped = Words({"vm", "write", "vm-1", "--file", "-"});
  piped[2] = absl::StrCat("cat '", image, "' | (", piped[2], ")");
  EXPECT_THAT(RunCommand(piped).out, HasSubstr("more than 1048576 bytes"));
  ASSERT_EQ(Cli({"vm", "read", "vm-1", "--file", disk}).code, 0);
  EXPECT_TRUE(files_.ReadFile(disk, 2 << 20).value() == std::string(1 << 20, '\0'));

  const CommandResult whole =
      Cli({"-o", "json", "vm", "write", "vm-1", "--file", image, "--length", "1M"});
  EXPECT_EQ(whole.code, 0);
  EXPECT_THAT(whole.out, HasSubstr("\"vm\": \"vm-1\""));
  EXPECT_THAT(whole.out, HasSubstr("\"offset\": \"0\""));
  EXPECT_THAT(whole.out, HasSubstr("\"bytes\": \"1048576\""));
  EXPECT_THAT(whole.out, HasSubstr(absl::StrCat("\"file\": \"", image, "\"")));
  piped.insert(piped.end(), {"--offset", "1"});
  piped[2] = absl::StrCat("printf xyz | (", Words({})[2], ")");
  EXPECT_THAT(RunCommand(piped).out, HasSubstr("wrote 3 bytes"));
  ASSERT_EQ(Cli({"vm", "read", "vm-1", "--file", disk, "--length", "5"}).code, 0);
  EXPECT_EQ(files_.ReadFile(disk, 2 << 20).value(), "xxyzx");
}

TEST_F(CliClusterTest, AReadThatFailsLeavesTheFileAsItWas) {
  ASSERT_EQ(Cli({"up", "--hosts", "1", "--vms", "1", "--detach"}).code, 0);
  const std::string mine = ::testing::TempDir() + "/mine";
  ASSERT_THAT(files_.WriteFileAtomically(mine, "precious", 0600), IsOk());
  // It does not run; there is no such VM, disk or place.
  EXPECT_EQ(Cli({"vm", "read", "vm-1", "--file", mine}).code, 1);
  EXPECT_EQ(Cli({"vm", "read", "nosuch", "--file", mine}).code, 1);
  ASSERT_EQ(Cli({"vm", "power-on", "vm-1"}).code, 0);
  EXPECT_EQ(Cli({"vm", "read", "vm-1", "--disk", "scsi3:3", "--file", mine}).code, 1);
  EXPECT_EQ(Cli({"vm", "read", "vm-1", "--offset", "1G", "--length", "1", "--file", mine}).code, 1);
  // Part of it is there, part is not: the numbers told are those that were said.
  const CommandResult partly =
      Cli({"vm", "read", "vm-1", "--offset", "768K", "--length", "512K", "--file", mine});
  EXPECT_EQ(partly.code, 1);
  EXPECT_THAT(partly.out, HasSubstr("INVALID_ARGUMENT"));
  EXPECT_THAT(partly.out, HasSubstr("the disk has 1048576 bytes: 524288 bytes from offset 786432"));
  EXPECT_EQ(files_.ReadFile(mine, 100).value(), "precious");
  const CommandResult read =
      Cli({"-o", "json", "vm", "read", "vm-1", "--offset", "1M", "--file", mine + "-end"});
  EXPECT_EQ(read.code, 0) << read.out;
  EXPECT_THAT(read.out, HasSubstr("\"offset\": \"1048576\""));
  EXPECT_THAT(read.out, HasSubstr("\"bytes\": \"0\""));
  // What goes to stdout is the data alone.
  std::vector<std::string> piped =
      Words({"-o", "json", "vm", "read", "vm-1", "--length", "4", "--file", "-"});
  piped[2] = absl::StrCat("(", piped[2], ") 2>/dev/null");
  piped[2].replace(piped[2].find("2>&1"), 4, "");
  EXPECT_EQ(RunCommand(piped).out, std::string(4, '\0'));
  EXPECT_EQ(Cli({"vm", "read", "vm-1", "--length", "0", "--file", mine}).code, 0);
  EXPECT_EQ(files_.ReadFile(mine, 100).value(), "");
}

TEST_F(CliClusterTest, ASecondCertificateOfAUserReplacesTheFirst) {
  ASSERT_EQ(Cli({"up", "--hosts", "0", "--detach"}).code, 0);
  ASSERT_EQ(Cli({"user", "set-role", "alice", "ReadOnly"}).code, 0);
  CommandResult issued = Cli({"user", "issue", "alice", "--not-after", "2020-01-01T00:00:00Z"});
  ASSERT_EQ(issued.code, 0) << issued.out;
  EXPECT_THAT(issued.out, Not(HasSubstr("replaced")));
  EXPECT_THAT(Cli({"--user", "alice", "host", "list"}).out, HasSubstr("CERT_EXPIRED"));
  issued = Cli({"user", "issue", "alice"});
  ASSERT_EQ(issued.code, 0) << issued.out;
  EXPECT_THAT(issued.out, HasSubstr("replaced"));
  const CommandResult listed = Cli({"--user", "alice", "host", "list"});
  EXPECT_EQ(listed.code, 0) << listed.out;
  struct stat info {};
  ASSERT_EQ(stat((dir_ + "/pki/user-alice.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(CliClusterTest, S149_HowLongABootedHostWaitsIsAnOptionOfUp) {
  ASSERT_EQ(
      Cli({"up", "--hosts", "1", "--kms", "1", "--vms", "1", "--encrypted", "1", "--encrypted-by",
           "standard", "--boot-key-wait", "5m", "--simulated-time", "--detach"})
          .code,
      0);
  ASSERT_EQ(Cli({"process", "kill", "vcenter-a"}).code, 0);
  ASSERT_EQ(Cli({"host", "reboot", "esx-1"}).code, 0);
  const std::vector<std::string> power_on = {"vm",     "power-on", "vm-1",
                                             "--host", "esx-1",    "--direct"};
  // Longer than without the option.
  ASSERT_EQ(Cli({"clock", "advance", "4m"}).code, 0);
  EXPECT_THAT(Cli(power_on).out, HasSubstr("KEYS_PENDING"));
  ASSERT_EQ(Cli({"clock", "advance", "2m"}).code, 0);
  EXPECT_THAT(Cli(power_on).out, HasSubstr("VM_LOCKED"));
}

TEST_F(CliClusterTest, S124_S125_KeysOfAKmsAreMadeAndAskedAbout) {
  ASSERT_EQ(Cli({"up", "--hosts", "1", "--kms", "1", "--vms", "1", "--encrypted", "1",
                 "--encrypted-by", "standard", "--simulated-time", "--detach"})
                .code,
            0);
  const CommandResult made = Cli({"provider", "generate-key", "skp-1"});
  ASSERT_EQ(made.code, 0) << made.out;
  EXPECT_THAT(made.out, HasSubstr("skp-1"));
  const size_t line = made.out.find("key id");
  ASSERT_NE(line, std::string::npos) << made.out;
  const size_t begin = made.out.find_first_not_of(' ', line + 6);
  const std::string id = made.out.substr(begin, made.out.find_first_of(" \n", begin) - begin);

  const CommandResult states = Cli({"provider", "key-status", "skp-1", id, "nonsense"});
  EXPECT_EQ(states.code, 0);
  EXPECT_THAT(states.out, HasSubstr(id));
  EXPECT_THAT(states.out, HasSubstr("notActiveOrEnabled"));
  EXPECT_THAT(states.out, HasSubstr("missingInKms"));
  const CommandResult json = Cli({"-o", "json", "provider", "key-status", "skp-1", id});
  EXPECT_EQ(json.code, 0);
  EXPECT_THAT(json.out, HasSubstr("\"REASON_KEY_STATE_NOT_ACTIVE_OR_ENABLED\""));
  EXPECT_THAT(Cli({"provider", "key-status", "nobody", id}).out, HasSubstr("clusterInvalid"));

  EXPECT_EQ(Cli({"provider", "key-status", "skp-1"}).code, 2);
  const CommandResult none = Cli({"provider", "generate-key", "nobody"});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.out, HasSubstr("NOT_FOUND"));
  EXPECT_EQ(
      Cli({"provider", "trust", "skp-1", "--kms-server", "kms-1", "--fingerprint", "AB:CD"}).code,
      2);
}

}  // namespace
}  // namespace keysphere::clients
