#ifndef KEYSPHERE_TOOLS_KEYSPHERE_SECRET_H_
#define KEYSPHERE_TOOLS_KEYSPHERE_SECRET_H_

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "tools/keysphere/command.h"

namespace keysphere::cli {

// A password or the like on its way from the user to a request: wiped when it goes. Move-only.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  ~Secret();
  absl::string_view view() const { return text_; }
  bool empty() const { return text_.empty(); }

 private:
  std::string text_;
};

// Wipes the bytes of a field when the scope ends, e.g. the password in a request.
class Wiper {
 public:
  // nullptr: there is nothing to wipe.
  explicit Wiper(std::string* bytes) : bytes_(bytes) {}
  ~Wiper();
  Wiper(const Wiper&) = delete;
  Wiper& operator=(const Wiper&) = delete;

 private:
  std::string* const bytes_;
};

// Where a password comes from. Never the command line: everybody may read that.
struct SecretOptions {
  std::string file;
  bool from_stdin = false;

  bool given() const { return from_stdin || !file.empty(); }
  // Adds --WHAT-file and --WHAT-stdin.
  void AddTo(Command* command, const std::string& what);
};

// Of the file or stdin (without the newline at its end), else asked for on the terminal as
// `prompt`, twice if `confirm`; without a terminal: nothing. An empty answer is nothing, too; an
// empty file or stdin is a usage error.
absl::StatusOr<absl::optional<Secret>> ReadSecret(const SecretOptions& options,
                                                  const std::string& prompt, bool confirm);

}  // namespace keysphere::cli

#endif  // KEYSPHERE_TOOLS_KEYSPHERE_SECRET_H_
