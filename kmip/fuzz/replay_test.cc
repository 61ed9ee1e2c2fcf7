// The corpus of the fuzzers, and damaged copies of it, through the same targets.
#include <dirent.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "common/random/random.h"
#include "kmip/fuzz/targets.h"

namespace keysphere::kmip::fuzz {
namespace {

std::vector<std::string> Corpus() {
  std::vector<std::string> files;
  const std::string folder = "kmip/fuzz/corpus";
  DIR* const dir = opendir(folder.c_str());
  if (dir == nullptr) return files;
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] == '.') continue;
    std::ifstream file(folder + "/" + entry->d_name, std::ios::binary);
    files.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  closedir(dir);
  return files;
}

void Replay(const std::string& bytes) {
  // On the heap, at its very size: a sanitizer sees every byte beyond.
  const std::vector<uint8_t> input(bytes.begin(), bytes.end());
  Decode(input.data(), input.size());
  Serve(input.data(), input.size());
}

TEST(ReplayTest, Corpus) {
  const std::vector<std::string> files = Corpus();
  ASSERT_GE(files.size(), 8);
  for (const std::string& file : files) Replay(file);
}

TEST(ReplayTest, DamagedCopies) {
  random::SeededRandom random(1);
  for (const std::string& file : Corpus()) {
    for (int i = 0; i < 200; ++i) {
      std::string damaged = file;
      for (uint64_t k = random.Below(4); k < 4 && !damaged.empty(); ++k) {
        damaged[random.Below(damaged.size())] = static_cast<char>(random.Next());
      }
      if (random.Below(8) == 0) damaged.resize(random.Below(damaged.size() + 1));
      Replay(damaged);
    }
  }
}

}  // namespace
}  // namespace keysphere::kmip::fuzz
