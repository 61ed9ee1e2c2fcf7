#include "hostagent/vm/journal.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/crypto/digest.h"
#include "common/status/status.h"
#include "hostagent/vm/vmdk.h"

namespace keysphere::hostagent::vm {
namespace {

constexpr absl::string_view kMagic = "keysphere journal 1\n";
constexpr size_t kMaxJournalBytes = 64 << 20;
constexpr size_t kDigestBytes = 32;
constexpr mode_t kFileMode = 0600;

absl::Status NotFoundIsOk(const absl::Status& status) {
  return status::ReasonOf(status) == v1::REASON_NOT_FOUND ? absl::OkStatus() : status;
}

void AppendRecord(char kind, absl::string_view name, absl::string_view content, std::string* to) {
  absl::StrAppend(to, std::string(1, kind), " ", name.size(), " ", content.size(), "\n", name,
                  content);
}

// The decimal number before `end`, advancing `text` behind it.
bool TakeNumber(absl::string_view& text, char end, size_t* number) {
  const size_t at = text.substr(0, 12).find(end);
  if (at == absl::string_view::npos || !absl::SimpleAtoi(text.substr(0, at), number)) return false;
  text.remove_prefix(at + 1);
  return true;
}

}  // namespace

void Transaction::Write(absl::string_view name, std::string content) {
  writes_.emplace_back(std::string(name), std::move(content));
}

void Transaction::TakeOver(absl::string_view temporary, absl::string_view name) {
  take_overs_.emplace_back(std::string(name), std::string(temporary));
}

void Transaction::Remove(absl::string_view name) { removals_.emplace_back(name); }

std::string Transaction::Serialize() const {
  std::string text(kMagic);
  for (const auto& write : writes_) AppendRecord('W', write.first, write.second, &text);
  for (const auto& file : take_overs_) AppendRecord('T', file.first, file.second, &text);
  for (const std::string& name : removals_) AppendRecord('R', name, "", &text);
  return text + crypto::Sha256(text);
}

absl::StatusOr<Transaction> Transaction::Parse(absl::string_view text, absl::string_view file) {
  const auto damaged = [&]() -> absl::Status {
    return status::Error(v1::REASON_VM_FILE_INVALID,
                         absl::StrCat(status::Quote(file), ": the journal is damaged"))
        .With("file", file)
        .NextStep("Restore the VM's folder from a backup.");
  };
  if (text.size() < kMagic.size() + kDigestBytes || !absl::StartsWith(text, kMagic)) {
    return damaged();
  }
  const absl::string_view digest = text.substr(text.size() - kDigestBytes);
  text.remove_suffix(kDigestBytes);
  if (crypto::Sha256(text) != digest) return damaged();
  text.remove_prefix(kMagic.size());
  Transaction transaction;
  while (!text.empty()) {
    const char kind = text[0];
    size_t name_size = 0;
    size_t content_size = 0;
    text.remove_prefix(1);
    if (!absl::ConsumePrefix(&text, " ") || !TakeNumber(text, ' ', &name_size) ||
        !TakeNumber(text, '\n', &content_size) || name_size > text.size() ||
        content_size > text.size() - name_size) {
      return damaged();
    }
    const absl::string_view name = text.substr(0, name_size);
    const absl::string_view content = text.substr(name_size, content_size);
    text.remove_prefix(name_size + content_size);
    if (!IsPlainFileName(name)) return damaged();
    if (kind == 'W') {
      transaction.Write(name, std::string(content));
    } else if (kind == 'T') {
      if (!IsPlainFileName(content)) return damaged();
      transaction.TakeOver(content, name);
    } else if (kind == 'R') {
      transaction.Remove(name);
    } else {
      return damaged();
    }
  }
  return transaction;
}

const std::string* Transaction::Content(absl::string_view name) const {
  const auto found = std::find_if(writes_.begin(), writes_.end(),
                                  [name](const auto& write) { return write.first == name; });
  return found == writes_.end() ? nullptr : &found->second;
}

std::vector<std::string> Transaction::NewFiles() const {
  std::vector<std::string> names;
  for (const auto& write : writes_) names.push_back(write.first);
  for (const auto& file : take_overs_) names.push_back(file.first);
  return names;
}

absl::Status Transaction::ReplaceFiles(const files::FileSystem& files, const VmPaths& paths,
                                       files::FileLock* lock) const {
  // Nothing needs to be durable before the end: until then the journal keeps everything, or there
  // is no .vmx.
  const auto left_out = [&](absl::string_view name) {
    return lock == nullptr && name == paths.vmx_name;
  };
  for (const auto& write : writes_) {
    if (left_out(write.first)) continue;
    if (write.first == paths.vmx_name) {
      KS_RETURN_IF_ERROR(
          files.ReplaceLocked(lock, write.second, kFileMode, files::Durability::kNotDurable));
    } else {
      KS_RETURN_IF_ERROR(files.WriteFileAtomically(paths.In(write.first), write.second, kFileMode,
                                                   files::Durability::kNotDurable));
    }
  }
  for (const auto& file : take_overs_) {
    KS_RETURN_IF_ERROR(NotFoundIsOk(
        files.Rename(paths.In(file.second), paths.In(file.first), files::Durability::kNotDurable)));
  }
  for (const std::string& name : removals_) {
    KS_RETURN_IF_ERROR(NotFoundIsOk(files.Remove(paths.In(name), files::Durability::kNotDurable)));
  }
  for (const auto& write : writes_) {
    if (left_out(write.first)) continue;
    KS_ASSIGN_OR_RETURN(files::RandomAccessFile file,
                        files.Open(paths.In(write.first), files::OpenMode::kRead));
    KS_RETURN_IF_ERROR(file.Sync());
  }
  return files.SyncFolder(paths.folder);
}

absl::Status Transaction::Apply(const files::FileSystem& files, const VmPaths& paths,
                                files::FileLock* lock) const {
  KS_RETURN_IF_ERROR(ReplaceFiles(files, paths, lock));
  // Not durable: whatever makes the next change of this folder durable also makes this so, and
  // until then doing it again changes nothing.
  return NotFoundIsOk(files.Remove(paths.In(paths.JournalName()), files::Durability::kNotDurable));
}

absl::Status Transaction::Commit(const files::FileSystem& files, const VmPaths& paths,
                                 files::FileLock* lock, bool* committed) const {
  *committed = false;
  if (writes_.size() == 1 && take_overs_.empty() && removals_.empty() &&
      writes_[0].first == paths.vmx_name) {
    KS_RETURN_IF_ERROR(files.ReplaceLocked(lock, writes_[0].second, kFileMode));
    *committed = true;
    return absl::OkStatus();
  }
  const absl::Status written =
      files.WriteFileAtomically(paths.In(paths.JournalName()), Serialize(), kFileMode);
  if (!written.ok()) {
    // The rename may have been done and only the folder's sync have failed.
    const absl::StatusOr<bool> exists = files.Exists(paths.In(paths.JournalName()));
    *committed = exists.ok() && *exists;
    return written;
  }
  *committed = true;
  return Apply(files, paths, lock);
}

absl::Status Transaction::CommitNew(const files::FileSystem& files, const VmPaths& paths,
                                    absl::FunctionRef<absl::Status()> may_appear) const {
  const std::string* const vmx = Content(paths.vmx_name);
  KS_CHECK(vmx != nullptr);
  if (writes_.size() > 1 || !take_overs_.empty()) {
    KS_RETURN_IF_ERROR(ReplaceFiles(files, paths, nullptr));
  }
  KS_RETURN_IF_ERROR(may_appear());
  return files.WriteFileAtomically(paths.Vmx(), *vmx, kFileMode);
}

absl::Status WriteClaim(const files::FileSystem& files, files::FileLock* lock,
                        const std::vector<std::string>& names) {
  // In the form of a journal: what is damaged says nothing.
  Transaction claim;
  for (const std::string& name : names) claim.Remove(name);
  return files.ReplaceLocked(lock, claim.Serialize(), kFileMode, files::Durability::kNotDurable);
}

absl::StatusOr<bool> RemoveClaimed(const files::FileSystem& files, const VmPaths& paths) {
  KS_ASSIGN_OR_RETURN(const std::string text, files.ReadFile(paths.Claim(), kMaxJournalBytes));
  const absl::StatusOr<Transaction> claim = Transaction::Parse(text, paths.Claim());
  if (!claim.ok()) return false;  // its making was never as far as that
  for (const std::string& name : claim->removals_) {
    KS_RETURN_IF_ERROR(NotFoundIsOk(files.Remove(paths.In(name), files::Durability::kNotDurable)));
  }
  return !claim->removals_.empty();
}

absl::StatusOr<bool> NeedsRecovery(const files::FileSystem& files, const VmPaths& paths) {
  KS_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(paths.folder));
  for (const std::string& name : names) {
    if (name == paths.JournalName() || absl::StartsWith(name, paths.TemporaryPrefix())) {
      return true;
    }
  }
  return false;
}

absl::StatusOr<std::vector<files::FileLock>> Transaction::LockTakenOver(
    const files::FileSystem& files, const VmPaths& paths) const {
  std::vector<files::FileLock> locks;
  for (const auto& [name, temporary] : take_overs_) {
    KS_ASSIGN_OR_RETURN(const bool to_do, files.Exists(paths.In(temporary)));
    if (!to_do) continue;
    absl::StatusOr<files::FileLock> lock = files.Lock(paths.In(name));
    if (status::ReasonOf(lock.status()) == v1::REASON_VM_IN_USE) {
      return status::Error(v1::REASON_VM_IN_USE,
                           absl::StrCat("a change of disk image ", status::Quote(name),
                                        " was interrupted, and another VM uses it now"))
          .Object("disk", name)
          .With("file", name)
          .NextStep("Power off the VM that uses the disk.");
    }
    if (lock.ok()) {
      locks.push_back(*std::move(lock));
    } else {
      KS_RETURN_IF_ERROR(NotFoundIsOk(lock.status()));  // a disk that is added
    }
  }
  return locks;
}

absl::Status Recover(const files::FileSystem& files, const VmPaths& paths, files::FileLock* lock,
                     bool disks_locked) {
  const std::string journal = paths.In(paths.JournalName());
  const absl::StatusOr<std::string> text = files.ReadFile(journal, kMaxJournalBytes);
  if (text.ok()) {
    KS_ASSIGN_OR_RETURN(const Transaction transaction,
                        Transaction::Parse(*text, paths.JournalName()));
    std::vector<files::FileLock> disk_locks;
    if (!disks_locked) {
      KS_ASSIGN_OR_RETURN(disk_locks, transaction.LockTakenOver(files, paths));
    }
    KS_RETURN_IF_ERROR(transaction.Apply(files, paths, lock));
  } else {
    KS_RETURN_IF_ERROR(NotFoundIsOk(text.status()));
  }
  KS_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(paths.folder));
  for (const std::string& name : names) {
    if (absl::StartsWith(name, paths.TemporaryPrefix())) {
      KS_RETURN_IF_ERROR(
          NotFoundIsOk(files.Remove(paths.In(name), files::Durability::kNotDurable)));
    }
  }
  return files.RemoveStaleTemporaries(paths.folder).status();
}

}  // namespace keysphere::hostagent::vm
