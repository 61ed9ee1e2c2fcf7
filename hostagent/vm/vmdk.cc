#include "hostagent/vm/vmdk.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status/status.h"

namespace keysphere::hostagent::vm {
namespace {

constexpr absl::string_view kHeader = "# Disk DescriptorFile";
constexpr absl::string_view kNoParent = "ffffffff";

absl::Status LineError(absl::string_view file, size_t number, absl::string_view what) {
  return status::Error(v1::REASON_VM_FILE_INVALID,
                       absl::StrCat(status::Quote(file), " line ", number, ": ", what))
      .With("file", file)
      .With("line", absl::StrCat(number))
      .NextStep("Restore the disk's descriptor from a backup, or correct the line.");
}

// The next word; advances `rest` behind it.
absl::string_view TakeWord(absl::string_view& rest) {
  rest = absl::StripLeadingAsciiWhitespace(rest);
  const absl::string_view word = rest.substr(0, rest.find_first_of(" \t"));
  rest.remove_prefix(word.size());
  return word;
}

bool IsAccess(absl::string_view word) {
  return word == "RW" || word == "RDONLY" || word == "NOACCESS";
}

absl::StatusOr<VmdkExtent> ParseExtent(absl::string_view text, absl::string_view file,
                                       size_t number) {
  VmdkExtent extent;
  extent.access = std::string(TakeWord(text));
  const absl::string_view sectors = TakeWord(text);
  if (!absl::SimpleAtoi(sectors, &extent.sectors) || extent.sectors > kMaxDiskSectors) {
    return LineError(file, number, absl::StrCat("extent size ", status::Quote(sectors)));
  }
  extent.type = std::string(TakeWord(text));
  if (extent.type.empty()) return LineError(file, number, "an extent without a type");
  text = absl::StripAsciiWhitespace(text);
  if (extent.type == "ZERO" && text.empty()) return extent;
  const size_t close = text.empty() ? absl::string_view::npos : text.find('"', 1);
  if (text.empty() || text.front() != '"' || close == absl::string_view::npos) {
    return LineError(file, number, "an extent without a quoted file name");
  }
  extent.file = std::string(text.substr(1, close - 1));
  if (!IsPlainFileName(extent.file)) {
    return LineError(
        file, number,
        absl::StrCat("extent ", status::Quote(extent.file), " is no file name in the VM's folder"));
  }
  text = absl::StripAsciiWhitespace(text.substr(close + 1));
  if (!text.empty() && !absl::SimpleAtoi(text, &extent.offset_sectors)) {
    return LineError(file, number, absl::StrCat("extent offset ", status::Quote(text)));
  }
  return extent;
}

}  // namespace

bool IsPlainFileName(absl::string_view name) {
  if (name.empty() || name.size() > 255 || name == "." || name == "..") return false;
  for (const char c : name) {
    if (c == '/' || static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return false;
  }
  return true;
}

Vmdk Vmdk::New(absl::string_view flat_file, uint64_t sectors, uint32_t cid,
               absl::string_view uuid) {
  const uint64_t cylinders = sectors / (255 * 63);
  const std::string text = absl::StrFormat(
      "# Disk DescriptorFile\n"
      "version=1\n"
      "encoding=\"UTF-8\"\n"
      "CID=%08x\n"
      "parentCID=ffffffff\n"
      "createType=\"vmfs\"\n"
      "\n"
      "# Extent description\n"
      "RW %d VMFS \"%s\"\n"
      "\n"
      "# The Disk Data Base\n"
      "#DDB\n"
      "\n"
      "ddb.adapterType = \"lsilogic\"\n"
      "ddb.geometry.cylinders = \"%d\"\n"
      "ddb.geometry.heads = \"255\"\n"
      "ddb.geometry.sectors = \"63\"\n"
      "ddb.uuid = \"%s\"\n"
      "ddb.virtualHWVersion = \"19\"\n",
      cid, sectors, flat_file, cylinders, uuid);
  absl::StatusOr<Vmdk> vmdk = Parse(text, flat_file);
  KS_CHECK(vmdk.ok());
  return *std::move(vmdk);
}

absl::StatusOr<Vmdk> Vmdk::Parse(absl::string_view text, absl::string_view file) {
  if (absl::StartsWith(text, "KDMV") || absl::StartsWith(text, "COWD")) {
    return status::Error(v1::REASON_UNSUPPORTED,
                         absl::StrCat(status::Quote(file), " is a sparse .vmdk, not a descriptor"))
        .With("file", file)
        .NextStep("Convert the disk to a flat one (vmkfstools, qemu-img -O raw) first.");
  }
  if (text.size() > kMaxFileBytes) {
    return status::Error(v1::REASON_VM_FILE_INVALID,
                         absl::StrCat(status::Quote(file), " has ", text.size(),
                                      " bytes; a descriptor has at most ", kMaxFileBytes))
        .With("file", file);
  }
  Vmdk vmdk;
  bool header = false;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const absl::string_view raw = text.substr(0, end == absl::string_view::npos ? end : end + 1);
    text.remove_prefix(raw.size());
    if (raw.find('\0') != absl::string_view::npos) return LineError(file, number, "a NUL byte");
    Line line;
    line.raw = std::string(raw);
    const absl::string_view rest = absl::StripAsciiWhitespace(raw);
    if (!header && !rest.empty()) {
      header = absl::EqualsIgnoreCase(rest, kHeader);
      if (!header) return LineError(file, number, "not a disk descriptor");
    }
    if (!rest.empty() && rest.front() != '#') {
      absl::string_view words = rest;
      const size_t equals = rest.find('=');
      if (IsAccess(TakeWord(words))) {
        KS_ASSIGN_OR_RETURN(VmdkExtent extent, ParseExtent(rest, file, number));
        vmdk.extents_.push_back(std::move(extent));
        if (vmdk.extents_.size() > kMaxExtents) return LineError(file, number, "too many extents");
      } else if (equals == absl::string_view::npos || equals == 0) {
        return LineError(file, number, "neither name=value nor an extent");
      } else {
        line.name = std::string(absl::StripAsciiWhitespace(rest.substr(0, equals)));
        absl::string_view value = absl::StripAsciiWhitespace(rest.substr(equals + 1));
        if (!value.empty() && value.front() == '"') {
          if (value.size() < 2 || value.back() != '"') {
            return LineError(file, number, "no closing quote");
          }
          value = value.substr(1, value.size() - 2);
        }
        line.value = std::string(value);
        if (vmdk.Find(line.name) != nullptr) {
          return LineError(file, number,
                           absl::StrCat("second entry of ", status::Quote(line.name)));
        }
      }
    }
    vmdk.lines_.push_back(std::move(line));
  }
  if (!header) return LineError(file, 1, "not a disk descriptor");
  if (vmdk.extents_.empty()) return LineError(file, vmdk.lines_.size(), "no extent");
  if (vmdk.Sectors() > kMaxDiskSectors) return LineError(file, 1, "larger than 62 TB");
  return vmdk;
}

std::string Vmdk::Serialize() const {
  std::string text;
  for (const Line& line : lines_) text += line.raw;
  return text;
}

const std::string* Vmdk::Find(absl::string_view name) const {
  for (const Line& line : lines_) {
    if (!line.name.empty() && absl::EqualsIgnoreCase(line.name, name)) return &line.value;
  }
  return nullptr;
}

std::string Vmdk::Get(absl::string_view name) const {
  const std::string* const value = Find(name);
  return value != nullptr ? *value : std::string();
}

void Vmdk::Set(absl::string_view name, absl::string_view value) {
  // As VMware writes them: the disk data base with blanks, the header without.
  const absl::string_view equals = absl::StartsWith(name, "ddb.") ? " = " : "=";
  Line line;
  line.name = std::string(name);
  line.value = std::string(value);
  line.raw = absl::StrCat(name, equals, "\"", value, "\"\n");
  size_t after_header = 0;
  for (size_t i = 0; i < lines_.size(); ++i) {
    if (lines_[i].name.empty()) continue;
    if (absl::EqualsIgnoreCase(lines_[i].name, name)) {
      if (lines_[i].value != value) lines_[i] = std::move(line);
      return;
    }
    if (!absl::StartsWith(lines_[i].name, "ddb.")) after_header = i + 1;
  }
  if (absl::StartsWith(name, "ddb.") || after_header == 0) {
    if (!lines_.empty() && !absl::EndsWith(lines_.back().raw, "\n")) lines_.back().raw += "\n";
    lines_.push_back(std::move(line));
  } else {
    std::string& before = lines_[after_header - 1].raw;
    if (!absl::EndsWith(before, "\n")) before += "\n";
    lines_.insert(lines_.begin() + after_header, std::move(line));
  }
}

bool Vmdk::Erase(absl::string_view name) {
  for (size_t i = 0; i < lines_.size(); ++i) {
    if (!lines_[i].name.empty() && absl::EqualsIgnoreCase(lines_[i].name, name)) {
      lines_.erase(lines_.begin() + i);
      return true;
    }
  }
  return false;
}

uint64_t Vmdk::Sectors() const {
  uint64_t sectors = 0;
  for (const VmdkExtent& extent : extents_) sectors += extent.sectors;
  return sectors;
}

bool Vmdk::IsSnapshot() const {
  const std::string* const parent = Find("parentCID");
  return parent != nullptr && !absl::EqualsIgnoreCase(*parent, kNoParent);
}

absl::StatusOr<VmdkExtent> Vmdk::FlatExtent(absl::string_view file) const {
  const VmdkExtent& extent = extents_.front();
  if (extents_.size() != 1 || (extent.type != "FLAT" && extent.type != "VMFS") ||
      extent.offset_sectors != 0 || extent.access != "RW" || extent.sectors == 0) {
    return status::Error(v1::REASON_UNSUPPORTED,
                         absl::StrCat("disk ", status::Quote(file), " is not one flat RW extent"))
        .Object("disk", file)
        .NextStep("Convert the disk to one flat extent (createType vmfs or monolithicFlat).");
  }
  return extent;
}

}  // namespace keysphere::hostagent::vm
