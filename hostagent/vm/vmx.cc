#include "hostagent/vm/vmx.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::hostagent::vm {
namespace {

constexpr absl::string_view kBom = "\xEF\xBB\xBF";

absl::Status LineError(absl::string_view file, size_t number, absl::string_view what) {
  return status::Error(v1::REASON_VM_FILE_INVALID,
                       absl::StrCat(status::Quote(file), " line ", number, ": ", what))
      .With("file", file)
      .With("line", absl::StrCat(number))
      .NextStep("Restore the file from a backup, or correct the line.");
}

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

absl::string_view SkipBlanks(absl::string_view text) {
  while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
  return text;
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string EscapeVmx(absl::string_view value) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string escaped;
  escaped.reserve(value.size());
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F || c == '"' || c == '|') {
      escaped += {'|', kHex[byte >> 4], kHex[byte & 15]};
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string UnescapeVmx(absl::string_view value) {
  std::string plain;
  plain.reserve(value.size());
  for (size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '|' && i + 2 < value.size() && HexValue(value[i + 1]) >= 0 &&
        HexValue(value[i + 2]) >= 0) {
      plain += static_cast<char>(HexValue(value[i + 1]) * 16 + HexValue(value[i + 2]));
      i += 2;
    } else {
      plain += value[i];
    }
  }
  return plain;
}

absl::StatusOr<Vmx> Vmx::Parse(absl::string_view text, absl::string_view file) {
  if (text.size() > kMaxFileBytes) {
    return status::Error(v1::REASON_VM_FILE_INVALID,
                         absl::StrCat(status::Quote(file), " has ", text.size(),
                                      " bytes; a .vmx has at most ", kMaxFileBytes))
        .With("file", file)
        .NextStep("Restore the file from a backup.");
  }
  Vmx vmx;
  if (absl::StartsWith(text, kBom)) {
    vmx.bom_ = std::string(kBom);
    text.remove_prefix(kBom.size());
  }
  const size_t first_end = text.find('\n');
  if (first_end != absl::string_view::npos && first_end > 0 && text[first_end - 1] == '\r') {
    vmx.line_end_ = "\r\n";
  }
  for (size_t number = 1; !text.empty(); ++number) {
    if (number > kMaxLines) {
      return LineError(file, number, absl::StrCat("more than ", kMaxLines, " lines"));
    }
    const size_t end = text.find('\n');
    const absl::string_view raw = text.substr(0, end == absl::string_view::npos ? end : end + 1);
    KS_RETURN_IF_ERROR(vmx.AddLine(raw, number, file));
    text.remove_prefix(raw.size());
  }
  return vmx;
}

absl::Status Vmx::AddLine(absl::string_view raw, size_t number, absl::string_view file) {
  if (raw.size() > kMaxLineBytes) {
    return LineError(file, number, absl::StrCat("longer than ", kMaxLineBytes, " bytes"));
  }
  if (raw.find('\0') != absl::string_view::npos) return LineError(file, number, "a NUL byte");
  Line line;
  line.raw = std::string(raw);
  absl::string_view rest = raw;
  while (!rest.empty() && (rest.back() == '\n' || rest.back() == '\r')) rest.remove_suffix(1);
  rest = SkipBlanks(rest);
  if (rest.empty() || rest.front() == '#') {
    lines_.push_back(std::move(line));
    return absl::OkStatus();
  }
  const size_t name_end = rest.find_first_of(" \t=#\"");
  line.name = std::string(rest.substr(0, name_end));
  if (line.name.size() > kMaxNameBytes) return LineError(file, number, "the name is too long");
  rest = SkipBlanks(name_end == absl::string_view::npos ? "" : rest.substr(name_end));
  if (line.name.empty() || rest.empty() || rest.front() != '=') {
    return LineError(file, number, "not of the form name = \"value\"");
  }
  rest = SkipBlanks(rest.substr(1));
  if (!rest.empty() && rest.front() == '"') {
    const size_t close = rest.find('"', 1);
    if (close == absl::string_view::npos) return LineError(file, number, "no closing quote");
    line.value = UnescapeVmx(rest.substr(1, close - 1));
    rest = SkipBlanks(rest.substr(close + 1));
    if (!rest.empty() && rest.front() != '#') {
      return LineError(file, number, "text after the closing quote");
    }
  } else {
    const absl::string_view value = rest.substr(0, rest.find('#'));
    if (value.find('"') != absl::string_view::npos) {
      return LineError(file, number, "a quote inside an unquoted value");
    }
    line.value = UnescapeVmx(absl::StripAsciiWhitespace(value));
  }
  if (!index_.emplace(absl::AsciiStrToLower(line.name), lines_.size()).second) {
    return LineError(file, number, absl::StrCat("second entry of ", status::Quote(line.name)));
  }
  lines_.push_back(std::move(line));
  return absl::OkStatus();
}

std::string Vmx::Serialize() const {
  std::string text = bom_;
  for (const Line& line : lines_) text += line.raw;
  return text;
}

const std::string* Vmx::Find(absl::string_view name) const {
  const auto found = index_.find(absl::AsciiStrToLower(name));
  return found == index_.end() ? nullptr : &lines_[found->second].value;
}

std::string Vmx::Get(absl::string_view name, absl::string_view otherwise) const {
  const std::string* const value = Find(name);
  return value != nullptr ? *value : std::string(otherwise);
}

bool Vmx::GetBool(absl::string_view name, bool otherwise) const {
  const std::string* const value = Find(name);
  if (value == nullptr || value->empty()) return otherwise;
  for (const char* const yes : {"true", "yes", "on", "1"}) {
    if (absl::EqualsIgnoreCase(*value, yes)) return true;
  }
  return false;
}

void Vmx::Set(absl::string_view name, absl::string_view value) {
  const auto found = index_.find(absl::AsciiStrToLower(name));
  if (found != index_.end()) {
    Line& line = lines_[found->second];
    if (line.value == value) return;
    line.raw = absl::StrCat(line.name, " = \"", EscapeVmx(value), "\"", line_end_);
    line.value = std::string(value);
    return;
  }
  if (!lines_.empty() && !absl::EndsWith(lines_.back().raw, "\n")) lines_.back().raw += line_end_;
  Line line;
  line.name = std::string(name);
  line.value = std::string(value);
  line.raw = absl::StrCat(name, " = \"", EscapeVmx(value), "\"", line_end_);
  index_.emplace(absl::AsciiStrToLower(name), lines_.size());
  lines_.push_back(std::move(line));
}

bool Vmx::Erase(absl::string_view name) {
  const auto found = index_.find(absl::AsciiStrToLower(name));
  if (found == index_.end()) return false;
  lines_.erase(lines_.begin() + found->second);
  Reindex();
  return true;
}

void Vmx::Reindex() {
  index_.clear();
  for (size_t i = 0; i < lines_.size(); ++i) {
    if (!lines_[i].name.empty()) index_.emplace(absl::AsciiStrToLower(lines_[i].name), i);
  }
}

std::vector<std::string> Vmx::Names() const {
  std::vector<std::string> names;
  for (const Line& line : lines_) {
    if (!line.name.empty()) names.push_back(line.name);
  }
  return names;
}

}  // namespace keysphere::hostagent::vm
