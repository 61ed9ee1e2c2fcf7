#include "hostagent/config/config_journal.h"

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crypto/test_vectors.h"
#include "common/status/matchers.h"
#include "gtest/gtest.h"

namespace keysphere::hostagent::config {
namespace {

using crypto::testing::CountingKey;
using status::HasReason;

const std::string kBase(32, 'b');

JournalRecord RecordOf(absl::string_view provider) {
  JournalRecord record;
  record.add_changes()->add_put_kdks()->set_provider(std::string(provider));
  return record;
}

class ConfigJournalTest : public ::testing::Test {
 protected:
  ConfigJournalTest() { position_.base = kBase; }

  std::string Add(absl::string_view provider) {
    return EncodeRecord(key_, RecordOf(provider), &position_).value();
  }
  // The providers that a journal names, joined.
  absl::StatusOr<std::string> Read(absl::string_view bytes) const {
    KS_ASSIGN_OR_RETURN(const auto changes, ReadJournal(key_, kBase, bytes));
    std::string all;
    for (const ConfigChange& change : changes) all += change.put_kdks(0).provider();
    return all;
  }

  const crypto::SecretKey key_ = CountingKey(1);
  JournalPosition position_;
};

TEST_F(ConfigJournalTest, RecordsAreReadInTheirOrder) {
  std::string journal = JournalHeader(kBase);
  EXPECT_EQ(Read(journal).value(), "");
  for (const char* provider : {"a", "b", "c"}) journal += Add(provider);
  EXPECT_EQ(Read(journal).value(), "abc");
  JournalRecord two = RecordOf("d");
  two.add_changes()->add_put_kdks()->set_provider("e");
  journal += EncodeRecord(key_, two, &position_).value();
  EXPECT_EQ(Read(journal).value(), "abcde");
}

TEST_F(ConfigJournalTest, S148_ARecordThatIsNotWholeIsLeftOut) {
  const std::string before = JournalHeader(kBase) + Add("a");
  const std::string whole = before + Add("b");
  for (size_t size = 0; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    const std::string expected = size < before.size() ? "" : "a";
    EXPECT_EQ(Read(whole.substr(0, size)).value(), expected);
  }
  // The disk has the file's new size, and of the last record nothing or some sectors.
  EXPECT_EQ(Read(std::string(whole.size(), '\0')).value(), "");
  EXPECT_EQ(Read(before + std::string(whole.size() - before.size(), '\0')).value(), "a");
  for (size_t size = before.size() + 8; size + 24 < whole.size(); size += 8) {
    EXPECT_EQ(Read(whole.substr(0, size) + std::string(whole.size() - size, '\0')).value(), "a");
  }
}

TEST_F(ConfigJournalTest, DamageBeforeTheLastRecordIsReported) {
  const std::string before = JournalHeader(kBase) + Add("a") + Add("b");
  const std::string journal = before + Add("c");
  for (size_t at = 0; at < before.size(); ++at) {
    std::string damaged = journal;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x20);
    const absl::StatusOr<std::string> read = Read(damaged);
    // The zeros that fill up a record say nothing.
    if (read.ok()) {
      EXPECT_EQ(journal[at], '\0') << at;
      EXPECT_EQ(*read, "abc") << at;
    } else {
      EXPECT_THAT(read, HasReason(v1::REASON_CIPHERTEXT_CORRUPT)) << at;
    }
  }
}

TEST_F(ConfigJournalTest, RecordsCannotBeTakenOutMovedOrRepeated) {
  const std::string header = JournalHeader(kBase);
  const std::string a = Add("a");
  const std::string b = Add("b");
  const std::string c = Add("c");
  for (const std::string& journal :
       {header + b, header + b + a, header + a + c, header + a + a, header + a + b + b + c}) {
    EXPECT_THAT(Read(journal), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  }
}

// The first record's number is right: its chain is not.
TEST_F(ConfigJournalTest, RecordsOfAnotherHistoryDoNotContinueThisOne) {
  const std::string header = JournalHeader(kBase);
  const std::string a = Add("a");
  const std::string b = Add("b");
  JournalPosition other;
  other.base = kBase;
  const std::string x = EncodeRecord(key_, RecordOf("x"), &other).value();
  EXPECT_EQ(Read(header + x).value(), "x");
  EXPECT_THAT(Read(header + x + b), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  EXPECT_EQ(Read(header + a + b).value(), "ab");
}

TEST_F(ConfigJournalTest, AnotherBaseOrKeyIsTold) {
  const std::string a = Add("a");
  // What was written for another config.ks counts no more.
  EXPECT_EQ(Read(JournalHeader(std::string(32, 'x')) + a).value(), "");
  JournalPosition other;
  other.base = std::string(32, 'x');
  const std::string foreign = EncodeRecord(key_, RecordOf("x"), &other).value();
  EXPECT_THAT(Read(JournalHeader(kBase) + foreign), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  EXPECT_THAT(ReadJournal(CountingKey(2), kBase, JournalHeader(kBase) + a),
              HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST_F(ConfigJournalTest, ChangesAreMadeInPlace) {
  HostConfig config;
  config.add_kdks()->set_provider("a");
  config.add_kdks()->set_provider("b");
  config.mutable_attachment()->set_controller("vc");
  ConfigChange change;
  change.add_removed_kdks("a");
  Kdk* const b = change.add_put_kdks();
  b->set_provider("b");
  b->set_key_id("new");
  change.add_put_kdks()->set_provider("c");
  for (int time = 0; time < 2; ++time) {
    Apply(change, &config);
    ASSERT_EQ(config.kdks_size(), 2);
    EXPECT_EQ(config.kdks(0).key_id(), "new");
    EXPECT_EQ(config.kdks(1).provider(), "c");
    EXPECT_EQ(config.attachment().controller(), "vc");
  }
  for (const char* id : {"k1", "k2", "k3"}) {
    PersistedKey* const kept = config.add_persisted_keys();
    kept->set_provider("skp");
    kept->set_key_id(id);
  }
  *change.add_removed_persisted_keys() = config.persisted_keys(0);
  *change.add_put_persisted_keys() = config.persisted_keys(1);
  change.mutable_put_persisted_keys(0)->set_sealed_key("new");
  change.mutable_attachment()->set_generation(7);
  Apply(change, &config);
  EXPECT_EQ(config.attachment().controller(), "");
  EXPECT_EQ(config.attachment().generation(), 7u);
  ASSERT_EQ(config.persisted_keys_size(), 2);
  EXPECT_EQ(config.persisted_keys(0).key_id(), "k3");
  EXPECT_EQ(config.persisted_keys(1).key_id(), "k2");
  EXPECT_EQ(config.persisted_keys(1).sealed_key(), "new");
}

// S33, S57: such a change is written anew with the whole, so that no file holds the key any more.
TEST_F(ConfigJournalTest, AKeyThatGoesIsTold) {
  HostConfig config;
  Kdk* const a = config.add_kdks();
  a->set_provider("a");
  a->set_kcv("11111111");
  PersistedKey* const kept = config.add_persisted_keys();
  kept->set_provider("skp");
  kept->set_key_id("k1");
  const auto takes = [&config](const std::function<void(ConfigChange*)>& fill) {
    JournalRecord record;
    fill(record.add_changes());
    return TakesKeysAway(record, config);
  };
  const auto put = [](const char* provider, const char* kcv) {
    return [provider, kcv](ConfigChange* change) {
      change->add_put_kdks()->set_provider(provider);
      change->mutable_put_kdks(0)->set_kcv(kcv);
      change->mutable_put_kdks(0)->set_key_id("another label");
    };
  };
  EXPECT_FALSE(takes(put("a", "11111111")));
  EXPECT_FALSE(takes(put("b", "22222222")));
  EXPECT_TRUE(takes(put("a", "22222222")));
  EXPECT_TRUE(takes([](ConfigChange* change) { change->add_removed_kdks("a"); }));
  EXPECT_FALSE(takes([](ConfigChange* change) { change->add_removed_kdks("b"); }));
  EXPECT_TRUE(takes([&](ConfigChange* change) { *change->add_removed_persisted_keys() = *kept; }));
  EXPECT_TRUE(takes([&](ConfigChange* change) { *change->add_put_persisted_keys() = *kept; }));
  EXPECT_FALSE(takes([&](ConfigChange* change) {
    *change->add_put_persisted_keys() = *kept;
    change->mutable_put_persisted_keys(0)->set_key_id("k2");
  }));
  // Put and replaced within one record.
  JournalRecord record;
  put("c", "33333333")(record.add_changes());
  put("c", "44444444")(record.add_changes());
  EXPECT_TRUE(TakesKeysAway(record, config));
}

}  // namespace
}  // namespace keysphere::hostagent::config
