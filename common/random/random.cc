#include "common/random/random.h"

#include <sys/random.h>

#include <cerrno>

#include "absl/strings/str_format.h"
#include "common/status/status.h"

namespace keysphere::random {
namespace {

constexpr uint64_t kStep = 0x9e3779b97f4a7c15;

// The output function of SplitMix64 (Steele, Lea, Flood 2014).
uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

uint64_t Random::Below(uint64_t bound) {
  // Values below 2^64 mod bound would favour the small results.
  const uint64_t excess = (0 - bound) % bound;
  uint64_t value = Next();
  while (value < excess) value = Next();
  return value % bound;
}

absl::Duration Random::Between(absl::Duration low, absl::Duration high) {
  const int64_t width = absl::ToInt64Nanoseconds(high - low);
  return low + absl::Nanoseconds(static_cast<int64_t>(Below(static_cast<uint64_t>(width) + 1)));
}

absl::Duration Random::Jitter(absl::Duration base, double fraction) {
  return Between(base * (1 - fraction), base * (1 + fraction));
}

std::string Random::Uuid() {
  const uint64_t high = Next();
  const uint64_t low = Next();
  return absl::StrFormat("%08x-%04x-4%03x-%04x-%012x", high >> 32, (high >> 16) & 0xffff,
                         high & 0xfff, ((low >> 48) & 0x3fff) | 0x8000, low & 0xffffffffffff);
}

uint64_t SystemRandom::Next() {
  uint64_t value = 0;
  ssize_t got = 0;
  do {
    got = getrandom(&value, sizeof(value), 0);
  } while (got < 0 && errno == EINTR);
  KS_CHECK(got == sizeof(value));
  return value;
}

uint64_t SeededRandom::Next() {
  sync::MutexLock lock(&mutex_);
  state_ += kStep;
  return Mix(state_);
}

uint64_t SeededRandom::DeriveSeed(uint64_t seed, absl::string_view part) {
  uint64_t hash = Mix(seed + kStep);
  for (const char c : part) hash = Mix(hash + kStep + static_cast<uint8_t>(c));
  return hash;
}

}  // namespace keysphere::random
