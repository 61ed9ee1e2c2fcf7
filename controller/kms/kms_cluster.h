#ifndef KEYSPHERE_CONTROLLER_KMS_KMS_CLUSTER_H_
#define KEYSPHERE_CONTROLLER_KMS_KMS_CLUSTER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/executor/executor.h"
#include "common/status/callback.h"
#include "controller/kms/key_server_factory.h"
#include "keysphere/v1/errors.pb.h"
#include "keysphere/v1/key_providers.pb.h"
#include "kmip/client/key_server.h"

namespace keysphere::controller::kms {

// A key as the KMS gave it.
struct FetchedKey {
  SharedKey key;
  std::string check_value;  // 8 bytes
  int64_t instance = 0;     // of the provider whose KMS it was
};

// The servers of one standard provider as one: used in turn, a dead one passed over (S60). A server
// that failed is tried last, until a check or an answer finds it well. Lives on the controller's
// strand; answers run there too. Kept alive by its calls under way.
//
// An operation ends within kOperationTimeout. Where no server can be used it ends with
// KMS_UNREACHABLE, whose message has a sentence for each.
class KmsCluster : public std::enable_shared_from_this<KmsCluster> {
 public:
  static constexpr absl::Duration kOperationTimeout = absl::Seconds(30);
  // Before the next server is tried; the last one has what is left.
  static constexpr absl::Duration kNodeTimeout = absl::Seconds(10);
  // Keys in one request, and requests at a time for each server.
  static constexpr size_t kBatch = 64;
  static constexpr size_t kBatchesPerNode = 2;

  struct Deps {
    executor::Strand* strand;
    clock::Clock* clock;
    KeyServerFactory* factory;
    std::string version;  // of this vCenter, for the keys' attributes
  };
  // `instance`: another one where the provider's servers are others (S152). `unanswered_creates`:
  // of the former cluster of the provider.
  KmsCluster(Deps deps, KmsConfig config, int64_t instance, int64_t unanswered_creates = 0);

  // Ends the ways to the servers: calls under way end, and all later ones with KMS_UNREACHABLE.
  void Close();

  const std::string& provider() const { return config_.provider; }
  const KmsConfig& config() const { return config_; }
  int64_t instance() const { return instance_; }

  // False while, when last asked, no server could be used. True at first.
  bool reachable() const { return reachable_; }
  // Whether the KMS, when last asked for the key, did not have it.
  bool Lacks(const std::string& id) const { return lacks_.count(id) != 0; }

  // Keys that may have been made although no answer came. Of this vCenter's process.
  int64_t unanswered_creates() const { return unanswered_creates_; }
  // Makes a key with vSphere's attributes (S129); pre-active. An ambiguous failure is counted and
  // the next server makes another one.
  void Create(status::Callback<std::string> done);
  // Keys by id, in their order: KEY_MISSING_ON_KMS where the KMS answers and lacks it. Requests of
  // all callers go in common batches, and a key under way is asked once.
  using Fetched = std::vector<absl::StatusOr<FetchedKey>>;
  void Fetch(const std::vector<std::string>& ids, absl::AnyInvocable<void(Fetched)> done);
  // The key is used from now on. OK where it is active already.
  void Activate(const std::string& id, status::DoneCallback done);
  // In their order; KEY_MISSING_ON_KMS.
  using States = kmip::client::KeyServer::States;
  void GetStates(std::vector<std::string> ids, status::Callback<States> done);

  // Asks every server whether it is well, at once; `done` when all have answered or not.
  void Check(absl::Duration certificate_warning, std::function<void()> done);
  // As the last check and what came since found it.
  v1::KmsStatus status() const;
  std::string status_reason() const;
  std::vector<v1::KmsServerStatus> ServerStatuses() const;
  // Servers whose certificate ends soon, as the last check found: name and end (S94).
  std::vector<std::pair<std::string, absl::Time>> ExpiringServers() const;
  // The certificate that the server presents now. NOT_FOUND: no such server. KMS_UNREACHABLE.
  struct Presented {
    kmip::client::ServerCertificate certificate;
    bool trusted = false;  // by this provider, as it is now
  };
  void PresentedCertificate(const std::string& server, status::Callback<Presented> done);
  // InfiniteFuture where there is none.
  absl::Time client_certificate_end() const { return client_certificate_end_; }
  bool client_certificate_ends_soon() const { return client_certificate_ends_soon_; }

 private:
  using KeyServer = kmip::client::KeyServer;
  struct Node {
    v1::KmsServer server;
    std::unique_ptr<KeyServer> link;  // nullptr: `failure` says why
    absl::Status failure;             // OK: well, or not asked yet
    bool asked = false;
    absl::Time check_time = absl::InfinitePast();
    std::vector<std::string> versions;
    absl::Time certificate_end = absl::InfiniteFuture();
    bool certificate_ends_soon = false;
  };
  static constexpr size_t kAny = static_cast<size_t>(-1);

  // One operation on its way through the servers.
  template <typename T>
  struct Attempt;
  template <typename T>
  void Try(std::shared_ptr<Attempt<T>> attempt);
  template <typename T>
  void Ask(size_t prefer, std::function<void(KeyServer*, absl::Duration, status::Callback<T>)> call,
           std::function<void(const absl::Status&)> on_failure,
           absl::AnyInvocable<void(absl::StatusOr<T>, size_t node)> done);

  struct PendingFetch {
    std::string id;
    size_t prefer;
  };
  void PumpFetches();
  void EndFetch(const std::string& id, const absl::StatusOr<FetchedKey>& result);
  absl::StatusOr<FetchedKey> Accept(const std::string& id,
                                    absl::StatusOr<crypto::SecretKey> answer);
  // Whether a key that the KMS will not give is destroyed, and so there in name only.
  void JudgeRefused(std::vector<std::string> ids, std::vector<absl::Status> refusals);

  std::vector<size_t> Order(size_t prefer);
  void NoteAnswer(size_t node, const absl::Status& status);
  absl::Status Unreachable(const std::vector<std::string>& failures,
                           const std::vector<v1::Reason>& reasons) const;
  absl::Status NoSuchKey(const std::string& id) const;
  size_t Count(bool well) const;
  void CheckNode(size_t index, absl::Duration certificate_warning, std::function<void()> done);
  void TakeCertificate(Node* node, absl::Duration certificate_warning);
  std::vector<kmip::client::TextAttribute> Attributes() const;

  const Deps deps_;
  const KmsConfig config_;
  const int64_t instance_;
  std::vector<Node> nodes_;
  size_t next_ = 0;  // whose turn it is
  bool reachable_ = true;
  std::set<std::string> lacks_;
  // Where keys that were just made are read: a KMS may take its time to tell its other servers.
  std::map<std::string, size_t> made_by_;
  std::deque<PendingFetch> fetches_;
  size_t batches_ = 0;
  using FetchWaiter = std::function<void(const absl::StatusOr<FetchedKey>&)>;
  std::map<std::string, std::vector<FetchWaiter>> fetch_waiters_;
  int64_t unanswered_creates_;
  absl::Time client_certificate_end_ = absl::InfiniteFuture();
  bool client_certificate_ends_soon_ = false;
};

}  // namespace keysphere::controller::kms

#endif  // KEYSPHERE_CONTROLLER_KMS_KMS_CLUSTER_H_
