#ifndef KEYSPHERE_COMMON_RANDOM_RANDOM_H_
#define KEYSPHERE_COMMON_RANDOM_RANDOM_H_

#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/sync/mutex.h"

namespace keysphere::random {

// Ids and jitter. Never key bytes: those come from crypto::SecretKey::Random. Thread safe.
class Random {
 public:
  virtual ~Random() = default;

  // 64 uniform bits.
  virtual uint64_t Next() = 0;

  // Uniform in [0, bound); bound > 0.
  uint64_t Below(uint64_t bound);
  // Uniform in [low, high]; both finite, low <= high.
  absl::Duration Between(absl::Duration low, absl::Duration high);
  // `base`, up to `fraction` of it more or less: Jitter(10 s, 0.2) lies in [8 s, 12 s].
  absl::Duration Jitter(absl::Duration base, double fraction);
  // A version 4 UUID: "0f8fad5b-d9cb-469f-a165-70867728950e".
  std::string Uuid();
};

// The kernel's generator.
class SystemRandom : public Random {
 public:
  uint64_t Next() override;
};

// The same sequence for the same seed, on every machine.
class SeededRandom : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : state_(seed) {}
  uint64_t Next() override;

  // A seed of its own for each part of a simulation, so that what one part draws does not change
  // what another does.
  static uint64_t DeriveSeed(uint64_t seed, absl::string_view part);

 private:
  sync::Mutex mutex_;
  uint64_t state_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace keysphere::random

#endif  // KEYSPHERE_COMMON_RANDOM_RANDOM_H_
