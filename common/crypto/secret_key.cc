#include "common/crypto/secret_key.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "common/sync/mutex.h"

namespace keysphere::crypto {
namespace {

using status::Error;

constexpr size_t kMaxKeyBytes = 4096;
// RLIMIT_MEMLOCK is 8 MiB on most systems, and the heap's bookkeeping needs some of it.
constexpr size_t kMaxArenaBytes = size_t{7} << 20;
// The smallest piece that the heap gives out: one 256-bit key.
constexpr size_t kMinPieceBytes = 32;

void* PlainMalloc(size_t size, const char*, int) { return std::malloc(size); }

void WipingFree(void* block, const char*, int) {
  if (block == nullptr) return;
  // The C library's: OPENSSL_cleanse takes several times as long for buffers of TLS.
  explicit_bzero(block, malloc_usable_size(block));
  std::free(block);
}

// Not the C library's realloc: that may move a block and leave the old bytes behind.
void* WipingRealloc(void* block, size_t size, const char* file, int line) {
  if (block == nullptr) return std::malloc(size);
  if (size == 0) {
    WipingFree(block, file, line);
    return nullptr;
  }
  const size_t old_size = malloc_usable_size(block);
  void* const moved = std::malloc(size);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, block, old_size < size ? old_size : size);
  WipingFree(block, file, line);
  return moved;
}

// OpenSSL has one secure heap per process and does not tell its size.
std::atomic<size_t> heap_capacity{0};

sync::Mutex& InitMutex() {
  static sync::Mutex* const mutex = new sync::Mutex;
  return *mutex;
}

absl::Status NotInitialised() {
  return Error(v1::REASON_KEY_MEMORY_UNPROTECTED,
               "there is no locked memory for keys: InitKeyMemory was not called")
      .NextStep("Call InitKeyMemory as the first statement of main.");
}

size_t RoundedUp(size_t size) {
  size_t piece = kMinPieceBytes;
  while (piece < size) piece *= 2;
  return piece;
}

absl::Status MakeHeap(size_t bytes) {
  // Succeeds only before OpenSSL's first allocation.
  if (CRYPTO_set_mem_functions(PlainMalloc, WipingRealloc, WipingFree) != 1) {
    return Error(v1::REASON_KEY_MEMORY_UNPROTECTED,
                 "OpenSSL was used before its memory functions could be made to wipe")
        .NextStep("Call InitKeyMemory as the first statement of main.");
  }
  if (CRYPTO_secure_malloc_init(bytes, kMinPieceBytes) != 1) {
    return Error(v1::REASON_KEY_MEMORY_UNPROTECTED,
                 absl::StrCat("cannot lock ", bytes, " bytes of memory for keys"))
        .NextStep("Raise `ulimit -l`, or ask for less with --secure-heap.");
  }
  heap_capacity.store(bytes);
  return absl::OkStatus();
}

}  // namespace

absl::Status InitKeyMemory(size_t bytes) {
  if (bytes < 4096 || bytes > kMaxArenaBytes || (bytes & (bytes - 1)) != 0) {
    return Error(v1::REASON_INVALID_ARGUMENT,
                 absl::StrCat("--secure-heap is ", bytes,
                              ": it must be a power of two from 4 KiB to 4 MiB"));
  }
  const sync::MutexLock lock(&InitMutex());
  return heap_capacity.load() != 0 ? absl::OkStatus() : MakeHeap(bytes);
}

KeyMemoryStats GetKeyMemoryStats() {
  KeyMemoryStats stats;
  stats.capacity_bytes = heap_capacity.load();
  if (stats.capacity_bytes != 0) stats.used_bytes = CRYPTO_secure_used();
  return stats;
}

SecretKey::SecretKey(SecretKey&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

SecretKey& SecretKey::operator=(SecretKey&& other) noexcept {
  if (this != &other) {
    OPENSSL_secure_clear_free(data_, size_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

SecretKey::~SecretKey() { OPENSSL_secure_clear_free(data_, size_); }

absl::StatusOr<SecretKey> SecretKey::Zeroed(size_t size) {
  if (size == 0 || size > kMaxKeyBytes) {
    return Error(v1::REASON_INVALID_ARGUMENT,
                 absl::StrCat("a key has 1 to ", kMaxKeyBytes, " bytes, not ", size));
  }
  const size_t capacity = heap_capacity.load();
  // Without a secure heap OpenSSL would take ordinary memory and say nothing.
  if (capacity == 0) return NotInitialised();
  uint8_t* data = nullptr;
  if (CRYPTO_secure_used() + RoundedUp(size) <= capacity / 4 * 3) {
    data = static_cast<uint8_t*>(OPENSSL_secure_zalloc(size));
  }
  if (data == nullptr) {
    return Error(v1::REASON_KEY_MEMORY_FULL,
                 absl::StrCat("the locked memory for keys (", capacity, " bytes) is 75 % full"))
        .NextStep("Start the process with a larger --secure-heap, or remove keys.");
  }
  SecretKey key;
  key.data_ = data;
  key.size_ = size;
  return key;
}

absl::StatusOr<SecretKey> SecretKey::Random(size_t size) {
  KS_ASSIGN_OR_RETURN(SecretKey key, Zeroed(size));
  if (RAND_priv_bytes(key.data_, static_cast<int>(size)) != 1) {
    return Error(v1::REASON_INTERNAL, "OpenSSL's random generator failed");
  }
  return key;
}

absl::StatusOr<SecretKey> SecretKey::CopyOf(absl::Span<const uint8_t> bytes) {
  KS_ASSIGN_OR_RETURN(SecretKey key, Zeroed(bytes.size()));
  std::memcpy(key.data_, bytes.data(), bytes.size());
  return key;
}

absl::StatusOr<SecretKey> SecretKey::Clone() const {
  if (empty()) return SecretKey();
  return CopyOf({data_, size_});
}

bool SecretKey::Equals(const SecretKey& other) const {
  return size_ == other.size_ && (size_ == 0 || CRYPTO_memcmp(data_, other.data_, size_) == 0);
}

}  // namespace keysphere::crypto
