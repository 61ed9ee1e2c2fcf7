// The dump of a real process: what is in it and what never is.
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cstring>

#include "common/status/matchers.h"
#include "gtest/gtest.h"
#include "hostagent/dump/core.h"
#include "hostagent/dump/dump_file.h"
#include "hostagent/dump/process_memory.h"

namespace keysphere::hostagent::dump {
namespace {

using status::IsOk;

// Bytes that are searched at once.
constexpr size_t kWindow = 1 << 20;

// How often the bytes are in the memory that a dump holds; the search leaves no copy of its own.
int CountInDump(const OwnMemory& memory, absl::Span<const uint8_t> bytes) {
  int found = 0;
  // In a mapping of its own, which is passed over.
  const size_t size = kWindow + 4096;
  void* const mapped =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  KS_CHECK(mapped != MAP_FAILED);
  KS_CHECK(madvise(mapped, size, MADV_DONTDUMP) == 0);
  auto* const window = static_cast<uint8_t*>(mapped);
  const auto runs = memory.Runs();
  KS_CHECK(runs.ok());
  for (const MemoryRun& run : *runs) {
    for (uint64_t at = 0; at < run.bytes; at += kWindow) {
      // Windows overlap by less than what is sought, so that none is missed and none counted twice.
      const size_t count = std::min<uint64_t>(kWindow + bytes.size() - 1, run.bytes - at);
      memory.Read(run.address + at, absl::MakeSpan(window, count));
      uint8_t* const end = window + count;
      for (uint8_t* it = window;; ++it, ++found) {
        it = std::search(it, end, bytes.begin(), bytes.end());
        if (it == end) break;
      }
    }
  }
  explicit_bzero(mapped, size);
  munmap(mapped, size);
  return found;
}

class OwnMemoryTest : public ::testing::TestWithParam<int> {
 protected:
  // As a daemon, and as a process that may be debugged.
  OwnMemoryTest() { KS_CHECK(prctl(PR_SET_DUMPABLE, GetParam()) == 0); }
  const OwnMemory memory_;
  std::vector<uint8_t> copy_;
};

TEST_P(OwnMemoryTest, S103_S147_HoldsOrdinaryMemoryAndNoKey) {
  const crypto::SecretKey key = crypto::SecretKey::Random(32).value();
  const auto bytes = key.bytes(crypto::SecretKeyAccess::Token());
  for (const size_t half : {0, 16}) {
    EXPECT_EQ(CountInDump(memory_, bytes.subspan(half, 16)), 0);
  }
  // The control: a copy in ordinary memory is found.
  copy_.assign(bytes.begin(), bytes.end());
  EXPECT_GE(CountInDump(memory_, bytes.subspan(0, 16)), 1);
  explicit_bzero(copy_.data(), copy_.size());
  EXPECT_EQ(CountInDump(memory_, bytes.subspan(0, 16)), 0);
}

TEST_P(OwnMemoryTest, RunsAreWholePagesInOrderAndReadable) {
  const auto runs = memory_.Runs();
  ASSERT_THAT(runs, IsOk());
  ASSERT_FALSE(runs->empty());
  uint64_t end = 0;
  for (const MemoryRun& run : *runs) {
    EXPECT_GE(run.address, end);
    EXPECT_EQ(run.address % 4096, 0u);
    EXPECT_EQ(run.bytes % 4096, 0u);
    end = run.address + run.bytes;
  }
}

TEST_P(OwnMemoryTest, WhatIsGoneReadsAsZeros) {
  std::vector<uint8_t> out(8192, 1);
  memory_.Read(4096, absl::MakeSpan(out));
  EXPECT_EQ(out, std::vector<uint8_t>(8192, 0));
}

INSTANTIATE_TEST_SUITE_P(Dumpable, OwnMemoryTest, ::testing::Values(0, 1));

}  // namespace
}  // namespace keysphere::hostagent::dump
