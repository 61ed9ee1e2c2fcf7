#include "hostagent/tpm/private_stack.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <sys/mman.h>

namespace keysphere::hostagent::tpm {
namespace {

// libtpms' elliptic curves and tpm2-tss' parameter structures take some tens of KiB.
constexpr size_t kStackBytes = 512 * 1024;
constexpr size_t kGuardBytes = 64 * 1024;

void* Run(void* work) {
  (*static_cast<absl::FunctionRef<void()>*>(work))();
  return nullptr;
}

bool RunOn(char* stack, absl::FunctionRef<void()>* work) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_t thread;
  // LINT-ALLOW(thread): the caller waits for it; it exists for its stack.
  const bool started = pthread_attr_setstack(&attributes, stack, kStackBytes) == 0 &&
                       pthread_create(&thread, &attributes, &Run, work) == 0;
  pthread_attr_destroy(&attributes);
  if (started) pthread_join(thread, nullptr);
  return started;
}

}  // namespace

bool RunOnPrivateStack(absl::FunctionRef<void()> work) {
  // Below the stack a guard: an overflow ends the process instead of writing elsewhere.
  void* const map = mmap(nullptr, kGuardBytes + kStackBytes, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) {
    work();
    return false;
  }
  char* const stack = static_cast<char*>(map) + kGuardBytes;
  bool is_private = mprotect(stack, kStackBytes, PROT_READ | PROT_WRITE) == 0;
  const bool usable = is_private;
  is_private = is_private && madvise(stack, kStackBytes, MADV_DONTDUMP) == 0 &&
               mlock(stack, kStackBytes) == 0;
  const bool ran = usable && RunOn(stack, &work);
  if (usable) OPENSSL_cleanse(stack, kStackBytes);
  munmap(map, kGuardBytes + kStackBytes);
  if (!ran) work();
  return ran && is_private;
}

}  // namespace keysphere::hostagent::tpm
