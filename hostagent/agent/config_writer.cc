#include "hostagent/agent/config_writer.h"

#include <utility>

#include "common/status/status.h"

namespace keysphere::hostagent::agent {

ConfigWriter::ConfigWriter(HostStrand* strand, executor::Executor* executor,
                           const Lifetime& lifetime, std::unique_ptr<config::HostConfigStore> store)
    : strand_(strand),
      file_strand_(executor, lifetime),
      store_(std::move(store)),
      config_(store_->config()),
      mode_(store_->mode()) {}

void ConfigWriter::Submit(Change change, Committed committed) {
  waiting_.push_back({std::move(change), std::move(committed), absl::OkStatus()});
  if (!busy_) StartBatch();
}

void ConfigWriter::StartBatch() {
  busy_ = true;
  batch_ = std::move(waiting_);
  waiting_.clear();
  auto next = std::make_shared<config::HostConfig>(config_);
  bool changed = false;
  for (Submission& submission : batch_) {
    const absl::StatusOr<bool> decided = submission.change(next.get());
    submission.decided = decided.status();
    changed = changed || (decided.ok() && *decided);
  }
  if (changed) {
    Write(std::move(next));
  } else {
    EndBatch(absl::OkStatus());
  }
}

void ConfigWriter::Write(std::shared_ptr<config::HostConfig> next) {
  ++writes_;
  file_strand_.Post([this, next = std::move(next)] {
    const absl::Status written = store_->Save(*next);
    strand_->Post([this, next, written] {
      if (written.ok()) config_.Swap(next.get());
      EndBatch(written);
    });
  });
}

void ConfigWriter::EndBatch(const absl::Status& written) {
  std::vector<Submission> batch = std::move(batch_);
  batch_.clear();
  for (Submission& submission : batch) {
    submission.committed(submission.decided.ok() ? written : submission.decided);
  }
  busy_ = false;
  if (!waiting_.empty()) StartBatch();
}

}  // namespace keysphere::hostagent::agent
