#include "common/rpc/testing/fixture.h"

#include <utility>

#include "common/status/status.h"

namespace keysphere::rpc::testing {

clock::Clock* RealClock() {
  static auto* const clock = new clock::SystemClock();
  return clock;
}

const identity::Authority& Authority() {
  static const auto* const authority =
      identity::Authority::Create(kDomain, identity::Validity::From(RealClock()->Now()))
          .value()
          .release();
  return *authority;
}

identity::Credentials Issue(identity::Kind kind, const std::string& name,
                            const identity::Authority& authority) {
  identity::Authority::Request request;
  request.kind = kind;
  request.name = name;
  request.validity = identity::Validity::From(RealClock()->Now());
  return authority.Issue(request).value();
}

identity::Identity Host(const std::string& name) {
  return identity::Identity{kDomain, identity::Kind::kHost, name};
}

void EchoDomain::Echo(const CallInfo& call, const EchoRequest& request, Done<EchoResponse> done) {
  {
    sync::MutexLock lock(&mutex_);
    ++calls_;
    if (request.hold()) {
      ++held_;
      waiting_.push_back(std::move(done));
      changed_.SignalAll();
      return;
    }
  }
  if (request.fail()) {
    done(status::Error(v1::REASON_KEY_MISSING_ON_HOST, "the key is not here")
             .Object("vm", "web-1")
             .NextStep("Remediate the host.")
             .Other(v1::REASON_KMS_UNREACHABLE)
             .With("provider", "nkp-a"));
    return;
  }
  EchoResponse response;
  response.set_text(request.text());
  response.set_caller(call.caller.ToUri());
  response.set_authority(call.authority);
  if (call.deadline.has_value()) response.set_deadline_us(absl::ToUnixMicros(*call.deadline));
  done(std::move(response));
}

void EchoDomain::Count(const CallInfo& /*call*/, const CountRequest& request,
                       StreamWriter<CountResponse> writer) {
  writer.OnGone([this] {
    sync::MutexLock lock(&mutex_);
    ++streams_gone_;
    changed_.SignalAll();
  });
  for (int i = 1; i <= request.messages(); ++i) {
    CountResponse message;
    message.set_number(i);
    message.set_padding(std::string(request.message_bytes(), 'x'));
    if (!writer.Write(std::move(message))) break;
  }
  if (!request.stay()) writer.Finish(absl::OkStatus());
  if (request.stay()) {
    writer.WhenSent([this](bool sent) {
      sync::MutexLock lock(&mutex_);
      sent_.push_back(sent);
      changed_.SignalAll();
    });
  }
  sync::MutexLock lock(&mutex_);
  streams_.push_back(std::move(writer));
}

void EchoDomain::WaitUntilHeld(int calls) {
  sync::MutexLock lock(&mutex_);
  while (held_ < calls) changed_.Wait(&mutex_);
}

void EchoDomain::Release() {
  std::vector<Done<EchoResponse>> waiting;
  {
    sync::MutexLock lock(&mutex_);
    waiting.swap(waiting_);
  }
  for (Done<EchoResponse>& done : waiting) done(EchoResponse());
}

int EchoDomain::calls() {
  sync::MutexLock lock(&mutex_);
  return calls_;
}

int EchoDomain::streams_gone() {
  sync::MutexLock lock(&mutex_);
  return streams_gone_;
}

void EchoDomain::WaitUntilStreamsGone(int streams) {
  sync::MutexLock lock(&mutex_);
  while (streams_gone_ < streams) changed_.Wait(&mutex_);
}

std::vector<bool> EchoDomain::WaitUntilSentIsTold(size_t streams) {
  sync::MutexLock lock(&mutex_);
  while (sent_.size() < streams) changed_.Wait(&mutex_);
  return sent_;
}

TestServer::TestServer(const ServerSetup& setup) : setup_(setup) {
  rules_.Add("/keysphere.rpc.testing.EchoService/Echo", RuleTable::Anyone())
      .Add("/keysphere.rpc.testing.EchoService/Guarded",
           RuleTable::OnlyKinds({identity::Kind::kController}))
      .Add("/keysphere.rpc.testing.EchoService/Count", RuleTable::Anyone());
  Gate::Options gate;
  gate.clock = setup.clock;
  gate.authorizer = &rules_;
  gate.stream_counters = setup.stream_counters;
  gate_ = std::make_unique<Gate>(gate);
  api_ = std::make_unique<EchoApi>(gate_.get(), &domain_, setup.queue_limit);
  ServerOptions options;
  options.address = setup.address;
  options.credentials = Issue(identity::Kind::kHost, setup.name,
                              setup.authority == nullptr ? Authority() : *setup.authority);
  options.services = {Serving<EchoService>(api_.get())};
  options.gate = gate_.get();
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Create(std::move(options));
  KS_CHECK(server.ok());
  server_ = *std::move(server);
}

TestServer::~TestServer() {
  domain_.Release();
  server_.reset();
}

ChannelOptions TestServer::Options(const std::string& user) const {
  ChannelOptions options;
  options.target = target();
  options.peer = Host(setup_.name);
  options.credentials = Issue(identity::Kind::kUser, user);
  options.clock = setup_.clock;
  return options;
}

EchoClient NewClient(ChannelOptions options) {
  absl::StatusOr<std::shared_ptr<Channel>> channel = Channel::Create(std::move(options));
  KS_CHECK(channel.ok());
  return EchoClient(*channel);
}

EchoRequest Text(const std::string& text) {
  EchoRequest request;
  request.set_text(text);
  return request;
}

}  // namespace keysphere::rpc::testing
