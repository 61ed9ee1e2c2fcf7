#include "tools/keysphere/secret.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files/file_system.h"
#include "common/status/status.h"

namespace keysphere::cli {
namespace {

// Of a file or stdin nobody means "none": whoever wants no secret names no source.
absl::StatusOr<absl::optional<Secret>> NotEmpty(absl::StatusOr<Secret> secret,
                                                const std::string& source) {
  KS_RETURN_IF_ERROR(secret.status());
  if (secret->empty()) return UsageError(absl::StrCat("the secret from ", source, " is empty"));
  return absl::optional<Secret>(*std::move(secret));
}

// As much as any service takes.
constexpr size_t kMaxSecretBytes = 1024;

void Wipe(std::string* text) {
  if (!text->empty()) OPENSSL_cleanse(&(*text)[0], text->size());
  text->clear();
}

absl::StatusOr<Secret> TooLong() {
  return status::Error(v1::REASON_TOO_LARGE,
                       absl::StrCat("a password has at most ", kMaxSecretBytes, " bytes"));
}

// To the end of the file, or of the line.
absl::StatusOr<Secret> ReadFrom(int fd, bool line) {
  std::string text;
  text.reserve(kMaxSecretBytes + 2);  // a growing string would leave copies
  Wiper wiper(&text);
  char c = 0;
  for (;;) {
    const ssize_t got = read(fd, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return files::FileSystem::ErrorOf(errno, "read", "the password");
    if (got == 0 || (line && c == '\n')) break;
    if (text.size() > kMaxSecretBytes) return TooLong();
    text.push_back(c);
  }
  c = 0;
  if (!text.empty() && text.back() == '\n') text.pop_back();
  if (!text.empty() && text.back() == '\r') text.pop_back();
  if (text.size() > kMaxSecretBytes) return TooLong();
  return Secret(std::string(text));
}

// The terminal, not stdin: that may be a pipe with the data.
absl::StatusOr<Secret> Ask(int terminal, const std::string& prompt) {
  termios before{};
  if (tcgetattr(terminal, &before) != 0) {
    return files::FileSystem::ErrorOf(errno, "read", "/dev/tty");
  }
  termios silent = before;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  silent.c_lflag |= ECHONL;
  dprintf(terminal, "%s: ", prompt.c_str());
  tcsetattr(terminal, TCSAFLUSH, &silent);
  absl::StatusOr<Secret> secret = ReadFrom(terminal, true);
  tcsetattr(terminal, TCSAFLUSH, &before);
  return secret;
}

absl::StatusOr<absl::optional<Secret>> AskOnTerminal(const std::string& prompt, bool confirm) {
  // Only where somebody sits: a script without stdin on a terminal is not to hang.
  if (isatty(STDIN_FILENO) == 0) return absl::optional<Secret>();
  const int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (terminal < 0) return absl::optional<Secret>();
  absl::StatusOr<Secret> first = Ask(terminal, prompt);
  absl::StatusOr<Secret> second = Secret();
  if (first.ok() && !first->empty() && confirm) second = Ask(terminal, prompt + " (again)");
  close(terminal);
  KS_RETURN_IF_ERROR(first.status());
  KS_RETURN_IF_ERROR(second.status());
  if (first->empty()) return absl::optional<Secret>();
  if (confirm && first->view() != second->view()) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, "the two passwords differ");
  }
  return absl::optional<Secret>(*std::move(first));
}

}  // namespace

Secret::Secret(Secret&& other) noexcept : text_(other.text_) { Wipe(&other.text_); }

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this == &other) return *this;
  Wipe(&text_);
  text_ = other.text_;
  Wipe(&other.text_);
  return *this;
}

Secret::~Secret() { Wipe(&text_); }

Wiper::~Wiper() {
  if (bytes_ != nullptr) Wipe(bytes_);
}

void SecretOptions::AddTo(Command* command, const std::string& what) {
  command->Option(&file, absl::StrCat("--", what, "-file"), "FILE",
                  absl::StrCat("read the ", what, " from FILE"));
  command->Flag(&from_stdin, absl::StrCat("--", what, "-stdin"),
                absl::StrCat("read the ", what, " from stdin"));
}

absl::StatusOr<absl::optional<Secret>> ReadSecret(const SecretOptions& options,
                                                  const std::string& prompt, bool confirm) {
  if (!options.file.empty() && options.from_stdin) {
    return UsageError("a secret comes from a file or from stdin, not from both");
  }
  if (options.from_stdin) return NotEmpty(ReadFrom(STDIN_FILENO, false), "stdin");
  if (options.file.empty()) return AskOnTerminal(prompt, confirm);
  const int fd = open(options.file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return files::FileSystem::ErrorOf(errno, "read", options.file);
  absl::StatusOr<Secret> secret = ReadFrom(fd, false);
  close(fd);
  return NotEmpty(std::move(secret), options.file);
}

}  // namespace keysphere::cli
