#ifndef KEYSPHERE_COMMON_CLOCK_PAGE_PAGE_FILE_H_
#define KEYSPHERE_COMMON_CLOCK_PAGE_PAGE_FILE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock/page/layout.h"

namespace keysphere::clock::page {

// The page, mapped. Slots, streams and links are numbered from 0. Thread safe.
class PageFile {
 public:
  // Makes the file anew (0600, write-new and rename), with time at `start`.
  static absl::StatusOr<std::unique_ptr<PageFile>> Create(const std::string& path, int slots,
                                                          int streams, int links, absl::Time start);
  // INVALID_ARGUMENT when the file is not a page of this version.
  static absl::StatusOr<std::unique_ptr<PageFile>> Open(const std::string& path);
  ~PageFile();
  PageFile(const PageFile&) = delete;
  PageFile& operator=(const PageFile&) = delete;

  Header& header() const { return *header_; }
  int slot_count() const { return slot_count_; }
  int stream_count() const { return stream_count_; }
  int link_count() const { return link_count_; }
  // Entries from here on were never used.
  int used_slots() const { return header_->used_slots.load(); }
  int used_streams() const { return header_->used_streams.load(); }
  int used_links() const { return header_->used_links.load(); }
  Slot& slot(int i) const { return slots_[i]; }
  SlotText& text(int i) const { return texts_[i]; }
  Stream& stream(int i) const { return streams_[i]; }
  Link& link(int i) const { return links_[i]; }

  int64_t NowNs() const { return header_->now_ns.load(); }
  // The now of the slot's process.
  int64_t LocalNowNs(int slot) const;
  // The slot's first deadline in the page's time.
  int64_t DeadlineNs(int slot) const;
  // The slot of this name, -1: none has it.
  int SlotOf(absl::string_view name) const;

  // Makes the slot's timer thread look again.
  void WakeSlot(int slot) const;
  // Wakes the master if it waits: something may be quiet now.
  void NotifyMaster() const;

 private:
  PageFile(void* memory, size_t size, int slots, int streams, int links);

  void* const memory_;
  const size_t size_;
  const int slot_count_;
  const int stream_count_;
  const int link_count_;
  Header* header_;
  Slot* slots_;
  SlotText* texts_;
  Stream* streams_;
  Link* links_;
};

// Raises one of the header's used_… to `i` + 1.
void MarkUsed(std::atomic<uint32_t>* used, int i);
int64_t ToNs(absl::Time time);  // infinite futures are kNever
int64_t AddSaturated(int64_t a, int64_t b);

}  // namespace keysphere::clock::page

#endif  // KEYSPHERE_COMMON_CLOCK_PAGE_PAGE_FILE_H_
