#include "hostagent/keys/standard_keys.h"

#include "common/crypto/kdf.h"
#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::hostagent::keys {
namespace {

using host::v1::ApplyKeysRequest;
using host::v1::SealedStandardKeys;
using host::v1::StandardProviderState;
using status::HasReason;
using status::IsOk;
using ::testing::IsEmpty;
using ::testing::SizeIs;

StandardKey NewKey(const std::string& provider, const std::string& key_id) {
  StandardKey key = {provider, key_id, "", crypto::SecretKey::Random(32).value()};
  key.check_value = crypto::KeyCheckValue(key.key).value();
  return key;
}

StandardKey CopyOf(const StandardKey& key) {
  return {key.provider, key.key_id, key.check_value, key.key.Clone().value()};
}

StandardProviderState State(const std::string& provider, bool unreachable = false,
                            const std::vector<std::string>& missing = {}) {
  StandardProviderState state;
  state.set_provider(provider);
  state.set_kms_unreachable(unreachable);
  for (const std::string& id : missing) state.add_missing_key_ids(id);
  return state;
}

TEST(StandardKeysTest, TheDigestTellsTheSetNotItsHistory) {
  const StandardKey a = NewKey("p", "a");
  const StandardKey b = NewKey("p", "b");
  StandardKeys one;
  one.Put(CopyOf(a));
  one.Put(CopyOf(b));
  StandardKeys other;
  other.Put(NewKey("p", "a"));  // replaced
  other.Put(CopyOf(b));
  other.Put(NewKey("q", "a"));
  other.Put(CopyOf(a));
  EXPECT_NE(one.digest().value(), other.digest().value());
  other.Remove("q", "a");
  other.Remove("q", "a");
  EXPECT_EQ(one.digest().value(), other.digest().value());
  EXPECT_EQ(other.size(), 2u);
  EXPECT_EQ(other.CheckValue("p", "a"), a.check_value);
  EXPECT_TRUE(other.Find("p", "a")->Equals(a.key));
  other.Clear();
  EXPECT_EQ(other.digest().value(), StandardKeys().digest().value());
  EXPECT_EQ(other.Find("p", "a"), nullptr);
  EXPECT_FALSE(other.Knows("p"));
}

TEST(StandardKeysTest, S89_WhyAKeyIsMissing) {
  StandardKeys keys;
  EXPECT_EQ(keys.WhyMissing("p", "a"), v1::REASON_KEY_MISSING_ON_HOST);
  ApplyKeysRequest told;
  *told.add_standard_providers() = State("p", false, {"a"});
  EXPECT_TRUE(keys.Note(told));
  EXPECT_FALSE(keys.Note(told));
  EXPECT_TRUE(keys.Knows("p"));
  EXPECT_EQ(keys.WhyMissing("p", "a"), v1::REASON_KEY_MISSING_ON_KMS);
  EXPECT_EQ(keys.WhyMissing("p", "b"), v1::REASON_KEY_MISSING_ON_HOST);
  // Nobody can say what a KMS lacks that does not answer.
  *told.mutable_standard_providers(0) = State("p", true, {"a"});
  EXPECT_TRUE(keys.Note(told));
  EXPECT_EQ(keys.WhyMissing("p", "a"), v1::REASON_KMS_UNREACHABLE);
  // What adds says nothing of others; a tick says all.
  ApplyKeysRequest others;
  *others.add_standard_providers() = State("q");
  EXPECT_TRUE(keys.Note(others));
  EXPECT_EQ(keys.WhyMissing("p", "a"), v1::REASON_KMS_UNREACHABLE);
  others.set_allow_removal(true);
  EXPECT_TRUE(keys.Note(others));
  EXPECT_EQ(keys.WhyMissing("p", "a"), v1::REASON_KEY_MISSING_ON_HOST);
  EXPECT_FALSE(keys.Knows("p"));
}

class StandardPlanTest : public ::testing::Test {
 protected:
  SealedStandardKeys Seal(const std::string& provider, const std::vector<const StandardKey*>& keys,
                          int64_t epoch = 7) {
    auto session = crypto::TransportSession::Begin(transport_key_.public_key());
    KS_CHECK(session.ok());
    SealedStandardKeys sealed;
    sealed.set_provider(provider);
    for (const StandardKey* key : keys) {
      SealedStandardKeys::Key* const out = sealed.add_keys();
      out->set_key_id(key->key_id);
      const std::string info = keyset::SealInfo("esx-1", "boot", epoch, provider, key->key_id);
      out->set_sealed(session->Seal(info, key->key).value());
    }
    return sealed;
  }
  absl::StatusOr<StandardPlan> Plan(const ApplyKeysRequest& request, bool safe = true) {
    return PlanStandardKeys(cached_, request, safe, {&transport_key_, "esx-1", "boot", 7});
  }

  const crypto::TransportKey transport_key_ = crypto::TransportKey::Generate().value();
  StandardKeys cached_;
};

TEST_F(StandardPlanTest, S132_S152_WhatAnAddAndATickDo) {
  const StandardKey here = NewKey("p", "here");
  const StandardKey gone = NewKey("p", "gone");
  const StandardKey fresh = NewKey("p", "fresh");
  const StandardKey other = NewKey("p", "here");
  cached_.Put(CopyOf(here));
  cached_.Put(CopyOf(gone));
  cached_.Put(NewKey("old", "k"));
  ApplyKeysRequest request;
  *request.add_standard_keys() = Seal("p", {&other, &fresh});
  *request.add_standard_providers() = State("p", false, {"gone"});
  const auto add = Plan(request);
  ASSERT_THAT(add, IsOk());
  ASSERT_THAT(add->add, SizeIs(1));
  EXPECT_EQ(add->add[0].key_id, "fresh");
  EXPECT_TRUE(add->add[0].key.Equals(fresh.key));
  EXPECT_THAT(add->collisions, SizeIs(1));
  EXPECT_THAT(add->remove, IsEmpty());
  request.set_allow_removal(true);
  const auto tick = Plan(request);
  ASSERT_THAT(tick, IsOk());
  EXPECT_THAT(tick->add, SizeIs(2));
  EXPECT_THAT(tick->collisions, IsEmpty());
  ASSERT_THAT(tick->remove, SizeIs(2));
  EXPECT_EQ(tick->remove[0].provider(), "old");
  ASSERT_EQ(tick->remove[1].keys_size(), 1);
  EXPECT_EQ(tick->remove[1].keys(0).key_id(), "gone");
}

TEST_F(StandardPlanTest, S98_AHostThatIsNotSafeStillPurges) {
  const StandardKey key = NewKey("p", "k");
  cached_.Put(NewKey("old", "k"));
  ApplyKeysRequest request;
  *request.add_standard_keys() = Seal("p", {&key});
  *request.add_standard_providers() = State("p");
  request.set_allow_removal(true);
  const auto plan = Plan(request, /*safe=*/false);
  ASSERT_THAT(plan, IsOk());
  EXPECT_THAT(plan->add, IsEmpty());
  EXPECT_THAT(plan->refused, SizeIs(1));
  EXPECT_THAT(plan->remove, SizeIs(1));
}

TEST_F(StandardPlanTest, MalformedRequestsDoNothing) {
  const StandardKey key = NewKey("p", "k");
  ApplyKeysRequest good;
  *good.add_standard_keys() = Seal("p", {&key});
  *good.add_standard_providers() = State("p");
  ASSERT_THAT(Plan(good), IsOk());

  ApplyKeysRequest bad = good;
  *bad.add_standard_keys() = bad.standard_keys(0);
  EXPECT_THAT(Plan(bad), HasReason(v1::REASON_INVALID_ARGUMENT));
  bad = good;
  *bad.add_standard_providers() = State("p");
  EXPECT_THAT(Plan(bad), HasReason(v1::REASON_INVALID_ARGUMENT));
  bad = good;
  bad.set_allow_removal(true);
  bad.clear_standard_providers();
  EXPECT_THAT(Plan(bad), HasReason(v1::REASON_INVALID_ARGUMENT));
  bad = good;
  bad.mutable_standard_providers(0)->set_provider("");
  EXPECT_THAT(Plan(bad), HasReason(v1::REASON_INVALID_NAME));
  bad = good;
  bad.mutable_standard_keys(0)->mutable_keys(0)->set_sealed("short");
  EXPECT_THAT(Plan(bad), HasReason(v1::REASON_INVALID_ARGUMENT));
  bad = good;
  bad.mutable_standard_keys(0)->mutable_keys(0)->set_key_id(std::string(257, 'k'));
  EXPECT_THAT(Plan(bad), HasReason(v1::REASON_INVALID_ARGUMENT));
  bad = good;
  bad.mutable_standard_keys(0)->mutable_keys(0)->mutable_sealed()->push_back('x');
  EXPECT_THAT(Plan(bad), HasReason(v1::REASON_INVALID_ARGUMENT));
  // S140: of another attachment.
  bad = good;
  *bad.mutable_standard_keys(0) = Seal("p", {&key}, /*epoch=*/6);
  EXPECT_THAT(Plan(bad), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

}  // namespace
}  // namespace keysphere::hostagent::keys
