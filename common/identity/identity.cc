#include "common/identity/identity.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/status/status.h"

namespace keysphere::identity {
namespace {

constexpr size_t kMaxName = 80;
constexpr size_t kMaxTrustDomain = 255;
constexpr size_t kMaxDnsLabel = 63;
constexpr absl::string_view kScheme = "spiffe://";

bool IsUnreserved(char c) {
  return absl::ascii_isalnum(c) || c == '.' || c == '-' || c == '_' || c == '~';
}

bool IsTrustDomain(absl::string_view domain) {
  if (domain.empty() || domain.size() > kMaxTrustDomain) return false;
  for (const char c : domain) {
    if (!absl::ascii_islower(c) && !absl::ascii_isdigit(c) && c != '.' && c != '-' && c != '_') {
      return false;
    }
  }
  return true;
}

bool IsName(absl::string_view name) {
  if (name.empty() || name.size() > kMaxName) return false;
  for (const char c : name) {
    if (absl::ascii_iscntrl(c)) return false;
  }
  return true;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// False: not as ToUri encodes it. One form only, so that equal URIs are equal identities.
bool Decode(absl::string_view encoded, std::string* name) {
  for (size_t i = 0; i < encoded.size(); ++i) {
    if (IsUnreserved(encoded[i])) {
      name->push_back(encoded[i]);
      continue;
    }
    if (encoded[i] != '%' || i + 2 >= encoded.size()) return false;
    const int high = HexDigit(encoded[i + 1]);
    const int low = HexDigit(encoded[i + 2]);
    if (high < 0 || low < 0) return false;
    const char c = static_cast<char>(high * 16 + low);
    if (IsUnreserved(c)) return false;
    name->push_back(c);
    i += 2;
  }
  return true;
}

}  // namespace

absl::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kController:
      return "controller";
    case Kind::kHost:
      return "host";
    case Kind::kUser:
      return "user";
    case Kind::kKms:
      return "kms";
  }
  return "user";
}

absl::StatusOr<Identity> Identity::Create(absl::string_view trust_domain, Kind kind,
                                          absl::string_view name) {
  if (!IsTrustDomain(trust_domain)) {
    return status::Error(
        v1::REASON_INVALID_NAME,
        absl::StrCat("not a trust domain (1-255 of a-z 0-9 . - _): ", status::Quote(trust_domain)));
  }
  if (!IsName(name)) {
    return status::Error(
        v1::REASON_INVALID_NAME,
        absl::StrCat("not a name (1-80 characters, no control characters): ", status::Quote(name)));
  }
  return Identity{std::string(trust_domain), kind, std::string(name)};
}

absl::StatusOr<Identity> Identity::Parse(absl::string_view uri) {
  const absl::Status malformed =
      status::Error(v1::REASON_CERT_UNTRUSTED,
                    absl::StrCat("not a URI spiffe://DOMAIN/{controller,host,user,kms}/NAME: ",
                                 status::Quote(uri)));
  absl::string_view rest = uri;
  if (!absl::ConsumePrefix(&rest, kScheme)) return malformed;
  const size_t domain_end = rest.find('/');
  if (domain_end == absl::string_view::npos) return malformed;
  const absl::string_view domain = rest.substr(0, domain_end);
  rest.remove_prefix(domain_end + 1);
  for (const Kind kind : {Kind::kController, Kind::kHost, Kind::kUser, Kind::kKms}) {
    absl::string_view encoded = rest;
    if (!absl::ConsumePrefix(&encoded, absl::StrCat(KindName(kind), "/"))) continue;
    std::string name;
    if (!Decode(encoded, &name) || !IsName(name) || !IsTrustDomain(domain)) return malformed;
    return Identity{std::string(domain), kind, std::move(name)};
  }
  return malformed;
}

std::string Identity::ToUri() const {
  std::string uri = absl::StrCat(kScheme, trust_domain, "/", KindName(kind), "/");
  for (const char c : name) {
    if (IsUnreserved(c)) {
      uri.push_back(c);
    } else {
      absl::StrAppend(&uri, "%",
                      absl::AsciiStrToUpper(
                          absl::StrCat(absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2))));
    }
  }
  return uri;
}

std::string Identity::DnsName() const {
  std::string label;
  for (const char c : name) {
    if (label.size() == kMaxDnsLabel) break;
    label.push_back(absl::ascii_isalnum(c) ? absl::ascii_tolower(c) : '-');
  }
  // A label neither begins nor ends with "-".
  while (!label.empty() && label.back() == '-') label.pop_back();
  const size_t start = label.find_first_not_of('-');
  label = start == std::string::npos ? "x" : label.substr(start);
  return absl::StrCat(label, ".keysphere.test");
}

}  // namespace keysphere::identity
