#ifndef KEYSPHERE_COMMON_LOG_CAPTURING_LOGGER_H_
#define KEYSPHERE_COMMON_LOG_CAPTURING_LOGGER_H_

#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/log/log.h"
#include "common/sync/mutex.h"

namespace keysphere::log {

// Keeps what is logged, for tests.
class CapturingLogger : public Logger {
 public:
  struct Entry {
    Level level;
    std::string event;
    std::map<std::string, std::string> fields;
  };

  std::vector<Entry> entries() const {
    sync::MutexLock lock(&mutex_);
    return entries_;
  }

 protected:
  void Log(Level level, absl::string_view event, Fields fields) override {
    Entry entry{level, std::string(event), {}};
    for (const Field& field : fields) entry.fields[field.key()] = field.value();
    sync::MutexLock lock(&mutex_);
    entries_.push_back(std::move(entry));
  }

 private:
  mutable sync::Mutex mutex_;
  std::vector<Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace keysphere::log

#endif  // KEYSPHERE_COMMON_LOG_CAPTURING_LOGGER_H_
