// committer PATH: commits "n/<i>" = "<i>" for i = 1, 2, … and the secret "s", several at a time,
// and prints "<i> <revision>" for each that was acknowledged, until it is killed.
#include <cstdio>
#include <string>
#include <utility>

#include "common/crypto/secret_key.h"
#include "common/files/file_system.h"
#include "common/status/status.h"
#include "common/store/sqlite_store.h"
#include "common/sync/mutex.h"

namespace keysphere::store {
namespace {

constexpr int kWindow = 16;

int Run(const char* path) {
  KS_CHECK(crypto::InitKeyMemory(size_t{1} << 20).ok());
  const files::FileSystem files;
  auto opened = SqliteStore::Open(&files, path);
  if (!opened.ok()) {
    std::fprintf(stderr, "%s\n", status::ToString(opened.status()).c_str());
    return 1;
  }
  const auto store = *std::move(opened);
  sync::Mutex mutex;
  sync::CondVar answered;
  int in_flight = 0;
  for (int i = 1;; ++i) {
    Transaction transaction;
    transaction.Put("n/" + std::to_string(i), std::to_string(i));
    transaction.PutSecret("s", crypto::SecretKey::Random(32).value());
    {
      sync::MutexLock lock(&mutex);
      while (in_flight >= kWindow) answered.Wait(&mutex);
      ++in_flight;
    }
    store->Commit(std::move(transaction), [&, i](absl::StatusOr<Revision> revision) {
      KS_CHECK(revision.ok());
      std::printf("%d %lld\n", i, static_cast<long long>(*revision));
      std::fflush(stdout);
      sync::MutexLock lock(&mutex);
      --in_flight;
      answered.Signal();
    });
  }
}

}  // namespace
}  // namespace keysphere::store

int main(int argc, char** argv) { return argc == 2 ? keysphere::store::Run(argv[1]) : 2; }
