#ifndef KEYSPHERE_COMMON_LOG_LOG_H_
#define KEYSPHERE_COMMON_LOG_LOG_H_

#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace keysphere::log {

enum class Level { kDebug, kInfo, kWarning, kError };
absl::string_view LevelName(Level level);  // "debug", "info", "warning", "error"
// INVALID_ARGUMENT for another name.
absl::Status ParseLevel(absl::string_view name, Level* level);

// A key and a value. Values come from a few types, none of which holds a secret: no SecretKey, no
// bytes, no message. Texts are cut to 256 characters; control characters and bytes that are no
// UTF-8 are escaped.
class Field {
 public:
  Field(absl::string_view key, absl::string_view value);
  Field(absl::string_view key, const char* value) : Field(key, absl::string_view(value)) {}
  Field(absl::string_view key, const std::string& value) : Field(key, absl::string_view(value)) {}
  Field(absl::string_view key, absl::Time value);
  Field(absl::string_view key, absl::Duration value);
  // As status::ToString.
  Field(absl::string_view key, const absl::Status& value);
  // Integers and bool; pointers and floating point numbers do not compile.
  template <typename T, typename = std::enable_if_t<std::is_integral_v<T>>>
  Field(absl::string_view key, T value) : key_(key), value_(ToText(value)), quoted_(false) {}

  const std::string& key() const { return key_; }
  const std::string& value() const { return value_; }
  // The value is a text, not a number or bool.
  bool quoted() const { return quoted_; }

 private:
  template <typename T>
  static std::string ToText(T value) {
    if constexpr (std::is_same_v<T, bool>) return value ? "true" : "false";
    return std::to_string(value);
  }

  std::string key_;
  std::string value_;
  bool quoted_ = true;
};

// Where events go: an event is a dotted name of a fixed set ("host.attached") with fields.
// Injected, never global. Thread safe.
class Logger {
 public:
  using Fields = std::initializer_list<Field>;

  virtual ~Logger() = default;

  void Debug(absl::string_view event, Fields fields = {}) { Log(Level::kDebug, event, fields); }
  void Info(absl::string_view event, Fields fields = {}) { Log(Level::kInfo, event, fields); }
  void Warning(absl::string_view event, Fields fields = {}) { Log(Level::kWarning, event, fields); }
  void Error(absl::string_view event, Fields fields = {}) { Log(Level::kError, event, fields); }

 protected:
  virtual void Log(Level level, absl::string_view event, Fields fields) = 0;
};

// Drops everything.
class NullLogger : public Logger {
 protected:
  void Log(Level, absl::string_view, Fields) override {}
};

}  // namespace keysphere::log

#endif  // KEYSPHERE_COMMON_LOG_LOG_H_
