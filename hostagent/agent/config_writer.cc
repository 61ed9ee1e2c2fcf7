#include "hostagent/agent/config_writer.h"

#include <utility>

#include "common/status/status.h"
#include "hostagent/config/config_journal.h"

namespace keysphere::hostagent::agent {

ConfigWriter::ConfigWriter(HostStrand* strand, executor::Executor* executor,
                           const Lifetime& lifetime, std::unique_ptr<config::HostConfigStore> store)
    : strand_(strand),
      file_strand_(executor, lifetime),
      store_(std::move(store)),
      config_(store_->config()),
      next_(config_),
      mode_(store_->mode()) {}

void ConfigWriter::Submit(Change change, Committed committed) {
  Enqueue({std::move(change), nullptr, std::move(committed), absl::OkStatus()});
}

void ConfigWriter::Edit(Editing editing, Committed committed) {
  Enqueue({nullptr, std::move(editing), std::move(committed), absl::OkStatus()});
}

void ConfigWriter::Enqueue(Submission submission) {
  waiting_.push_back(std::move(submission));
  if (!busy_) StartBatch();
}

absl::Status ConfigWriter::Decide(Submission* submission, Decisions* decisions) {
  if (submission->change) {
    KS_ASSIGN_OR_RETURN(const bool changed, submission->change(&next_));
    decisions->whole = decisions->whole || changed;
    return absl::OkStatus();
  }
  KS_ASSIGN_OR_RETURN(config::ConfigChange edit, submission->edit(next_));
  if (edit.ByteSizeLong() == 0) return absl::OkStatus();
  config::Apply(edit, &next_);
  *decisions->edits.add_changes() = std::move(edit);
  return absl::OkStatus();
}

void ConfigWriter::StartBatch() {
  busy_ = true;
  batch_ = std::move(waiting_);
  waiting_.clear();
  Decisions decisions;
  for (Submission& submission : batch_) submission.decided = Decide(&submission, &decisions);
  if (decisions.whole) {
    WriteAll();
  } else if (!decisions.edits.changes().empty()) {
    Append(std::move(decisions.edits));
  } else {
    EndBatch(absl::OkStatus());
  }
}

void ConfigWriter::WriteAll() {
  ++writes_;
  file_strand_.Post([this, next = std::make_shared<const config::HostConfig>(next_)] {
    const absl::Status written = store_->Save(*next);
    strand_->Post([this, written] {
      if (written.ok()) config_ = next_;
      EndBatch(written);
    });
  });
}

void ConfigWriter::Append(config::JournalRecord edits) {
  ++writes_;
  file_strand_.Post([this, edits = std::move(edits)]() mutable {
    const absl::Status written = store_->Append(edits);
    strand_->Post([this, edits = std::move(edits), written] {
      if (written.ok()) {
        for (const config::ConfigChange& edit : edits.changes()) config::Apply(edit, &config_);
      }
      EndBatch(written);
    });
  });
}

void ConfigWriter::EndBatch(const absl::Status& written) {
  if (!written.ok()) next_ = config_;
  std::vector<Submission> batch = std::move(batch_);
  batch_.clear();
  for (Submission& submission : batch) {
    submission.committed(submission.decided.ok() ? written : submission.decided);
  }
  busy_ = false;
  if (!waiting_.empty()) StartBatch();
}

}  // namespace keysphere::hostagent::agent
