#include "kmip/fuzz/targets.h"

#include <utility>

#include "common/crypto/secret_key.h"
#include "common/executor/simulated_executor.h"
#include "common/random/random.h"
#include "common/status/status.h"
#include "common/store/memory_store.h"
#include "kmip/client/exchange.h"
#include "kmip/messages/message.h"
#include "kmip/messages/payloads.h"
#include "kmip/server/engine.h"
#include "kmip/ttlv/writer.h"

namespace keysphere::kmip::fuzz {
namespace {

// Whatever a payload is, every reader must bear it.
template <typename T>
void Try(absl::Status (*read)(const ttlv::Item&, T*), const ttlv::Item& payload) {
  T out;
  (void)read(payload, &out).ok();
}

void ReadPayload(const ttlv::Item& payload) {
  Try(&messages::ReadCreate, payload);
  Try(&messages::ReadRegister, payload);
  Try(&messages::ReadGet, payload);
  Try(&messages::ReadGetAttributes, payload);
  Try(&messages::ReadAttributeRequest, payload);
  Try(&messages::ReadDeleteAttribute, payload);
  Try(&messages::ReadLocate, payload);
  Try(&messages::ReadRevoke, payload);
  Try(&messages::ReadQuery, payload);
  Try(&messages::ReadVersions, payload);
}

// The published identifiers of the corpus, so that requests meet objects.
class FixedRandom : public random::Random {
 public:
  uint64_t Next() override { return ++last_; }

 private:
  uint64_t last_ = 0;
};

ttlv::Buffer CreateRequest() {
  ttlv::Buffer buffer;
  ttlv::Writer writer(&buffer);
  const ttlv::Writer::Structure message = writer.Begin(ttlv::Tag::kRequestMessage);
  messages::WriteRequestHeader(messages::kVersion11, absl::nullopt,
                               messages::ErrorContinuation::kStop, 1, &writer);
  const ttlv::Writer::Structure item = writer.Begin(ttlv::Tag::kBatchItem);
  writer.Enumeration(ttlv::Tag::kOperation, messages::Operation::kCreate);
  const ttlv::Writer::Structure payload = writer.Begin(ttlv::Tag::kRequestPayload);
  messages::WriteCreateAes256(&writer);
  return buffer;
}

}  // namespace

void Decode(const uint8_t* data, size_t size) {
  const auto message = ttlv::Parse({data, size});
  if (!message.ok()) return;
  const auto request = messages::ReadRequest(*message);
  if (request.ok()) {
    for (const messages::RequestItem& item : request->items) ReadPayload(item.payload);
  }
  const auto response = messages::ReadResponse(*message);
  if (!response.ok()) return;
  (void)client::VersionsOf(*response).ok();
  for (const messages::ResponseItem& item : response->items) {
    (void)client::CreatedUid(item).ok();
    (void)client::CheckUid(item, "uid").ok();
    (void)client::KeyOf(item, "uid").ok();
    (void)client::StateOf(item, "uid").ok();
  }
}

void Serve(const uint8_t* data, size_t size) {
  executor::SimulatedExecutor executor(1, absl::FromUnixSeconds(1'700'000'000));
  FixedRandom random;
  store::MemoryStore store(&executor);
  server::Engine engine(&store, &executor, &executor, &random, server::Engine::Options());
  ttlv::Buffer bytes;
  bytes.Append({data, size});
  int answers = 0;
  const auto send = [&](ttlv::Buffer request) {
    engine.Handle(std::move(request), server::Caller{"client"}, [&](ttlv::Buffer answer) {
      ++answers;
      const auto message = ttlv::Parse(answer.span(), ttlv::Limits{64 << 20, 16, 1 << 20});
      KS_CHECK(message.ok());
      KS_CHECK(messages::ReadResponse(*message).ok());
    });
    executor.RunUntilIdle();
  };
  send(CreateRequest());
  send(std::move(bytes));
  KS_CHECK(answers == 2);
}

}  // namespace keysphere::kmip::fuzz
