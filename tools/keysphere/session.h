#ifndef KEYSPHERE_TOOLS_KEYSPHERE_SESSION_H_
#define KEYSPHERE_TOOLS_KEYSPHERE_SESSION_H_

#include <deque>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/rpc/client.h"
#include "common/status/status.h"
#include "common/sync/mutex.h"
#include "keysphere/sim/v1/simulator.pb.h"
#include "tools/keysphere/output.h"

namespace keysphere::cli {

// What a command finds around itself.
struct Environment {
  std::ostream* out = nullptr;
  std::ostream* err = nullptr;
  // Empty for a variable that is not set.
  std::function<std::string(const std::string&)> variable;
  // stderr is a terminal: progress may be drawn there.
  bool terminal = false;
};

// Options that every command takes.
struct GlobalOptions {
  std::string output = "table";
  std::string server;     // a controller's name, or IP:PORT
  std::string dir;        // of the cluster
  std::string user;       // whose certificate of DIR/pki
  std::string authority;  // instead of the controller's DNS name
  // For servers outside a simulated cluster.
  std::string peer;
  std::string ca;
  std::string certificate;
  std::string key;
};

// Calls to the CLI's peers end after that unless the command says otherwise.
inline constexpr absl::Duration kCallTimeout = absl::Seconds(60);

// Where a user's certificate and key lie in a cluster's folder, without ".crt" and ".key".
std::string UserStem(const std::string& dir, const std::string& user);

// One run of the program: what it is to talk to, and how it answers.
class Session {
 public:
  using ChannelPtr = std::shared_ptr<rpc::Channel>;

  // Both outlive it.
  Session(const Environment* environment, const GlobalOptions* globals);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const Environment& environment() const { return *environment_; }
  const GlobalOptions& globals() const { return *globals_; }
  std::ostream& out() const { return *environment_->out; }
  std::ostream& err() const { return *environment_->err; }
  // A line of text, to out() or err(). What others chose in it, such as a name, cannot play with
  // the terminal: it is escaped as in a table.
  template <typename... Parts>
  void Say(const Parts&... parts) const {
    PrintLine(absl::StrCat(parts...), out());
  }
  template <typename... Parts>
  void Warn(const Parts&... parts) const {
    PrintLine(absl::StrCat(parts...), err());
  }
  bool json() const { return globals_->output == "json"; }
  absl::Time Now();

  // The folder of the cluster meant: --dir, KEYSPHERE_DIR, or the newest that runs. NOT_FOUND.
  absl::StatusOr<std::string> ClusterDir();
  // Its cluster.json, read once. NOT_FOUND: none runs; INVALID_ARGUMENT: it cannot be understood.
  // A usage error with --peer, which means a server outside of every cluster: what is done to a
  // cluster would hit another than the user means.
  absl::StatusOr<const sim::v1::SimulatedCluster*> Cluster();
  // The usage error of Cluster(), for commands that begin without one.
  absl::Status RefusePeer() const;
  // A process of it. NOT_FOUND.
  absl::StatusOr<const sim::v1::SimulatedProcess*> Process(const std::string& name);

  // The controller of --server; default: the cluster's first.
  absl::StatusOr<ChannelPtr> Controller();
  absl::StatusOr<ChannelPtr> ControllerNamed(const std::string& name);
  absl::StatusOr<ChannelPtr> Host(const std::string& name);
  absl::StatusOr<ChannelPtr> Simulator();
  // Where the faults of a KMS node are. INVALID_ARGUMENT: the process is none.
  absl::StatusOr<ChannelPtr> KmsControl(const std::string& name);

  // Asks the controller of --server:
  //   session->Ask<v1::Hosts>(&v1::Hosts::Stub::async::GetHost, request)
  template <typename Service, typename Request, typename Response>
  absl::StatusOr<Response> Ask(
      rpc::internal::UnaryMethod<typename rpc::Client<Service>::Async, Request, Response> method,
      rpc::internal::NonDeduced<Request> request, absl::Duration timeout = kCallTimeout) {
    KS_ASSIGN_OR_RETURN(const ChannelPtr channel, Controller());
    return AskAt<Service>(channel, method, std::move(request), timeout);
  }

  template <typename Service, typename Request, typename Response>
  absl::StatusOr<Response> AskAt(
      const ChannelPtr& channel,
      rpc::internal::UnaryMethod<typename rpc::Client<Service>::Async, Request, Response> method,
      rpc::internal::NonDeduced<Request> request, absl::Duration timeout = kCallTimeout) {
    rpc::CallOptions options;
    options.timeout = timeout;
    options.wait_for_ready = false;  // a user wants to hear at once that nobody is there
    return rpc::Client<Service>(channel).CallSync(method, std::move(request), options);
  }

  // Reads a stream on this thread until it ends or `on_message` says false.
  template <typename Service, typename Request, typename Message>
  absl::Status ReadStream(
      const ChannelPtr& channel,
      rpc::internal::StreamMethod<typename rpc::Client<Service>::Async, Request, Message> method,
      rpc::internal::NonDeduced<Request> request,
      rpc::internal::NonDeduced<std::function<bool(const Message&)>> on_message) {
    auto queue = std::make_shared<StreamQueue<Message>>();
    rpc::CallOptions options;
    options.timeout = kCallTimeout;
    options.wait_for_ready = false;
    rpc::Subscription subscription = rpc::Client<Service>(channel).Watch(
        method, std::move(request), options,
        [queue](Message message) { queue->Push(std::move(message)); },
        [queue](const absl::Status& status) { queue->End(status); });
    while (absl::optional<Message> message = queue->Next()) {
      if (!on_message(*message)) return absl::OkStatus();
    }
    return queue->status();
  }

  // The answer as JSON (-o json), or what `table` prints.
  template <typename Message, typename Printer>
  absl::Status Show(const Message& message, Printer table) {
    if (!json()) {
      table(message);
      return absl::OkStatus();
    }
    return PrintJson(message);
  }
  absl::Status PrintJson(const google::protobuf::Message& message);

 private:
  template <typename Message>
  class StreamQueue {
   public:
    void Push(Message message) {
      sync::MutexLock lock(&mutex_);
      messages_.push_back(std::move(message));
      changed_.Signal();
    }
    void End(const absl::Status& status) {
      sync::MutexLock lock(&mutex_);
      status_ = status;
      ended_ = true;
      changed_.Signal();
    }
    absl::optional<Message> Next() {
      sync::MutexLock lock(&mutex_);
      while (messages_.empty() && !ended_) changed_.Wait(&mutex_);
      if (messages_.empty()) return absl::nullopt;
      Message message = std::move(messages_.front());
      messages_.pop_front();
      return message;
    }
    absl::Status status() {
      sync::MutexLock lock(&mutex_);
      return status_;
    }

   private:
    sync::Mutex mutex_;
    sync::CondVar changed_;
    std::deque<Message> messages_ ABSL_GUARDED_BY(mutex_);
    bool ended_ ABSL_GUARDED_BY(mutex_) = false;
    absl::Status status_ ABSL_GUARDED_BY(mutex_);
  };

  struct Peer {
    std::string address;
    std::string spiffe_id;
    std::string authority;
    v1::Reason unreachable = v1::REASON_UNREACHABLE;
  };
  absl::StatusOr<ChannelPtr> Dial(const Peer& peer);
  clock::Clock* clock();
  absl::StatusOr<const sim::v1::SimulatedCluster*> ReadCluster();
  absl::StatusOr<identity::CredentialFiles> CredentialFiles();
  absl::StatusOr<Peer> ServerPeer();
  static Peer PeerOf(const sim::v1::SimulatedProcess& process);

  const Environment* const environment_;
  const GlobalOptions* const globals_;
  clock::Clock* clock_ = nullptr;  // made when first asked
  absl::optional<sim::v1::SimulatedCluster> cluster_;
};

}  // namespace keysphere::cli

#endif  // KEYSPHERE_TOOLS_KEYSPHERE_SESSION_H_
