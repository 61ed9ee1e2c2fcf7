#ifndef KEYSPHERE_COMMON_RPC_TESTING_FIXTURE_H_
#define KEYSPHERE_COMMON_RPC_TESTING_FIXTURE_H_

#include <memory>
#include <string>
#include <vector>

#include "common/clock/system_clock.h"
#include "common/identity/authority.h"
#include "common/rpc/authorizer.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "common/rpc/stream_handler.h"
#include "common/rpc/testing/rpc_testing.grpc.pb.h"
#include "common/rpc/unary_handler.h"
#include "common/sync/mutex.h"

namespace keysphere::rpc::testing {

inline constexpr char kDomain[] = "lab.example";

// The machine's time; lives as long as the program, since gRPC may use it after a test.
clock::Clock* RealClock();

// The cluster's authority, and certificates that serve on the machine's time.
const identity::Authority& Authority();
identity::Credentials Issue(identity::Kind kind, const std::string& name,
                            const identity::Authority& authority = Authority());
identity::Identity Host(const std::string& name);

// What an echo domain does; answers what the call says about its caller.
class EchoDomain {
 public:
  void Echo(const CallInfo& call, const EchoRequest& request, Done<EchoResponse> done);
  void Count(const CallInfo& call, const CountRequest& request, StreamWriter<CountResponse> writer);

  // Waits until `calls` are held (EchoRequest.hold), since the beginning.
  void WaitUntilHeld(int calls);
  // Answers what is held.
  void Release();
  int calls();
  int streams_gone();
  void WaitUntilStreamsGone(int streams);
  // What WhenSent told of the streams that stay (CountRequest.stay), once it told `streams` times.
  std::vector<bool> WaitUntilSentIsTold(size_t streams);

 private:
  sync::Mutex mutex_;
  sync::CondVar changed_;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  int held_ ABSL_GUARDED_BY(mutex_) = 0;
  int streams_gone_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<bool> sent_ ABSL_GUARDED_BY(mutex_);
  std::vector<Done<EchoResponse>> waiting_ ABSL_GUARDED_BY(mutex_);
  std::vector<StreamWriter<CountResponse>> streams_ ABSL_GUARDED_BY(mutex_);
};

class EchoApi : public EchoService::CallbackService {
 public:
  EchoApi(Gate* gate, EchoDomain* domain, size_t queue_limit)
      : gate_(gate), domain_(domain), queue_limit_(queue_limit) {}

  grpc::ServerUnaryReactor* Echo(grpc::CallbackServerContext* context, const EchoRequest* request,
                                 EchoResponse* response) override {
    return HandleUnary(gate_, KS_RPC_METHOD(EchoService), context, request, response, domain_,
                       &EchoDomain::Echo);
  }
  grpc::ServerUnaryReactor* Guarded(grpc::CallbackServerContext* context,
                                    const EchoRequest* request, EchoResponse* response) override {
    return HandleUnary(gate_, KS_RPC_METHOD(EchoService), context, request, response, domain_,
                       &EchoDomain::Echo);
  }
  grpc::ServerUnaryReactor* Forgotten(grpc::CallbackServerContext* context,
                                      const EchoRequest* request, EchoResponse* response) override {
    return HandleUnary(gate_, KS_RPC_METHOD(EchoService), context, request, response, domain_,
                       &EchoDomain::Echo);
  }
  grpc::ServerWriteReactor<CountResponse>* Count(grpc::CallbackServerContext* context,
                                                 const CountRequest* request) override {
    StreamOptions options;
    options.queue_limit = queue_limit_;
    return HandleStream<CountResponse>(
        gate_, KS_RPC_METHOD(EchoService), context, request,
        [this](const CallInfo& call, const CountRequest& body, StreamWriter<CountResponse> writer) {
          domain_->Count(call, body, std::move(writer));
        },
        options);
  }

 private:
  Gate* const gate_;
  EchoDomain* const domain_;
  const size_t queue_limit_;
};

// A server of EchoService as the host `name`.
struct ServerSetup {
  std::string name = "esx-1";
  std::string address = "127.0.0.1:0";
  clock::Clock* clock = RealClock();
  const identity::Authority* authority = nullptr;  // null: Authority()
  size_t queue_limit = 1000;
  StreamCounters* stream_counters = nullptr;
};
class TestServer {
 public:
  explicit TestServer(const ServerSetup& setup = {});
  ~TestServer();

  Server& server() { return *server_; }
  EchoDomain& domain() { return domain_; }
  std::string target() const { return "ipv4:" + server_->address(); }
  // A client's options for it: the user "alice", who means this server.
  ChannelOptions Options(const std::string& user = "alice") const;

 private:
  const ServerSetup setup_;
  RuleTable rules_;
  EchoDomain domain_;
  std::unique_ptr<Gate> gate_;
  std::unique_ptr<EchoApi> api_;
  std::unique_ptr<Server> server_;
};

using EchoStub = class EchoService::Stub::async;
using EchoClient = Client<EchoService>;
// A client on a new channel; aborts when the channel is refused.
EchoClient NewClient(ChannelOptions options);
EchoRequest Text(const std::string& text);

}  // namespace keysphere::rpc::testing

#endif  // KEYSPHERE_COMMON_RPC_TESTING_FIXTURE_H_
