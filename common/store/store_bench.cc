// store_bench PATH: commits a second into a new database, one at a time and with many waiting.
#include <cstdio>
#include <string>

#include "common/clock/system_clock.h"
#include "common/crypto/secret_key.h"
#include "common/files/file_system.h"
#include "common/status/status.h"
#include "common/store/sqlite_store.h"
#include "common/sync/mutex.h"

namespace keysphere::store {
namespace {

// Runs `commits` commits of one 200-byte put, at most `window` of them at a time.
void Measure(clock::Clock* clock, Store* store, int commits, int window) {
  sync::Mutex mutex;
  sync::CondVar answered;
  int in_flight = 0;
  const absl::Time begin = clock->Now();
  for (int i = 0; i < commits; ++i) {
    {
      sync::MutexLock lock(&mutex);
      while (in_flight >= window) answered.Wait(&mutex);
      ++in_flight;
    }
    store->Commit(Transaction().Put("vm/" + std::to_string(i), std::string(200, 'x')),
                  [&](absl::StatusOr<Revision> revision) {
                    KS_CHECK(revision.ok());
                    sync::MutexLock lock(&mutex);
                    --in_flight;
                    answered.Signal();
                  });
  }
  {
    sync::MutexLock lock(&mutex);
    while (in_flight > 0) answered.Wait(&mutex);
  }
  const double seconds = absl::ToDoubleSeconds(clock->Now() - begin);
  std::printf("%d waiting: %.0f commits/s\n", window, commits / seconds);
}

}  // namespace
}  // namespace keysphere::store

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: store_bench PATH\n");
    return 2;
  }
  KS_CHECK(keysphere::crypto::InitKeyMemory(size_t{1} << 20).ok());
  keysphere::clock::SystemClock clock;
  const keysphere::files::FileSystem files;
  const auto store = keysphere::store::SqliteStore::Open(&files, argv[1]);
  if (!store.ok()) {
    std::fprintf(stderr, "%s\n", keysphere::status::ToString(store.status()).c_str());
    return 1;
  }
  keysphere::store::Measure(&clock, store->get(), 5000, 1);
  keysphere::store::Measure(&clock, store->get(), 50000, 64);
  keysphere::store::Measure(&clock, store->get(), 100000, 1000);
  return 0;
}
