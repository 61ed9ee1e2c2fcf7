#include <cstddef>

#include "common/crypto/secret_key.h"
#include "common/status/status.h"

// Linked into a test, this makes its key memory before main: gtest's main and the test's own
// set-up may already use OpenSSL, and the wiping memory functions must come first.
namespace keysphere::crypto {
namespace {

bool InitForTests() {
  KS_CHECK(InitKeyMemory(size_t{1} << 20).ok());
  return true;
}

const bool initialised [[maybe_unused]] = InitForTests();

}  // namespace
}  // namespace keysphere::crypto
