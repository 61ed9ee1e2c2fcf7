#include "common/crypto/secret_key.h"
#include "kmip/fuzz/targets.h"

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  return keysphere::crypto::InitKeyMemory(1 << 18).ok() ? 0 : 1;
}
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  keysphere::kmip::fuzz::Serve(data, size);
  return 0;
}
