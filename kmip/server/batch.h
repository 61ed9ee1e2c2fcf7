#ifndef KEYSPHERE_KMIP_SERVER_BATCH_H_
#define KEYSPHERE_KMIP_SERVER_BATCH_H_

#include <memory>
#include <string>
#include <vector>

#include "kmip/server/engine.h"
#include "kmip/server/objects.h"
#include "kmip/server/operations.h"
#include "kmip/ttlv/writer.h"

namespace keysphere::kmip::server {

// One request under way: its items one after another, in as few commits as the store's limits
// allow. Where another node has changed an object meanwhile, the items since the last commit are
// done anew.
class Batch : public std::enable_shared_from_this<Batch> {
 public:
  Batch(Engine* engine, ttlv::Buffer request, Engine::Answer answer);
  ~Batch();

  void Start(const Caller& caller);

 private:
  // Whose objects the request is about.
  absl::StatusOr<std::string> Authenticate(const Caller& caller) const;
  // Items from next_ on until a commit is needed or none is left.
  void Run();
  void Commit();
  void Committed(absl::StatusOr<store::Revision> revision);
  // Carries out item `index`. When it fails, what it has written is no answer.
  absl::Status RunItem(size_t index);
  // Replaces what was answered to the items since the last commit.
  void FailSinceCommit(const absl::Status& status);
  // The items before `failed` are not carried out.
  void UndoBefore(size_t failed);
  void WriteOutcome(const messages::RequestItem& item, const absl::Status& status,
                    messages::ResultStatus failed);
  // Whether the client takes an answer of what was done so far, whatever comes of the rest.
  bool Fits();
  // The items since the last commit are not done: what comes of them cannot be told.
  void RefuseSinceCommit();
  void Finish();
  void FailWhole(const absl::Status& status);

  Engine* const engine_;
  const ttlv::Buffer bytes_;  // request_ is views into it
  Engine::Answer answer_;
  messages::Request request_;
  std::unique_ptr<Objects> objects_;
  std::unique_ptr<Operations> operations_;

  ttlv::Buffer out_;
  size_t count_at_ = 0;   // where the Batch Count stands in out_
  size_t next_ = 0;       // item
  bool stopped_ = false;  // no further items
  // As they were after the last commit.
  size_t committed_items_ = 0;
  size_t committed_bytes_ = 0;
  std::string committed_placeholder_;
  int attempts_ = 0;
};

}  // namespace keysphere::kmip::server

#endif  // KEYSPHERE_KMIP_SERVER_BATCH_H_
