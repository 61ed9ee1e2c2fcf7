// A server that is told to do wrong.
#include "kmip/server/engine_fixture.h"

namespace keysphere::kmip::server {
namespace {

using messages::Operation;
using messages::ResultReason;
using messages::RevocationReason;
using messages::State;
using ::testing::ElementsAre;
using ttlv::Tag;

class Faults : public FaultInjector {
 public:
  ObjectFault OnObject(absl::string_view uid) override {
    if (uid == missing) return ObjectFault::kMissing;
    return uid == not_active ? ObjectFault::kNotActive : ObjectFault::kNone;
  }
  std::string missing;
  std::string not_active;
};

TEST_F(EngineTest, FaultsOfObjects) {
  Faults faults;
  Engine::Options options;
  options.faults = &faults;
  MakeEngine(std::move(options));
  const std::string uid = Create();
  EXPECT_TRUE(Activate(uid).ok());
  faults.missing = uid;
  EXPECT_EQ(Get(uid).reason, ResultReason::kItemNotFound);
  faults.missing.clear();
  faults.not_active = uid;
  EXPECT_EQ(StateOf(uid), State::kPreActive);
  faults.not_active.clear();
  EXPECT_EQ(StateOf(uid), State::kActive);
}

// What the node tells is false; what it has is not, nor what it does by it.
TEST_F(EngineTest, AKeyThatIsSaidToBePreActiveStaysWhatItIs) {
  Faults faults;
  Engine::Options options;
  options.faults = &faults;
  MakeEngine(std::move(options));
  const std::string uid = Create();
  const std::string other = Create();
  EXPECT_TRUE(Activate(uid).ok());
  EXPECT_TRUE(Activate(other).ok());
  EXPECT_TRUE(Revoke(other, RevocationReason::kCessationOfOperation).ok());
  EXPECT_TRUE(Destroy(other).ok());

  for (const std::string& one : {uid, other}) {
    faults.not_active = one;
    EXPECT_EQ(StateOf(one), State::kPreActive);
    EXPECT_EQ(Attributes(one).attributes.count("Activation Date"), 0);
    EXPECT_THAT(Ask(Operation::kGetAttributeList, Uid(one)).names,
                ::testing::Not(::testing::Contains("Activation Date")));
    EXPECT_TRUE(Ask(Operation::kAddAttribute, Both(Uid(one), Text("x-a", "1"))).ok());
    EXPECT_TRUE(Ask(Operation::kModifyAttribute, Both(Uid(one), Text("x-a", "2"))).ok());
    EXPECT_TRUE(
        Ask(Operation::kDeleteAttribute,
            Both(Uid(one), [](ttlv::Writer* writer) { writer->Text(Tag::kAttributeName, "x-a"); }))
            .ok());
    EXPECT_EQ(Activate(one).reason, ResultReason::kPermissionDenied);
    EXPECT_EQ(Destroy(one).reason, ResultReason::kPermissionDenied);
    faults.not_active.clear();
  }
  EXPECT_EQ(StateOf(uid), State::kActive);
  EXPECT_EQ(Attributes(uid).attributes.count("Activation Date"), 1);
  EXPECT_EQ(Get(uid).key.size(), 32);
  EXPECT_EQ(StateOf(other), State::kDestroyed);

  faults.not_active = uid;
  EXPECT_TRUE(Revoke(uid, RevocationReason::kSuperseded).ok());
  faults.not_active.clear();
  EXPECT_EQ(StateOf(uid), State::kDeactivated);
}

TEST_F(EngineTest, AFaultCanComeBetweenACommitAndItsAnswer) {
  struct Counting : FaultInjector {
    void OnOperation(Operation operation) override { operations.push_back(operation); }
    void OnCreated() override { ++created; }
    std::vector<Operation> operations;
    int created = 0;
  };
  Counting faults;
  Engine::Options options;
  options.faults = &faults;
  MakeEngine(std::move(options));
  const std::string uid = Create();
  Get(uid);
  Ask(Operation::kActivate, [&](ttlv::Writer* writer) { messages::WriteUid(uid, writer); });
  EXPECT_EQ(faults.created, 1);
  EXPECT_THAT(faults.operations,
              ElementsAre(Operation::kCreate, Operation::kGet, Operation::kActivate));
}

}  // namespace
}  // namespace keysphere::kmip::server
