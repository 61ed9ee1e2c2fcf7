#include <benchmark/benchmark.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <time.h>

#include <cstring>
#include <string>
#include <utility>

#include "common/crypto/kdf.h"
#include "common/crypto/key_wrap.h"
#include "common/crypto/labels.h"
#include "common/crypto/secret_key.h"
#include "common/status/status.h"

// What a VM's unlock costs: KEK out of the KDK, DEK out of its wrapping. Ours beside the same calls
// of OpenSSL alone (algorithms fetched once, one context a call), and the ratio of the two.
namespace keysphere::crypto {
namespace {

constexpr char kKeyId[] = "0f9d1b6a-7c1e-4a52-9a0e-5b1f0c2d3e4f";

struct Inputs {
  SecretKey kdk;
  std::string wrapped;
};

Inputs MakeInputs() {
  KS_CHECK(InitKeyMemory(size_t{1} << 20).ok());
  Inputs inputs;
  inputs.kdk = SecretKey::Random(32).value();
  const SecretKey kek = DeriveVmKek(inputs.kdk, kKeyId).value();
  inputs.wrapped = WrapKey(kek, SecretKey::Random(32).value()).value();
  return inputs;
}

bool Ours(const Inputs& inputs) {
  const auto kek = DeriveVmKek(inputs.kdk, kKeyId);
  return kek.ok() && UnwrapKey(*kek, inputs.wrapped).ok();
}

struct Algorithms {
  EVP_KDF* const kbkdf = EVP_KDF_fetch(nullptr, OSSL_KDF_NAME_KBKDF, nullptr);
  EVP_CIPHER* const wrap = EVP_CIPHER_fetch(nullptr, "AES-256-WRAP-PAD", nullptr);
};

bool Bare(const Inputs& inputs, const Algorithms& algorithms) {
  char mode[] = "counter";
  char mac[] = "HMAC";
  char digest[] = "SHA256";
  const absl::Span<const uint8_t> kdk = inputs.kdk.bytes(SecretKeyAccess::Token());
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MODE, mode, 0),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MAC, mac, 0),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<uint8_t*>(kdk.data()),
                                        kdk.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, const_cast<char*>(labels::kVmKek),
                                        std::strlen(labels::kVmKek)),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, const_cast<char*>(kKeyId),
                                        std::strlen(kKeyId)),
      OSSL_PARAM_construct_end()};
  uint8_t kek[32];
  EVP_KDF_CTX* const kdf = EVP_KDF_CTX_new(algorithms.kbkdf);
  bool ok = EVP_KDF_derive(kdf, kek, sizeof(kek), params) == 1;
  EVP_KDF_CTX_free(kdf);
  uint8_t dek[40];
  int size = 0;
  EVP_CIPHER_CTX* const cipher = EVP_CIPHER_CTX_new();
  EVP_CIPHER_CTX_set_flags(cipher, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  ok =
      ok && EVP_DecryptInit_ex2(cipher, algorithms.wrap, kek, nullptr, nullptr) == 1 &&
      EVP_DecryptUpdate(cipher, dek, &size, reinterpret_cast<const uint8_t*>(inputs.wrapped.data()),
                        static_cast<int>(inputs.wrapped.size())) == 1;
  EVP_CIPHER_CTX_free(cipher);
  OPENSSL_cleanse(kek, sizeof(kek));
  OPENSSL_cleanse(dek, sizeof(dek));
  return ok && size == 32;
}

// CPU time of this thread, which other load on the machine changes least.
double CpuNanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// Both in turn, so that a machine that slows down slows both.
void BM_DeriveAndUnwrap(benchmark::State& state) {
  static const Inputs* const inputs = new Inputs(MakeInputs());
  static const Algorithms* const algorithms = new Algorithms;
  constexpr int kBatch = 200;
  double ours = 0;
  double bare = 0;
  for (auto _ : state) {
    const double begin = CpuNanoseconds();
    for (int i = 0; i < kBatch; ++i) KS_CHECK(Ours(*inputs));
    const double middle = CpuNanoseconds();
    for (int i = 0; i < kBatch; ++i) KS_CHECK(Bare(*inputs, *algorithms));
    bare += CpuNanoseconds() - middle;
    ours += middle - begin;
  }
  const double calls = static_cast<double>(state.iterations()) * kBatch;
  state.counters["ours_ns"] = ours / calls;
  state.counters["bare_ns"] = bare / calls;
  state.counters["ratio"] = ours / bare;
}
BENCHMARK(BM_DeriveAndUnwrap)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace keysphere::crypto

BENCHMARK_MAIN();
