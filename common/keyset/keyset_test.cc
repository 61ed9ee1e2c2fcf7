#include "common/keyset/keyset.h"

#include <set>

#include "gtest/gtest.h"

namespace keysphere::keyset {
namespace {

host::v1::KeyEntry Entry(const std::string& provider, const std::string& key_id,
                         const std::string& check_value, bool tpm_required = false) {
  host::v1::KeyEntry entry;
  entry.set_provider(provider);
  entry.set_type(v1::PROVIDER_TYPE_NATIVE);
  entry.set_key_id(key_id);
  entry.set_key_check_value(check_value);
  entry.set_tpm_required(tpm_required);
  return entry;
}

TEST(KeysetTest, DigestDoesNotDependOnTheOrder) {
  const auto a = Entry("a", "1", "11111111");
  const auto b = Entry("b", "2", "22222222");
  EXPECT_EQ(Digest({a, b}, "c"), Digest({b, a}, "c"));
  EXPECT_EQ(Digest({}, "").size(), 32u);
}

TEST(KeysetTest, DigestCoversCachedKeysHoweverTheyCame) {
  CachedKeysDigest there_and_back;
  there_and_back.Toggle("p", "1", "11111111");
  const std::string one = Digest({}, "c", there_and_back);
  EXPECT_NE(one, Digest({}, "c"));
  CachedKeysDigest other_value;
  other_value.Toggle("p", "1", "22222222");
  EXPECT_NE(one, Digest({}, "c", other_value));
  CachedKeysDigest both;
  both.Toggle("p", "2", "22222222");
  both.Toggle("p", "1", "11111111");
  there_and_back.Toggle("p", "2", "22222222");
  EXPECT_EQ(both.value(), there_and_back.value());
  there_and_back.Toggle("p", "1", "11111111");
  there_and_back.Toggle("p", "2", "22222222");
  EXPECT_EQ(there_and_back.value(), CachedKeysDigest().value());
}

TEST(KeysetTest, DigestTellsEveryFieldAndTheClusterApart) {
  const std::set<std::string> digests = {
      Digest({}, ""),
      Digest({}, "c"),
      Digest({Entry("a", "1", "11111111")}, "c"),
      Digest({Entry("a", "1", "11111111")}, ""),
      Digest({Entry("b", "1", "11111111")}, "c"),
      Digest({Entry("a", "2", "11111111")}, "c"),
      Digest({Entry("a", "1", "22222222")}, "c"),
      Digest({Entry("a", "1", "11111111", true)}, "c"),
      // The border between two fields counts.
      Digest({Entry("a1", "", "11111111")}, "c"),
  };
  EXPECT_EQ(digests.size(), 9u);
}

TEST(KeysetTest, SealInfoBindsEachPart) {
  const std::set<std::string> infos = {
      SealInfo("h", "b", 1, "p", "k"), SealInfo("x", "b", 1, "p", "k"),
      SealInfo("h", "x", 1, "p", "k"), SealInfo("h", "b", 2, "p", "k"),
      SealInfo("h", "b", 1, "x", "k"), SealInfo("h", "b", 1, "p", "x"),
      SealInfo("hb", "", 1, "p", "k"),
  };
  EXPECT_EQ(infos.size(), 7u);
}

TEST(KeysetTest, S89_TheCauseOfALock) {
  EXPECT_EQ(LockCauseOf(v1::REASON_KMS_UNREACHABLE), v1::LOCK_CAUSE_KMS_CLUSTER_ERROR);
  EXPECT_EQ(LockCauseOf(v1::REASON_KEY_MISSING_ON_KMS), v1::LOCK_CAUSE_KEY_MISSING_ON_KMS);
  for (const v1::Reason reason :
       {v1::REASON_KEY_MISSING_ON_HOST, v1::REASON_NOT_BACKED_UP, v1::REASON_TPM_REQUIRED,
        v1::REASON_VERSION_UNSUPPORTED, v1::REASON_KEY_MISMATCH}) {
    EXPECT_EQ(LockCauseOf(reason), v1::LOCK_CAUSE_KEY_MISSING_ON_HOST);
  }
}

TEST(KeysetTest, S141_AnInstanceIsItsNameAndItsKey) {
  EXPECT_TRUE(SameKey(Entry("a", "1", "11111111"), Entry("a", "1", "11111111")));
  EXPECT_FALSE(SameKey(Entry("a", "1", "11111111"), Entry("a", "1", "22222222")));
  EXPECT_FALSE(SameKey(Entry("a", "1", "11111111"), Entry("b", "1", "11111111")));
  // S122: the key id may change while the key stays.
  EXPECT_TRUE(SameKey(Entry("a", "1", "11111111"), Entry("a", "2", "11111111")));
}

}  // namespace
}  // namespace keysphere::keyset
