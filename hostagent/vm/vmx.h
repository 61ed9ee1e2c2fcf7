#ifndef KEYSPHERE_HOSTAGENT_VM_VMX_H_
#define KEYSPHERE_HOSTAGENT_VM_VMX_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keysphere::hostagent::vm {

// A .vmx file: VMware's dictionary, one entry a line:
//
//   <ws> name <ws> = <ws> "value" <ws> [# comment]      (or an unquoted value, or none)
//
// Names are case-insensitive; `|XX` in a value is the byte 0xXX. Comments, blank lines, unknown
// names, their order, line ends (LF, CRLF) and a byte order mark are kept: what nobody edits is
// written back byte for byte.
class Vmx {
 public:
  static constexpr size_t kMaxFileBytes = 1 << 20;
  static constexpr size_t kMaxLines = 16384;
  // encryption.data is one long line.
  static constexpr size_t kMaxLineBytes = 768 << 10;
  static constexpr size_t kMaxNameBytes = 256;

  Vmx() = default;

  // `file` names the file in errors. VM_FILE_INVALID with file and line: a line that is no entry, a
  // value without its closing quote, a name twice, a NUL byte, or over a limit.
  static absl::StatusOr<Vmx> Parse(absl::string_view text, absl::string_view file);
  std::string Serialize() const;

  // The value of `name`, unescaped; null when there is none. Valid until the next change.
  const std::string* Find(absl::string_view name) const;
  std::string Get(absl::string_view name, absl::string_view otherwise = "") const;
  // TRUE, yes, on and 1, as VMware reads them.
  bool GetBool(absl::string_view name, bool otherwise) const;

  // Replaces the value in its line, or appends a line.
  void Set(absl::string_view name, absl::string_view value);
  // False when there was none.
  bool Erase(absl::string_view name);

  // The names as written, in the order of the file.
  std::vector<std::string> Names() const;

 private:
  struct Line {
    std::string raw;   // with its line end
    std::string name;  // empty: comment or blank
    std::string value;
  };
  absl::Status AddLine(absl::string_view raw, size_t number, absl::string_view file);
  void Reindex();

  std::string bom_;
  std::string line_end_ = "\n";
  std::vector<Line> lines_;
  absl::flat_hash_map<std::string, size_t> index_;  // lower-case name -> line
};

// `"`, `|` and control characters as |XX, and back. An incomplete escape stays as it is.
std::string EscapeVmx(absl::string_view value);
std::string UnescapeVmx(absl::string_view value);

}  // namespace keysphere::hostagent::vm

#endif  // KEYSPHERE_HOSTAGENT_VM_VMX_H_
