#ifndef KEYSPHERE_CONTROLLER_TESTING_DOMAIN_H_
#define KEYSPHERE_CONTROLLER_TESTING_DOMAIN_H_

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/executor/executor.h"
#include "common/executor/simulated_executor.h"
#include "common/random/random.h"
#include "common/status/callback.h"
#include "common/store/memory_store.h"
#include "controller/access/caller.h"

namespace keysphere::controller::testing {

// What a domain object stands on, in a test: virtual time, a store in memory that outlives the
// object, a strand, seeded ids.
struct Domain {
  explicit Domain(uint64_t seed = 1)
      : sim(seed, absl::FromUnixSeconds(1'700'000'000)), store(&sim), strand(&sim), random(seed) {}

  executor::SimulatedExecutor sim;
  store::MemoryStore store;
  executor::Strand strand;
  random::SeededRandom random;
};

inline access::Caller User(const char* name) {
  return access::Caller{name, "vcenter-a.keysphere.test:7443"};
}

// Calls `method` of `object` on the strand, lets all that is ready run, and gives the answer.
template <typename Object, typename Request, typename Response>
absl::StatusOr<Response> Call(Domain* domain, Object* object,
                              void (Object::*method)(const access::Caller&, const Request&,
                                                     status::Callback<Response>),
                              const access::Caller& caller, const Request& request) {
  absl::optional<absl::StatusOr<Response>> answer;
  domain->strand.Post([&] {
    (object->*method)(caller, request,
                      [&answer](absl::StatusOr<Response> result) { answer = std::move(result); });
  });
  domain->sim.RunUntilIdle();
  if (!answer.has_value()) return absl::UnknownError("not answered");
  return *std::move(answer);
}

// Runs `work` on the strand and what comes of it.
template <typename Work>
void OnStrand(Domain* domain, Work work) {
  domain->strand.Post(std::move(work));
  domain->sim.RunUntilIdle();
}

}  // namespace keysphere::controller::testing

#endif  // KEYSPHERE_CONTROLLER_TESTING_DOMAIN_H_
