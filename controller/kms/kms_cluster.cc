#include "controller/kms/kms_cluster.h"

#include <algorithm>
#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/crypto/kdf.h"
#include "common/status/status.h"
#include "kmip/net/certificate.h"

namespace keysphere::controller::kms {
namespace {

constexpr size_t kRememberedMakers = 10'000;

bool Says(const absl::Status& status, const char* name, absl::string_view value) {
  const v1::ErrorDetail detail = status::DetailOf(status);
  const auto found = detail.metadata().find(name);
  return found != detail.metadata().end() && found->second == value;
}

// Certainly nothing was carried out: the request did not get so far.
bool IsUnsent(const absl::Status& status) { return Says(status, "sent", "false"); }

// The server says that it failed, not that it will not.
bool HasFailed(const absl::Status& status) { return Says(status, "server_failed", "true"); }

// The failure is this server's: another one may do it. Anything else is an answer of the KMS.
bool IsNodeFailure(const absl::Status& status) {
  switch (status::ReasonOf(status)) {
    case v1::REASON_KMS_UNREACHABLE:
    case v1::REASON_DEADLINE_EXCEEDED:
    case v1::REASON_CERT_UNTRUSTED:
    case v1::REASON_CERT_EXPIRED:
    case v1::REASON_KMS_VERSION_UNSUPPORTED:
    case v1::REASON_KMS_BAD_RESPONSE:
    case v1::REASON_UNREACHABLE:
    case v1::REASON_OVERLOADED:
    case v1::REASON_INTERNAL:
      return true;
    case v1::REASON_NO_PERMISSION:
      return IsUnsent(status);  // of our certificate, not of what was asked
    case v1::REASON_KMS_REFUSED:
      return HasFailed(status);
    default:
      return false;
  }
}

// An answer in which the server says of every item that it failed is its failure.
template <typename T>
absl::StatusOr<std::vector<absl::StatusOr<T>>> UnlessFailed(
    absl::StatusOr<std::vector<absl::StatusOr<T>>> items) {
  if (!items.ok() || items->empty()) return items;
  const bool failed = std::all_of(items->begin(), items->end(), [](const absl::StatusOr<T>& item) {
    return HasFailed(item.status());
  });
  if (failed) return items->front().status();
  return items;
}

// The server may have carried the request out.
bool IsAmbiguous(const absl::Status& status) {
  if (IsUnsent(status)) return false;
  const v1::Reason reason = status::ReasonOf(status);
  return reason == v1::REASON_KMS_UNREACHABLE || reason == v1::REASON_DEADLINE_EXCEEDED ||
         reason == v1::REASON_KMS_BAD_RESPONSE;
}

}  // namespace

template <typename T>
struct KmsCluster::Attempt {
  std::vector<size_t> order;
  size_t next = 0;
  absl::Time deadline;
  std::function<void(KeyServer*, absl::Duration, status::Callback<T>)> call;
  std::function<void(const absl::Status&)> on_failure;
  absl::AnyInvocable<void(absl::StatusOr<T>, size_t node)> done;
  std::vector<std::string> failures;
  std::vector<v1::Reason> reasons;
};

KmsCluster::KmsCluster(Deps deps, KmsConfig config, int64_t instance, int64_t unanswered_creates)
    : deps_(std::move(deps)),
      config_(std::move(config)),
      instance_(instance),
      unanswered_creates_(unanswered_creates) {
  for (const v1::KmsServer& server : config_.servers) {
    Node node;
    node.server = server;
    absl::StatusOr<std::unique_ptr<KeyServer>> link = deps_.factory->Connect(config_, server);
    if (link.ok()) {
      node.link = *std::move(link);
    } else {
      node.failure = link.status();
      node.asked = true;
    }
    nodes_.push_back(std::move(node));
  }
  if (!config_.client_certificate.empty()) {
    const absl::StatusOr<kmip::net::CertificateFacts> facts =
        kmip::net::ReadFacts(config_.client_certificate);
    if (facts.ok()) client_certificate_end_ = facts->not_after;
  }
}

void KmsCluster::Close() {
  for (Node& node : nodes_) {
    node.failure = status::Error(v1::REASON_SHUTTING_DOWN, "this vCenter stops");
    node.link.reset();
  }
}

// ---- One operation over the servers ----

std::vector<size_t> KmsCluster::Order(size_t prefer) {
  std::vector<size_t> well;
  std::vector<size_t> failed;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const size_t index = (next_ + i) % nodes_.size();
    if (nodes_[index].link == nullptr) continue;
    (nodes_[index].failure.ok() ? well : failed).push_back(index);
  }
  // What follows a request to its server takes nobody's turn.
  if (!well.empty() && prefer == kAny) next_ = (well.front() + 1) % nodes_.size();
  const auto preferred = std::find(well.begin(), well.end(), prefer);
  if (preferred != well.end()) std::rotate(well.begin(), preferred, preferred + 1);
  well.insert(well.end(), failed.begin(), failed.end());
  return well;
}

template <typename T>
void KmsCluster::Ask(size_t prefer,
                     std::function<void(KeyServer*, absl::Duration, status::Callback<T>)> call,
                     std::function<void(const absl::Status&)> on_failure,
                     absl::AnyInvocable<void(absl::StatusOr<T>, size_t node)> done) {
  auto attempt = std::make_shared<Attempt<T>>();
  attempt->order = Order(prefer);
  attempt->deadline = deps_.clock->Now() + kOperationTimeout;
  attempt->call = std::move(call);
  attempt->on_failure = std::move(on_failure);
  attempt->done = std::move(done);
  for (const Node& node : nodes_) {
    if (node.link != nullptr) continue;
    attempt->failures.push_back(absl::StrCat(node.server.name(), ": ", node.failure.message()));
    attempt->reasons.push_back(status::ReasonOf(node.failure));
  }
  Try(std::move(attempt));
}

template <typename T>
void KmsCluster::Try(std::shared_ptr<Attempt<T>> attempt) {
  const absl::Duration left = attempt->deadline - deps_.clock->Now();
  if (attempt->next == attempt->order.size() || left <= absl::ZeroDuration()) {
    reachable_ = false;
    return attempt->done(Unreachable(attempt->failures, attempt->reasons), kAny);
  }
  const size_t index = attempt->order[attempt->next++];
  const bool last = attempt->next == attempt->order.size();
  if (nodes_[index].link == nullptr) return Try(std::move(attempt));  // closed meanwhile
  attempt->call(nodes_[index].link.get(), last ? left : std::min(left, kNodeTimeout),
                [self = shared_from_this(), attempt, index](absl::StatusOr<T> answer) mutable {
                  executor::Strand* const strand = self->deps_.strand;
                  strand->Post([self = std::move(self), attempt, index,
                                answer = std::move(answer)]() mutable {
                    self->NoteAnswer(index, answer.status());
                    if (!IsNodeFailure(answer.status())) {
                      return attempt->done(std::move(answer), index);
                    }
                    if (attempt->on_failure) attempt->on_failure(answer.status());
                    attempt->failures.push_back(absl::StrCat(self->nodes_[index].server.name(),
                                                             ": ", answer.status().message()));
                    attempt->reasons.push_back(status::ReasonOf(answer.status()));
                    self->Try(std::move(attempt));
                  });
                });
}

void KmsCluster::NoteAnswer(size_t node, const absl::Status& status) {
  nodes_[node].asked = true;
  if (IsNodeFailure(status)) {
    nodes_[node].failure = status;
    return;
  }
  nodes_[node].failure = absl::OkStatus();
  reachable_ = true;
}

absl::Status KmsCluster::Unreachable(const std::vector<std::string>& failures,
                                     const std::vector<v1::Reason>& reasons) const {
  const auto all = [&reasons](std::initializer_list<v1::Reason> these) {
    return !reasons.empty() && std::all_of(reasons.begin(), reasons.end(), [&these](auto reason) {
      return std::find(these.begin(), these.end(), reason) != these.end();
    });
  };
  absl::string_view next_step = "Bring its key servers back, then try again.";
  if (all({v1::REASON_NO_PERMISSION})) {
    next_step =
        "Correct the client certificate, or the user and password, by which the KMS knows this "
        "vCenter.";
  } else if (all({v1::REASON_CERT_EXPIRED, v1::REASON_CERT_UNTRUSTED})) {
    next_step =
        "Give the key servers certificates that are valid, and make the provider trust who issued "
        "them.";
  }
  status::ErrorBuilder error =
      status::Error(v1::REASON_KMS_UNREACHABLE,
                    absl::StrCat("no server of key provider ", status::Quote(config_.provider),
                                 " can be used: ", absl::StrJoin(failures, "; ")))
          .Object("provider", config_.provider)
          .NextStep(next_step)
          .With("provider", config_.provider);
  for (const v1::Reason reason : std::set<v1::Reason>(reasons.begin(), reasons.end())) {
    if (reason != v1::REASON_KMS_UNREACHABLE) error.Other(reason);
  }
  return error;
}

absl::Status KmsCluster::NoSuchKey(const std::string& id) const {
  return status::Error(v1::REASON_KEY_MISSING_ON_KMS,
                       absl::StrCat("the key server of provider ", status::Quote(config_.provider),
                                    " does not have key ", status::Quote(id)))
      .Object("provider", config_.provider)
      .NextStep("Bring the key back to the key server.")
      .With("provider", config_.provider)
      .With("key_id", id);
}

// ---- Keys ----

std::vector<kmip::client::TextAttribute> KmsCluster::Attributes() const {
  return {{"x-Vendor", "VMware, Inc."},
          {"x-Product", "VMware vSphere"},
          {"x-Product_Version", deps_.version}};
}

void KmsCluster::Create(status::Callback<std::string> done) {
  Ask<std::string>(
      kAny,
      [](KeyServer* server, absl::Duration timeout, status::Callback<std::string> answer) {
        server->CreateKey(timeout, std::move(answer));
      },
      [this](const absl::Status& failure) {
        if (IsAmbiguous(failure)) ++unanswered_creates_;
      },
      [this, done = std::move(done)](absl::StatusOr<std::string> made, size_t node) mutable {
        if (!made.ok()) return done(made.status());
        const std::string id = *made;
        if (made_by_.size() >= kRememberedMakers) made_by_.clear();
        made_by_[id] = node;
        Ask<bool>(
            node,
            [id, attributes = Attributes()](KeyServer* server, absl::Duration timeout,
                                            status::Callback<bool> answer) {
              server->AddAttributes(id, attributes, timeout,
                                    [answer = std::move(answer)](absl::Status added) mutable {
                                      if (!added.ok()) return answer(added);
                                      answer(true);
                                    });
            },
            nullptr,
            [id, done = std::move(done)](const absl::StatusOr<bool>& added, size_t) mutable {
              // They only tell people whose key it is: a KMS need not take them.
              if (status::ReasonOf(added.status()) == v1::REASON_KMS_UNREACHABLE) {
                return done(added.status());
              }
              done(id);
            });
      });
}

void KmsCluster::Fetch(const std::vector<std::string>& ids,
                       absl::AnyInvocable<void(Fetched)> done) {
  struct Group {
    std::vector<absl::optional<absl::StatusOr<FetchedKey>>> results;
    size_t open;
    absl::AnyInvocable<void(Fetched)> done;
  };
  auto group = std::make_shared<Group>();
  group->results.resize(ids.size());
  group->open = ids.size();
  group->done = std::move(done);
  if (ids.empty()) return group->done({});
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::string& id = ids[i];
    std::vector<FetchWaiter>& waiters = fetch_waiters_[id];
    waiters.push_back([group, i](const absl::StatusOr<FetchedKey>& result) {
      group->results[i] = result;
      if (--group->open > 0) return;
      Fetched fetched;
      fetched.reserve(group->results.size());
      for (auto& one : group->results) fetched.push_back(*std::move(one));
      group->done(std::move(fetched));
    });
    if (waiters.size() > 1) continue;
    const auto maker = made_by_.find(id);
    fetches_.push_back({id, maker == made_by_.end() ? kAny : maker->second});
  }
  // What is asked in the same task goes in the same batches.
  deps_.strand->Post([self = shared_from_this()] { self->PumpFetches(); });
}

void KmsCluster::PumpFetches() {
  const size_t most = kBatchesPerNode * nodes_.size();
  while (batches_ < most && !fetches_.empty()) {
    const size_t prefer = fetches_.front().prefer;
    std::vector<std::string> ids;
    for (auto it = fetches_.begin(); it != fetches_.end() && ids.size() < kBatch;) {
      if (it->prefer != prefer) {
        ++it;
        continue;
      }
      ids.push_back(std::move(it->id));
      it = fetches_.erase(it);
    }
    ++batches_;
    Ask<KeyServer::Keys>(
        prefer,
        [ids](KeyServer* server, absl::Duration timeout, status::Callback<KeyServer::Keys> answer) {
          // An answer for other keys than were asked is none.
          server->GetKeys(ids, timeout,
                          [wanted = ids.size(), answer = std::move(answer)](
                              absl::StatusOr<KeyServer::Keys> keys) mutable {
                            if (keys.ok() && keys->size() != wanted) {
                              return answer(status::Error(v1::REASON_KMS_BAD_RESPONSE,
                                                          "the answer has other keys"));
                            }
                            answer(UnlessFailed(std::move(keys)));
                          });
        },
        nullptr,
        [this, ids](absl::StatusOr<KeyServer::Keys> keys, size_t) {
          --batches_;
          std::vector<std::string> refused;
          std::vector<absl::Status> refusals;
          for (size_t i = 0; i < ids.size(); ++i) {
            const absl::Status status = keys.ok() ? (*keys)[i].status() : keys.status();
            if (status::ReasonOf(status) == v1::REASON_INVALID_STATE) {
              refused.push_back(ids[i]);
              refusals.push_back(status);
              continue;
            }
            EndFetch(ids[i], keys.ok() ? Accept(ids[i], std::move((*keys)[i])) : status);
          }
          if (!refused.empty()) JudgeRefused(std::move(refused), std::move(refusals));
          PumpFetches();
        });
  }
}

void KmsCluster::JudgeRefused(std::vector<std::string> ids, std::vector<absl::Status> refusals) {
  GetStates(ids, [self = shared_from_this(), ids,
                  refusals = std::move(refusals)](const absl::StatusOr<States>& states) {
    using kmip::client::KeyState;
    for (size_t i = 0; i < ids.size(); ++i) {
      absl::Status result = refusals[i];
      if (states.ok()) {
        const absl::StatusOr<KeyState>& state = (*states)[i];
        const bool gone =
            state.ok() ? *state == KeyState::kDestroyed || *state == KeyState::kDestroyedCompromised
                       : status::ReasonOf(state.status()) == v1::REASON_KEY_MISSING_ON_KMS;
        if (gone) {
          self->lacks_.insert(ids[i]);
          result = self->NoSuchKey(ids[i]);
        }
      }
      self->EndFetch(ids[i], result);
    }
  });
}

absl::StatusOr<FetchedKey> KmsCluster::Accept(const std::string& id,
                                              absl::StatusOr<crypto::SecretKey> answer) {
  const v1::Reason reason =
      answer.ok() ? v1::REASON_UNSPECIFIED : status::ReasonOf(answer.status());
  if (reason == v1::REASON_NOT_FOUND) {
    lacks_.insert(id);
    return NoSuchKey(id);
  }
  if (!answer.ok()) return answer.status();
  if (answer->size() != crypto::kKeyBytes) {
    return status::Error(v1::REASON_KMS_BAD_RESPONSE,
                         absl::StrCat("key ", status::Quote(id), " has ", answer->size(),
                                      " bytes instead of ", crypto::kKeyBytes))
        .Object("provider", config_.provider);
  }
  lacks_.erase(id);
  FetchedKey fetched;
  fetched.instance = instance_;
  KS_ASSIGN_OR_RETURN(fetched.check_value, crypto::KeyCheckValue(*answer));
  fetched.key = std::make_shared<const crypto::SecretKey>(*std::move(answer));
  return fetched;
}

void KmsCluster::EndFetch(const std::string& id, const absl::StatusOr<FetchedKey>& result) {
  made_by_.erase(id);
  const auto it = fetch_waiters_.find(id);
  if (it == fetch_waiters_.end()) return;
  const std::vector<FetchWaiter> waiters = std::move(it->second);
  fetch_waiters_.erase(it);
  for (const FetchWaiter& waiter : waiters) waiter(result);
}

void KmsCluster::Activate(const std::string& id, status::DoneCallback done) {
  Ask<bool>(
      kAny,
      [id](KeyServer* server, absl::Duration timeout, status::Callback<bool> answer) {
        server->Activate(id, timeout, [answer = std::move(answer)](absl::Status active) mutable {
          if (!active.ok()) return answer(active);
          answer(true);
        });
      },
      nullptr,
      [this, id, done = std::move(done)](const absl::StatusOr<bool>& answer, size_t) mutable {
        if (answer.ok()) return done(absl::OkStatus());
        if (status::ReasonOf(answer.status()) == v1::REASON_NOT_FOUND) return done(NoSuchKey(id));
        if (status::ReasonOf(answer.status()) != v1::REASON_INVALID_STATE) {
          return done(answer.status());
        }
        // Perhaps it was active before: made so by the KMS, or by a request whose answer was lost.
        GetStates({id}, [refused = answer.status(),
                         done = std::move(done)](absl::StatusOr<States> states) mutable {
          if (!states.ok()) return done(states.status());
          const absl::StatusOr<kmip::client::KeyState>& state = states->front();
          if (!state.ok()) return done(state.status());
          done(*state == kmip::client::KeyState::kActive ? absl::OkStatus() : refused);
        });
      });
}

void KmsCluster::GetStates(std::vector<std::string> ids, status::Callback<States> done) {
  Ask<States>(
      kAny,
      [ids](KeyServer* server, absl::Duration timeout, status::Callback<States> answer) {
        server->GetStates(ids, timeout,
                          [wanted = ids.size(),
                           answer = std::move(answer)](absl::StatusOr<States> states) mutable {
                            if (states.ok() && states->size() != wanted) {
                              return answer(status::Error(v1::REASON_KMS_BAD_RESPONSE,
                                                          "the answer has other keys"));
                            }
                            answer(UnlessFailed(std::move(states)));
                          });
      },
      nullptr,
      [this, ids, done = std::move(done)](absl::StatusOr<States> states, size_t) mutable {
        if (!states.ok()) return done(states.status());
        for (size_t i = 0; i < states->size(); ++i) {
          absl::StatusOr<kmip::client::KeyState>& state = (*states)[i];
          if (status::ReasonOf(state.status()) == v1::REASON_NOT_FOUND) state = NoSuchKey(ids[i]);
        }
        done(std::move(states));
      });
}

}  // namespace keysphere::controller::kms
