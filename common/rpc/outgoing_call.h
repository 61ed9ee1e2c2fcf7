#ifndef KEYSPHERE_COMMON_RPC_OUTGOING_CALL_H_
#define KEYSPHERE_COMMON_RPC_OUTGOING_CALL_H_

#include <grpcpp/client_context.h>

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/clock/clock.h"
#include "common/rpc/channel.h"
#include "common/sync/mutex.h"

namespace keysphere::rpc::internal {

// A call from its start until its callback has run: deadline, busy token and link faults, for unary
// calls and streams of all message types.
//
// The callback runs exactly once. A token is held from before sending until it has run, except
// while the link is cut: then virtual time goes on, and what arrives is kept until the link heals.
class OutgoingCall : public std::enable_shared_from_this<OutgoingCall> {
 public:
  OutgoingCall(std::shared_ptr<Channel> channel, absl::Duration timeout, bool wait_for_ready);
  virtual ~OutgoingCall() = default;
  OutgoingCall(const OutgoingCall&) = delete;
  OutgoingCall& operator=(const OutgoingCall&) = delete;

  void Start();
  // Ends with CANCELLED.
  void Cancel();
  // Ends with `status` if no answer has come.
  void EndUnanswered(const absl::Status& status);
  void OnFaultsChanged();

 protected:
  // A stream's deadline is for its beginning alone.
  virtual bool IsStream() const { return false; }
  // Hands the call to gRPC, which ends it with Completed.
  virtual void Send(grpc::ClientContext* context) = 0;
  // Runs the callback.
  virtual void Deliver(const absl::Status& status) = 0;
  // The link has healed: what was kept may go on.
  virtual void OnHealed() {}

  void Completed(const grpc::Status& status);
  // A stream has begun: its deadline and token end.
  void Began();
  // Whether what arrives is held back until the link heals.
  bool HoldsReplies();

  Channel* channel() const { return channel_.get(); }
  grpc::ClientContext* context() { return &context_; }

 private:
  // Send, unless the link is cut.
  void TrySend();
  // Sets deadline and metadata.
  void Prepare();
  void OnDeadline();
  // Runs the callback if it has not run.
  void End(const absl::Status& status);
  bool HasTimer() const;

  const std::shared_ptr<Channel> channel_;
  const absl::Duration timeout_;
  grpc::ClientContext context_;
  absl::Time deadline_;

  sync::Mutex mutex_;
  bool sent_ ABSL_GUARDED_BY(mutex_) = false;
  bool delayed_ ABSL_GUARDED_BY(mutex_) = false;
  bool parked_ ABSL_GUARDED_BY(mutex_) = false;
  bool began_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::optional<absl::Status> kept_ ABSL_GUARDED_BY(mutex_);  // an outcome that came while parked
  clock::Clock::BusyToken token_ ABSL_GUARDED_BY(mutex_);
  clock::Clock::TimerId deadline_timer_ ABSL_GUARDED_BY(mutex_) = clock::Clock::kNoTimer;
  clock::Clock::TimerId delay_timer_ ABSL_GUARDED_BY(mutex_) = clock::Clock::kNoTimer;
};

}  // namespace keysphere::rpc::internal

#endif  // KEYSPHERE_COMMON_RPC_OUTGOING_CALL_H_
