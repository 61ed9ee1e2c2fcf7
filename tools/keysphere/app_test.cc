#include "tools/keysphere/app.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

struct Result {
  int code = -1;
  std::string out;
  std::string err;
};

// A run without a terminal; no variable is set but those of `variables`.
Result RunCli(const std::vector<std::string>& arguments,
              const std::map<std::string, std::string>& variables = {}) {
  std::ostringstream out;
  std::ostringstream err;
  Environment environment;
  environment.out = &out;
  environment.err = &err;
  environment.variable = [&](const std::string& name) -> std::string {
    const auto found = variables.find(name);
    if (found != variables.end()) return found->second;
    return name == "XDG_RUNTIME_DIR" ? testing::TempDir() + "nothing-runs" : "";
  };
  Result result;
  result.code = Run(arguments, environment);
  result.out = out.str();
  result.err = err.str();
  return result;
}

std::string NewFolder() {
  std::string path = testing::TempDir() + "cli-XXXXXX";
  EXPECT_NE(mkdtemp(&path[0]), nullptr);
  return path;
}

void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The words of an example as a shell would split them; what it redirects is left out.
std::vector<std::string> Words(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false;
  bool any = false;
  for (const char c : line + " ") {
    if (c == '"') {
      quoted = !quoted;
      any = true;
    } else if (c == ' ' && !quoted) {
      if (word == ">") return words;
      if (any) words.push_back(word);
      word.clear();
      any = false;
    } else {
      word.push_back(c);
      any = true;
    }
  }
  return words;
}

std::string ExampleOf(const std::string& help) {
  const std::string begin = "Example:\n  keysphere ";
  const size_t at = help.find(begin);
  if (at == std::string::npos) return "";
  return help.substr(at + begin.size(), help.find('\n', at + begin.size()) - at - begin.size());
}

TEST(AppTest, EveryCommandHasHelpWithAnExampleThatParses) {
  GlobalOptions globals;
  const std::vector<CommandInfo> commands = MakeCommandLine(&globals)->Describe();
  EXPECT_GT(commands.size(), 80u);
  for (const CommandInfo& command : commands) {
    SCOPED_TRACE(command.name);
    EXPECT_THAT(command.description, Not(IsEmpty()));
    const std::string example = ExampleOf(command.help);
    ASSERT_THAT(example, Not(IsEmpty()));
    if (command.subcommands.empty()) {
      EXPECT_EQ(example.compare(0, command.name.size(), command.name), 0)
          << "an example of another command: " << example;
    }
    std::ostringstream out;
    std::ostringstream err;
    GlobalOptions own;
    const auto line = MakeCommandLine(&own);
    EXPECT_TRUE(line->Parse(Words(example), out, err).action) << example << "\n" << err.str();
    for (const CommandInfo::Option& option : command.options) {
      EXPECT_THAT(option.description, Not(IsEmpty())) << option.names[0];
    }
  }
}

TEST(AppTest, HelpIsPrintedAndEndsWithZero) {
  const Result result = RunCli({"vm", "power-on", "--help"});
  EXPECT_EQ(result.code, kDone);
  EXPECT_THAT(result.out, HasSubstr("keysphere vm power-on web-1"));
  EXPECT_THAT(result.err, IsEmpty());
}

TEST(AppTest, EveryCommandTakesTheGlobalOptions) {
  GlobalOptions globals;
  const auto line = MakeCommandLine(&globals);
  std::ostringstream out;
  std::ostringstream err;
  EXPECT_TRUE(
      line->Parse({"vm", "list", "-o", "json", "--server", "vcenter-b", "--dir", "/d"}, out, err)
          .action)
      << err.str();
  EXPECT_EQ(globals.output, "json");
  EXPECT_EQ(globals.server, "vcenter-b");
  EXPECT_EQ(globals.dir, "/d");
}

TEST(AppTest, AVmMayBeCalledLikeACommand) {
  for (const std::string name : {"list", "host", "up", "help"}) {
    GlobalOptions globals;
    std::ostringstream out;
    std::ostringstream err;
    EXPECT_TRUE(
        MakeCommandLine(&globals)->Parse({"vm", "show", name, "-o", "json"}, out, err).action)
        << err.str();
    EXPECT_EQ(globals.output, "json");
  }
}

TEST(AppTest, UsageMistakesEndWithTwo) {
  const std::vector<std::vector<std::string>> mistakes = {
      {},
      {"frobnicate"},
      {"vm"},
      {"vm", "power-on"},
      {"vm", "power-on", "a", "b"},
      {"vm", "list", "-o", "yaml"},
      {"vm", "list", "--direct"},
      {"provider", "export", "nkp-a"},
      {"provider", "default"},
      {"provider", "default", "nkp-a", "--clear"},
      {"provider", "create", "p", "--tpm-required", "--no-tpm-required"},
      {"provider", "create", "p", "--kms-server", "127.0.0.1"},
      {"provider", "create", "p", "--kmip", "--key-id", "k"},
      {"provider", "create", "p", "--kmip", "--client-cert", "c"},
      {"provider", "update", "p"},
      {"provider", "trust", "p"},
      {"vm", "rekey", "web-1"},
      {"vm", "rekey", "web-1", "--shallow", "--deep"},
      {"host", "key-persistence", "esx-1", "perhaps"},
      {"kms", "fault", "kms-1"},
      {"kms", "fault", "kms-1", "--mode", "sulk"},
      {"kms", "fault", "kms-1", "--drop-after", "0"},
      {"kms", "fault", "kms-1", "--fail-request", "0"},
      {"provider", "create", "p", "--kmip", "--kms-server", "k", "--kms-user", "u"},
      {"provider", "update", "p", "--kms-user", "", "--kms-password-stdin"},
      {"pki", "ca", "/nowhere", "--trust-domain", "d", "--not-after", "2020-01-01T00:00:00Z"},
      {"pki", "issue", "user", "u", "--ca", "/nowhere", "--not-after", "2020-01-01T00:00:00Z"},
      {"event", "watch", "--after", "-2"},
      {"kms", "latency", "kms-1", "soon"},
      {"up", "--encrypted-by", "magic"},
      {"host", "move", "esx-1"},
      {"clock", "advance", "soon"},
      {"clock", "advance", "0"},
      {"clock", "rate", "fast"},
      {"link", "fail", "a", "b", "0"},
      {"vm", "read", "a", "--file", "f", "--offset", "-1"},
      {"wait", "vm", "a"},
      {"completion", "tcsh"},
      {"pki", "issue", "robot", "r2", "--ca", "/nowhere"},
      {"up", "--hosts", "many"},
      {"up", "--hosts", "-1"},
      {"up", "--hosts", "2501"},
      {"up", "--controllers", "0"},
      {"up", "--vms", "-1"},
      {"up", "--kms", "17"},
      {"up", "--disk-size", "big"},
      {"up", "--boot-key-wait", "soon"},
      {"event", "list", "-n", "-1"},
      {"vm", "list", "--peer", "junk", "--server", "127.0.0.1:1"},
  };
  for (const std::vector<std::string>& arguments : mistakes) {
    std::string line;
    for (const std::string& word : arguments) absl::StrAppend(&line, " ", word);
    const Result result = RunCli(arguments);
    EXPECT_EQ(result.code, kUsage) << line << "\n" << result.err;
    EXPECT_THAT(result.err, Not(IsEmpty())) << line;
    EXPECT_THAT(result.out, IsEmpty()) << line;
  }
}

TEST(AppTest, WordsAreUtf8) {
  const Result result = RunCli({"vm", "create", "web\xff", "--host", "esx-1"});
  EXPECT_EQ(result.code, kUsage);
  EXPECT_EQ(result.err, "not valid UTF-8: web\\xff\n");
  // Valid, also where a terminal would obey it; and what is valid only without a control is not.
  for (const char* name : {"b\xC3\xBCro",
                           "a\xE2\x80\xAE"
                           "b",
                           "a\xC2\x9B"
                           "b",
                           "a\xE2\x81\xA6", "a\n"}) {
    EXPECT_THAT(RunCli({"vm", "show", name}).err, testing::Not(HasSubstr("UTF-8")));
  }
  EXPECT_THAT(RunCli({"vm", "show", "\xC3\n\xBC"}).err, HasSubstr("not valid UTF-8"));
}

TEST(AppTest, NoKmsUserAnyMoreIsAChange) {
  // It gets as far as to look for a vCenter.
  EXPECT_THAT(RunCli({"provider", "update", "skp-1", "--kms-user", ""}).err,
              HasSubstr("no cluster of yours runs here"));
}

TEST(AppTest, AnUnknownCommandIsNamed) {
  EXPECT_THAT(RunCli({"frobnicate"}).err, HasSubstr("keysphere has no command \"frobnicate\""));
  EXPECT_THAT(RunCli({"-o", "json", "vm", "frob", "web-1"}).err,
              HasSubstr("keysphere vm has no command \"frob\""));
  EXPECT_THAT(RunCli({"vm", "--frob"}).err, HasSubstr("unknown option --frob"));
  EXPECT_THAT(RunCli({"vm"}).err, HasSubstr("A subcommand is required"));
  EXPECT_THAT(RunCli({"vm", "show"}).err, HasSubstr("VM is required"));
}

TEST(AppTest, ARangeIsToldWithTheMistake) {
  EXPECT_THAT(RunCli({"up", "--hosts", "-1"}).err, HasSubstr("0 to 2500, not -1"));
  EXPECT_THAT(RunCli({"event", "list", "-n", "-1"}).err, HasSubstr("at least 0, not -1"));
  EXPECT_THAT(RunCli({"kms", "fault", "kms-1", "--drop-after", "0"}).err,
              HasSubstr("at least 1, not 0"));
  EXPECT_THAT(RunCli({"kms", "fault", "kms-1", "--fail-request", "0"}).err,
              HasSubstr("1 to 1000000, not 0"));
}

TEST(AppTest, WithoutAClusterTheReasonIsPrinted) {
  const Result result = RunCli({"vm", "list"});
  EXPECT_EQ(result.code, kRefused);
  EXPECT_THAT(result.err, HasSubstr("error: NOT_FOUND: no cluster of yours runs here\n"));
  EXPECT_THAT(result.err, HasSubstr("  next:   Start one with `keysphere up --detach`"));
}

TEST(AppTest, ErrorsInJsonAreTheErrorDetail) {
  const Result result =
      RunCli({"status", "-o", "json"}, {{"KEYSPHERE_DIR", "/nowhere/at \"all\""}});
  EXPECT_EQ(result.code, kRefused);
  EXPECT_THAT(result.err, HasSubstr("\"reason\": \"REASON_NOT_FOUND\""));
  EXPECT_THAT(result.err, HasSubstr("\"code\": \"NOT_FOUND\""));
  EXPECT_THAT(result.err, HasSubstr("\"message\": \"no cluster runs in"));
  EXPECT_THAT(result.out, IsEmpty());
}

TEST(AppTest, AClusterFileThatIsNoneIsNamed) {
  const std::string dir = NewFolder();
  WriteFile(dir + "/cluster.json", "{\"processes\": 7}");
  const Result result = RunCli({"host", "list", "--dir", dir});
  EXPECT_EQ(result.code, kRefused);
  EXPECT_THAT(result.err, HasSubstr("INVALID_ARGUMENT"));
  EXPECT_THAT(result.err, HasSubstr("describes no cluster"));
}

// A cluster.json of one controller that does not run; certificates of a real authority.
std::string FolderOfADeadCluster() {
  const std::string dir = NewFolder();
  EXPECT_EQ(RunCli({"pki", "ca", dir + "/pki", "--trust-domain", "lab.example"}).code, kDone);
  EXPECT_EQ(RunCli({"pki", "issue", "user", "root", "--ca", dir + "/pki"}).code, kDone);
  WriteFile(dir + "/cluster.json",
            R"({"processes": [{"name": "vcenter-a", "kind": "PROCESS_KIND_CONTROLLER",
                 "address": "127.0.0.1:1", "dnsName": "vcenter-a.keysphere.test",
                 "spiffeId": "spiffe://lab.example/controller/vcenter-a"}],
               "address": "127.0.0.1:1", "pid": 0, "trustDomain": "lab.example",
               "caCertificate": "pki/ca.crt", "userCertificate": "pki/user-root.crt",
               "userKey": "pki/user-root.key", "aLaterField": true})");
  return dir;
}

TEST(AppTest, AControllerThatIsAwayIsUnavailableAtOnce) {
  const Result result = RunCli({"vm", "list", "--dir", FolderOfADeadCluster()});
  EXPECT_EQ(result.code, kRefused);
  EXPECT_THAT(result.err, HasSubstr("error: CONTROLLER_UNAVAILABLE: "));
}

TEST(AppTest, UnknownServersHostsAndUsersAreNotFound) {
  const std::string dir = FolderOfADeadCluster();
  const Result server = RunCli({"vm", "list", "--dir", dir, "--server", "vcenter-z"});
  EXPECT_EQ(server.code, kRefused);
  EXPECT_THAT(server.err, HasSubstr("no controller \"vcenter-z\""));
  const Result host = RunCli({"host", "status", "esx-9", "--dir", dir});
  EXPECT_EQ(host.code, kRefused);
  EXPECT_THAT(host.err, HasSubstr("  object: process/esx-9\n"));
  const Result user = RunCli({"vm", "list", "--dir", dir, "--user", "../mallory"});
  EXPECT_EQ(user.code, kRefused);
  EXPECT_THAT(user.err, HasSubstr("has no certificate"));
}

// --peer means a server elsewhere; what acts on a cluster would act on this one here.
TEST(AppTest, PeerIsAMistakeWhereAClusterIsMeant) {
  const std::string dir = FolderOfADeadCluster();
  const std::vector<std::vector<std::string>> commands = {
      {"host", "kill", "esx-1"},
      {"host", "status", "vcenter-a"},
      {"down"},
      {"up"},
      {"status"},
      {"clock", "advance", "1m"},
      {"kms", "heal", "kms-1"},
      {"process", "kill", "esx-1"},
      {"link", "cut", "a", "b"},
      {"user", "issue", "alice"},
  };
  for (std::vector<std::string> command : commands) {
    const std::string what = absl::StrCat(command[0], " ", command.size() > 1 ? command[1] : "");
    command.insert(command.end(), {"--dir", dir, "--server", "127.0.0.1:1", "--peer",
                                   "spiffe://lab.example/controller/vcenter-b"});
    const Result result = RunCli(command);
    EXPECT_EQ(result.code, kUsage) << what << "\n" << result.err;
    EXPECT_THAT(result.err, HasSubstr("--peer is for a server outside a cluster")) << what;
  }
}

TEST(AppTest, S2_AnEmptyPasswordIsNoPasswordToExportWith) {
  const std::string dir = FolderOfADeadCluster();
  WriteFile(dir + "/password", "\n");
  const Result result = RunCli({"provider", "export", "nkp-a", "--file", dir + "/nkp-a.p12",
                                "--password-file", dir + "/password", "--dir", dir});
  EXPECT_EQ(result.code, kUsage);
  EXPECT_THAT(result.err, HasSubstr("is empty"));
}

TEST(AppTest, DownOfAClusterThatIsGoneIsDone) {
  const Result result = RunCli({"down", "--dir", FolderOfADeadCluster()});
  EXPECT_EQ(result.code, kDone) << result.err;
}

TEST(AppTest, PkiMakesAuthoritiesAndCertificates) {
  const std::string dir = NewFolder();
  ASSERT_EQ(RunCli({"pki", "ca", dir, "--trust-domain", "lab.example"}).code, kDone);
  // A second one would make all certificates of the first void.
  EXPECT_EQ(RunCli({"pki", "ca", dir, "--trust-domain", "lab.example"}).code, kRefused);

  const Result issued = RunCli({"pki", "issue", "host", "esx-1", "--ca", dir, "--out", dir + "/out",
                                "--ip", "192.0.2.7", "--dns", "esx-1.lab.example", "--not-after",
                                "2031-05-06T07:08:09Z", "-o", "json"});
  ASSERT_EQ(issued.code, kDone) << issued.err;
  EXPECT_THAT(issued.out, HasSubstr(dir + "/out/host-esx-1.key"));
  struct stat info {};
  ASSERT_EQ(stat((dir + "/out/host-esx-1.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);

  const Result shown = RunCli({"pki", "show", dir + "/out/host-esx-1.crt"});
  EXPECT_EQ(shown.code, kDone);
  EXPECT_THAT(shown.out, HasSubstr("spiffe://lab.example/host/esx-1"));
  EXPECT_THAT(shown.out, HasSubstr("192.0.2.7"));
  EXPECT_THAT(shown.out, HasSubstr("esx-1.lab.example"));
  EXPECT_THAT(shown.out, HasSubstr("2031-05-06T07:08:09Z"));

  // An authority's, too.
  const Result authority = RunCli({"pki", "show", dir + "/ca.crt"});
  EXPECT_EQ(authority.code, kDone) << authority.err;
  EXPECT_THAT(authority.out, HasSubstr("subject"));

  EXPECT_EQ(RunCli({"pki", "issue", "host", "esx-2", "--ca", dir, "--not-after", "tomorrow"}).code,
            kUsage);
  EXPECT_EQ(RunCli({"pki", "show", dir + "/none.crt"}).code, kRefused);
  WriteFile(dir + "/text", "no certificate");
  const Result no_certificate = RunCli({"pki", "show", dir + "/text"});
  EXPECT_EQ(no_certificate.code, kRefused);
  EXPECT_THAT(no_certificate.err, HasSubstr("error: INVALID_ARGUMENT: "));
  EXPECT_THAT(no_certificate.err, HasSubstr("holds no certificate in PEM"));
  EXPECT_THAT(no_certificate.err, HasSubstr("  object: file/"));
  EXPECT_THAT(no_certificate.err, HasSubstr("  next:   "));
}

// Asks a shell with the script what it would offer for a line.
std::string BashOffers(const std::string& script, const std::string& line) {
  const std::string dir = NewFolder();
  WriteFile(dir + "/completion", script);
  WriteFile(dir + "/ask",
            absl::StrCat("set -eu\nsource ", dir, "/completion\nread -ra COMP_WORDS <<< '", line,
                         "x'\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n",
                         "COMP_WORDS[COMP_CWORD]=${COMP_WORDS[COMP_CWORD]%x}\n_keysphere\n",
                         "echo \"${COMPREPLY[*]-}\" > ", dir, "/answer\n"));
  EXPECT_EQ(std::system(absl::StrCat("bash ", dir, "/ask").c_str()), 0) << line;
  return ReadAll(dir + "/answer");
}

TEST(CompletionTest, BashOffersCommandsOptionsAndValues) {
  const Result script = RunCli({"completion", "bash"});
  ASSERT_EQ(script.code, kDone);
  EXPECT_THAT(BashOffers(script.out, "keysphere pro"), HasSubstr("process provider"));
  EXPECT_EQ(BashOffers(script.out, "keysphere provider ex"), "export\n");
  EXPECT_EQ(BashOffers(script.out, "keysphere -o json vm power-"), "power-on power-off\n");
  EXPECT_EQ(BashOffers(script.out, "keysphere vm encrypt web-1 --pro"), "--provider\n");
  EXPECT_EQ(BashOffers(script.out, "keysphere vm list --ser"), "--server\n");
  EXPECT_EQ(BashOffers(script.out, "keysphere vm list -o "), "table json\n");
  EXPECT_EQ(BashOffers(script.out, "keysphere wait vm web-1 --power o"), "on off\n");
}

TEST(CompletionTest, EveryShellKnowsEveryCommand) {
  GlobalOptions globals;
  const std::vector<CommandInfo> commands = MakeCommandLine(&globals)->Describe();
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const Result script = RunCli({"completion", shell});
    ASSERT_EQ(script.code, kDone);
    for (const CommandInfo& command : commands) {
      if (command.name.empty()) continue;
      EXPECT_THAT(script.out, HasSubstr("'" + command.name + "'")) << shell << ": " << command.name;
    }
  }
}

}  // namespace
}  // namespace keysphere::cli
