#ifndef KEYSPHERE_COMMON_LOG_WRITER_H_
#define KEYSPHERE_COMMON_LOG_WRITER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock/clock.h"
#include "common/log/log.h"

namespace keysphere::log {

enum class Format { kLogfmt, kJson };

struct WriterOptions {
  Level level = Level::kInfo;  // less important events are dropped
  Format format = Format::kLogfmt;
  std::string file;     // appended to; empty: stderr
  std::string process;  // "host/esx-3", in every line; empty: none
};

// A logger that writes a line an event, at once:
//   time=2026-01-02T03:04:05.678Z level=info event=host.attached process=vc-1 host="esx 3" n=2
//   {"time":"2026-01-02T03:04:05.678Z","level":"info","event":"host.attached","host":"esx 3","n":2}
// The time is the clock's, so virtual in a simulated cluster; without a clock lines have none. A
// file that cannot be opened: STORAGE_ERROR; a write that fails later is dropped.
absl::StatusOr<std::unique_ptr<Logger>> NewWriter(clock::Clock* clock,
                                                  const WriterOptions& options);

}  // namespace keysphere::log

#endif  // KEYSPHERE_COMMON_LOG_WRITER_H_
