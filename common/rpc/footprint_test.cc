// A process with a server at rest stays small: a simulated cluster has thousands of them.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "common/rpc/testing/fixture.h"
#include "common/status/matchers.h"

namespace keysphere::rpc::testing {
namespace {

using status::IsOk;

// The names of this process' threads.
std::multiset<std::string> Threads() {
  std::multiset<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream comm(entry.path() / "comm");
    std::string name;
    std::getline(comm, name);
    names.insert(name);
  }
  return names;
}

int AnonymousKib() {
  std::ifstream rollup("/proc/self/smaps_rollup");
  std::string word;
  while (rollup >> word) {
    int kib = 0;
    if (word == "Anonymous:" && rollup >> kib) return kib;
  }
  return -1;
}

TEST(FootprintTest, AServerAtRestIsSmall) {
  TestServer server;
  const EchoClient client = NewClient(server.Options());
  ASSERT_THAT(client.CallSync(&EchoStub::Echo, Text("")), IsOk());

  const std::multiset<std::string> threads = Threads();
  std::string names;
  for (const std::string& name : threads) names += name + " ";
  // With those of main and the clock; beside these a host agent has the two of its executor. gRPC's
  // event engine has two at rest, and may have one more just after a call: 12 in all.
  EXPECT_LE(threads.size() - threads.count("event_engine"), 8) << names;
  EXPECT_LE(threads.count("event_engine"), 3) << names;
  EXPECT_LE(AnonymousKib(), 4096);
}

}  // namespace
}  // namespace keysphere::rpc::testing
