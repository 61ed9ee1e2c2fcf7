// Messages a second of a Create exchange, written and read, on one core.
#include <benchmark/benchmark.h>

#include "common/status/status.h"
#include "kmip/messages/message.h"
#include "kmip/messages/payloads.h"

namespace keysphere::kmip::messages {
namespace {

using ttlv::Tag;
using ttlv::Writer;

void WriteRequest(ttlv::Buffer* buffer) {
  Writer writer(buffer);
  const Writer::Structure message = writer.Begin(Tag::kRequestMessage);
  WriteRequestHeader(kVersion11, absl::nullopt, ErrorContinuation::kStop, 1, &writer);
  const Writer::Structure item = writer.Begin(Tag::kBatchItem);
  writer.Enumeration(Tag::kOperation, Operation::kCreate);
  const Writer::Structure payload = writer.Begin(Tag::kRequestPayload);
  WriteCreateAes256(&writer);
}

void WriteResponse(ttlv::Buffer* buffer) {
  Writer writer(buffer);
  const Writer::Structure message = writer.Begin(Tag::kResponseMessage);
  WriteResponseHeader(kVersion11, 1'700'000'000, 1, &writer);
  const Writer::Structure item = writer.Begin(Tag::kBatchItem);
  writer.Enumeration(Tag::kOperation, Operation::kCreate);
  writer.Enumeration(Tag::kResultStatus, ResultStatus::kSuccess);
  const Writer::Structure payload = writer.Begin(Tag::kResponsePayload);
  writer.Enumeration(Tag::kObjectType, ObjectType::kSymmetricKey);
  WriteUid("49a1ca88-6bea-4fb2-b450-7e58802c3038", &writer);
}

// Writes and reads both messages of the exchange.
void BM_CreateExchange(benchmark::State& state) {
  ttlv::Buffer buffer;
  for (auto _ : state) {
    buffer.Clear();
    WriteRequest(&buffer);
    const auto request = ReadRequest(ttlv::Parse(buffer.span()).value());
    CreateRequest create;
    KS_CHECK(ReadCreate(request->items[0].payload, &create).ok());
    benchmark::DoNotOptimize(create.attributes.size());
    buffer.Clear();
    WriteResponse(&buffer);
    const auto response = ReadResponse(ttlv::Parse(buffer.span()).value());
    UidResponse uid;
    KS_CHECK(ReadUidResponse(*response->items[0].payload, &uid).ok());
    benchmark::DoNotOptimize(uid.uid.size());
  }
  state.SetItemsProcessed(2 * state.iterations());
}
BENCHMARK(BM_CreateExchange);

}  // namespace
}  // namespace keysphere::kmip::messages

BENCHMARK_MAIN();
