#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "common/crypto/aead.h"
#include "common/crypto/bundle.h"
#include "common/crypto/hpke.h"
#include "common/crypto/kdf.h"
#include "common/crypto/key_wrap.h"
#include "common/crypto/secret_key.h"
#include "common/crypto/xts.h"
#include "common/status/status.h"
#include "gtest/gtest.h"

// S147 for this folder: after its operations no key is left in memory that a dump would hold. Looks
// for halves, since a freed block loses its first bytes to the allocator. Not for sanitizers: they
// keep freed memory, and their shadow is too large to read.
namespace keysphere::crypto {
namespace {

struct Mapping {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  bool dumped = true;
};

// The readable and writable mappings of this process.
std::vector<Mapping> Mappings() {
  std::vector<Mapping> mappings;
  std::ifstream smaps("/proc/self/smaps");
  bool wanted = false;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long begin = 0;
    unsigned long end = 0;
    char flags[5] = "";
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, flags) == 3) {
      wanted = absl::StartsWith(flags, "rw");
      if (wanted) mappings.push_back({begin, end, true});
    } else if (wanted && absl::StartsWith(line, "VmFlags:")) {
      mappings.back().dumped = !absl::StrContains(line + " ", " dd ");
    }
  }
  return mappings;
}

struct Found {
  int dumped = 0;
  int protected_memory = 0;
};

class MemoryTest : public ::testing::Test {
 protected:
  // Where halves of `key` lie. Reads through /proc/self/mem into a buffer that is then wiped, and
  // compares with the key in its place, so that the search leaves and finds no copy of its own.
  static Found Search(const SecretKey& key) {
    Found found;
    const int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    KS_CHECK(memory >= 0);
    for (const Mapping& mapping : Mappings()) {
      // Chunks overlap by less than a half, so that none is missed and none counted twice.
      std::vector<char> chunk(65536 + 15);
      const auto buffer = reinterpret_cast<uintptr_t>(chunk.data());
      for (uintptr_t at = mapping.begin; at < mapping.end; at += 65536) {
        if (at < buffer + chunk.size() && buffer < at + chunk.size()) continue;
        const size_t wanted = std::min<size_t>(chunk.size(), mapping.end - at);
        const ssize_t size = pread(memory, chunk.data(), wanted, static_cast<off_t>(at));
        if (size <= 0) continue;
        const int halves = CountHalves({chunk.data(), static_cast<size_t>(size)}, key);
        (mapping.dumped ? found.dumped : found.protected_memory) += halves;
      }
      explicit_bzero(chunk.data(), chunk.size());
    }
    close(memory);
    return found;
  }

  // The operation's result must not be a copy of the key either.
  static void ExpectOnlyInKeyMemory(const SecretKey& key, const char* what) {
    const Found found = Search(key);
    EXPECT_EQ(found.dumped, 0) << what;
    EXPECT_GE(found.protected_memory, 2) << what;
  }

 private:
  static int CountHalves(absl::string_view chunk, const SecretKey& key) {
    const auto bytes = key.bytes(SecretKeyAccess::Token());
    int count = 0;
    for (size_t half = 0; half + 16 <= bytes.size(); half += 16) {
      const char* at = chunk.data();
      const char* const end = at + chunk.size();
      while ((at = static_cast<const char*>(
                  memmem(at, static_cast<size_t>(end - at), bytes.data() + half, 16))) != nullptr) {
        ++count;
        ++at;
      }
    }
    return count;
  }
};

TEST_F(MemoryTest, TheSearchFindsACopyInOrdinaryMemory) {
  const SecretKey key = SecretKey::Random(32).value();
  const auto bytes = key.bytes(SecretKeyAccess::Token());
  const std::string copy(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  EXPECT_GE(Search(key).dumped, 2);
  EXPECT_EQ(copy.size(), 32u);
}

TEST_F(MemoryTest, S147_DerivationAndUnwrapping) {
  const SecretKey kdk = SecretKey::Random(32).value();
  const SecretKey kek = DeriveVmKek(kdk, "key-1").value();
  const SecretKey dek = UnwrapKey(kek, WrapKey(kek, SecretKey::Random(32).value()).value()).value();
  const SecretKey xts = DeriveXtsKey(dek).value();
  ASSERT_TRUE(KeyCheckValue(kdk).ok());
  ExpectOnlyInKeyMemory(kdk, "KDK");
  ExpectOnlyInKeyMemory(kek, "KEK");
  ExpectOnlyInKeyMemory(dek, "DEK");
  ExpectOnlyInKeyMemory(xts, "disk key");
}

TEST_F(MemoryTest, S147_Encryption) {
  const SecretKey key = SecretKey::Random(32).value();
  const SecretKey secret = SecretKey::Random(32).value();
  const SecretKey opened =
      GcmOpenSecret(key, "aad", GcmSealSecret(key, "aad", secret).value()).value();
  ASSERT_TRUE(opened.Equals(secret));
  const SecretKey xts = SecretKey::Random(64).value();
  std::vector<uint8_t> data(8 * kXtsUnitBytes);
  ASSERT_TRUE(XtsEncrypt(xts, 0, data, absl::MakeSpan(data)).ok());
  ExpectOnlyInKeyMemory(key, "AES-GCM key");
  ExpectOnlyInKeyMemory(secret, "sealed key");
  ExpectOnlyInKeyMemory(xts, "AES-XTS key");
}

TEST_F(MemoryTest, S147_Transport) {
  const TransportKey host = TransportKey::Generate().value();
  const SecretKey secret = SecretKey::Random(32).value();
  const SecretKey opened =
      host.Open(SealTo(host.public_key(), "info", secret).value(), "info").value();
  ExpectOnlyInKeyMemory(opened, "transported key");

  // Both ends know their private keys, and keep what they agreed on.
  const SecretKey ephemeral = SecretKey::Random(32).value();
  const SecretKey private_key = SecretKey::Random(32).value();
  const std::string public_key = internal::X25519Public(private_key).value();
  HpkeContext sender =
      internal::HpkeSenderContext(internal::HpkeAead::kAes256Gcm, ephemeral, public_key, "info")
          .value();
  const HpkeContext receiver =
      internal::HpkeReceiverContext(internal::HpkeAead::kAes256Gcm, private_key, public_key,
                                    sender.encapsulated_key(), "info")
          .value();
  const std::string sealed = sender.Seal("aad", secret).value();
  ASSERT_TRUE(receiver.OpenAt(0, "aad", sealed).value().Equals(secret));
  ExpectOnlyInKeyMemory(ephemeral, "ephemeral key");
  ExpectOnlyInKeyMemory(private_key, "private key");
}

TEST_F(MemoryTest, S147_Bundles) {
  KeyBundle bundle;
  bundle.provider = "nkp-a";
  bundle.key_id = "key-1";
  bundle.kdk = SecretKey::Random(32).value();
  const SecretKey password = SecretKey::Random(32).value();
  const std::string p12 = WriteBundle(bundle, &password, 10).value();
  const KeyBundle read = ReadBundle(p12, &password).value();
  ExpectOnlyInKeyMemory(read.kdk, "KDK");
  ExpectOnlyInKeyMemory(password, "password");

  std::string unencrypted = WriteBundle(bundle, nullptr, 10).value();
  ASSERT_TRUE(ReadBundle(unencrypted, nullptr).ok());
  explicit_bzero(&unencrypted[0], unencrypted.size());
  ExpectOnlyInKeyMemory(read.kdk, "KDK of an unencrypted bundle");
}

}  // namespace
}  // namespace keysphere::crypto
