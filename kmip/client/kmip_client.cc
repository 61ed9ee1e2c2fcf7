#include "kmip/client/kmip_client.h"

#include <algorithm>
#include <utility>

#include "common/status/status.h"
#include "kmip/client/exchange.h"
#include "kmip/client/pool.h"

namespace keysphere::kmip::client {
namespace {

using messages::Operation;
using messages::Response;
using ttlv::Tag;
using ttlv::Writer;
using Deliver = absl::AnyInvocable<void()>;

// What was asked in several requests, gathered. On the loop.
template <typename T>
struct Gathered {
  std::vector<absl::StatusOr<T>> results;
  size_t missing = 0;  // requests
  absl::Status error;
  executor::Executor* executor;
  status::Callback<std::vector<absl::StatusOr<T>>> done;

  void OnRequestEnded() {
    if (--missing > 0) return;
    executor->Post([done = std::move(done), results = std::move(results), error = error]() mutable {
      if (!error.ok()) return done(error);
      done(std::move(results));
    });
  }
};

absl::Status NotAsked() { return status::Error(v1::REASON_INTERNAL, "not asked"); }

// A call whose one item gives a T.
template <typename T>
std::unique_ptr<Call> NewCall(executor::Executor* executor, absl::Duration timeout,
                              absl::AnyInvocable<absl::StatusOr<T>(const Response&)> read,
                              status::Callback<T> done) {
  auto call = std::make_unique<Call>();
  call->timeout = timeout;
  auto shared = std::make_shared<status::Callback<T>>(std::move(done));
  call->answered = [executor, read = std::move(read), shared](
                       const Response& response, const std::vector<Version>&) mutable -> Deliver {
    return [executor, shared, result = read(response)]() mutable {
      executor->Post(
          [shared, result = std::move(result)]() mutable { (*shared)(std::move(result)); });
    };
  };
  call->failed = [executor, shared](const absl::Status& why) {
    executor->Post([shared, why] { (*shared)(why); });
  };
  return call;
}

struct Nothing {};

status::Callback<Nothing> WithoutValue(status::DoneCallback done) {
  return
      [done = std::move(done)](absl::StatusOr<Nothing> result) mutable { done(result.status()); };
}

// One item for each of `uids`, in as many requests as are needed.
template <typename T>
void AskForEach(Pool* pool, Operation operation, std::vector<std::string> uids,
                absl::Duration timeout,
                absl::StatusOr<T> (*read)(const messages::ResponseItem&, absl::string_view),
                void (*write)(Writer*), status::Callback<std::vector<absl::StatusOr<T>>> done) {
  auto gathered = std::make_shared<Gathered<T>>();
  const auto all = std::make_shared<const std::vector<std::string>>(std::move(uids));
  gathered->executor = pool->executor();
  gathered->done = std::move(done);
  for (size_t i = 0; i < all->size(); ++i) gathered->results.emplace_back(NotAsked());
  const size_t most = static_cast<size_t>(std::max(pool->options().keys_per_request, 1));
  gathered->missing = (all->size() + most - 1) / most;
  if (all->empty()) {
    gathered->missing = 1;
    return gathered->OnRequestEnded();
  }
  std::vector<std::unique_ptr<Call>> calls;
  for (size_t begin = 0; begin < all->size(); begin += most) {
    const size_t count = std::min(most, all->size() - begin);
    auto call = std::make_unique<Call>();
    call->timeout = timeout;
    call->may_repeat = true;
    call->exchange = Exchange(operation, pool->credential(), count, [&](size_t i, Writer* writer) {
      messages::WriteUid((*all)[begin + i], writer);
      write(writer);
    });
    call->answered = [=](const Response& response, const std::vector<Version>&) -> Deliver {
      for (size_t i = 0; i < count; ++i) {
        gathered->results[begin + i] = read(response.items[i], (*all)[begin + i]);
      }
      return [gathered] { gathered->OnRequestEnded(); };
    };
    call->failed = [gathered](const absl::Status& why) {
      if (gathered->error.ok()) gathered->error = why;
      gathered->OnRequestEnded();
    };
    calls.push_back(std::move(call));
  }
  for (auto& call : calls) pool->Submit(std::move(call));
}

}  // namespace

absl::StatusOr<std::unique_ptr<KmipClient>> KmipClient::Create(KmipClientOptions options,
                                                               net::Loop* loop,
                                                               executor::Executor* executor,
                                                               clock::Clock* clock) {
  const net::TlsFiles files{options.certificate_pem, options.key_pem.view(), options.trusted_pem};
  KS_ASSIGN_OR_RETURN(net::SslCtxPtr tls, net::NewClientContext(files));
  net::CertificateFacts own;
  own.not_after = absl::InfiniteFuture();
  if (!options.certificate_pem.empty()) {
    KS_ASSIGN_OR_RETURN(own, net::ReadFacts(options.certificate_pem));
  }
  auto pool = std::make_shared<Pool>(std::move(options), std::move(tls), std::move(own), loop,
                                     executor, clock);
  return std::unique_ptr<KmipClient>(new KmipClient(std::move(pool)));
}

KmipClient::~KmipClient() { pool_->Close(); }

void KmipClient::CheckHealth(absl::Duration timeout, status::Callback<Health> done) {
  auto call = std::make_unique<Call>();
  call->timeout = timeout;
  call->may_repeat = true;
  call->needs_exchange = false;
  call->exchange = Exchange(Operation::kQuery, pool_->credential(), 1, [](size_t, Writer* writer) {
    writer->Enumeration(Tag::kQueryFunction, messages::QueryFunction::kServerInformation);
  });
  executor::Executor* const executor = pool_->executor();
  auto shared = std::make_shared<status::Callback<Health>>(std::move(done));
  call->answered = [executor, shared](const Response& response,
                                      const std::vector<Version>& versions) -> Deliver {
    absl::StatusOr<Health> health = Health{versions};
    if (!response.items.empty()) {
      const absl::Status status = StatusOf(response.items[0], Operation::kQuery);
      if (!status.ok()) health = status;
    }
    return [executor, shared, health] { executor->Post([shared, health] { (*shared)(health); }); };
  };
  call->failed = [executor, shared](const absl::Status& why) {
    executor->Post([shared, why] { (*shared)(why); });
  };
  pool_->Submit(std::move(call));
}

void KmipClient::CreateKey(absl::Duration timeout, status::Callback<std::string> done) {
  auto call = NewCall<std::string>(
      pool_->executor(), timeout,
      [](const Response& response) { return CreatedUid(response.items[0]); }, std::move(done));
  call->exchange = Exchange(Operation::kCreate, pool_->credential(), 1,
                            [](size_t, Writer* writer) { messages::WriteCreateAes256(writer); });
  pool_->Submit(std::move(call));
}

void KmipClient::AddAttributes(std::string uid, std::vector<TextAttribute> attributes,
                               absl::Duration timeout, status::DoneCallback done) {
  if (attributes.empty()) {
    return pool_->executor()->Post([done = std::move(done)]() mutable { done(absl::OkStatus()); });
  }
  const auto read = [uid](const Response& response) -> absl::StatusOr<Nothing> {
    for (const messages::ResponseItem& item : response.items) {
      KS_RETURN_IF_ERROR(StatusOf(item, Operation::kAddAttribute));
      KS_RETURN_IF_ERROR(CheckUid(item, uid));
    }
    return Nothing();
  };
  auto call = NewCall<Nothing>(pool_->executor(), timeout, read, WithoutValue(std::move(done)));
  call->exchange =
      Exchange(Operation::kAddAttribute, pool_->credential(), attributes.size(),
               [&](size_t i, Writer* writer) {
                 messages::WriteUid(uid, writer);
                 messages::WriteTextAttribute(attributes[i].name, attributes[i].value, writer);
               });
  pool_->Submit(std::move(call));
}

void KmipClient::GetKeys(std::vector<std::string> uids, absl::Duration timeout,
                         status::Callback<Keys> done) {
  AskForEach<crypto::SecretKey>(
      pool_.get(), Operation::kGet, std::move(uids), timeout, &KeyOf, [](Writer*) {},
      std::move(done));
}

void KmipClient::Activate(std::string uid, absl::Duration timeout, status::DoneCallback done) {
  const auto read = [uid](const Response& response) -> absl::StatusOr<Nothing> {
    KS_RETURN_IF_ERROR(StatusOf(response.items[0], Operation::kActivate));
    KS_RETURN_IF_ERROR(CheckUid(response.items[0], uid));
    return Nothing();
  };
  auto call = NewCall<Nothing>(pool_->executor(), timeout, read, WithoutValue(std::move(done)));
  call->exchange = Exchange(Operation::kActivate, pool_->credential(), 1,
                            [&](size_t, Writer* writer) { messages::WriteUid(uid, writer); });
  pool_->Submit(std::move(call));
}

void KmipClient::GetStates(std::vector<std::string> uids, absl::Duration timeout,
                           status::Callback<States> done) {
  AskForEach<KeyState>(
      pool_.get(), Operation::kGetAttributes, std::move(uids), timeout, &StateOf,
      [](Writer* writer) { writer->Text(Tag::kAttributeName, "State"); }, std::move(done));
}

absl::optional<ServerCertificate> KmipClient::LastCertificate() {
  return pool_->last_certificate();
}

int KmipClient::handshakes() { return pool_->handshakes(); }

}  // namespace keysphere::kmip::client
