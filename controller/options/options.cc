#include "controller/options/options.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::controller::options {
namespace {

constexpr char kPrefix[] = "option/";

struct Spec {
  const char* name;
  const char* description;
  const char* default_value;
  bool is_boolean;
  int64_t minimum;
  int64_t maximum;
};

constexpr Spec kSpecs[] = {
    {kBackupCheckInterval,
     "Minutes between reminders of native key providers without a backup, 1 to 10080.", "1440",
     false, 1, 10'080},
    {kExportTokenExpiry, "Seconds that the token of an export is good for, 1 to 3600.", "300",
     false, 1, 3'600},
    {kRemediationInterval, "Minutes between passes of the remediation loop, 1 to 1440.", "5", false,
     1, 1'440},
    {kKmsStatusInterval, "Minutes between checks of key servers, 1 to 1440.", "5", false, 1, 1'440},
    {kCertificateThreshold,
     "Days before the end of a certificate of a key server that it is warned of, 1 to 365.", "30",
     false, 1, 365},
    {kNewHostKeyIfMissing,
     "Whether a host whose host key cannot be had gets a new one, true or false.", "true", true, 0,
     0},
};

const Spec* Find(absl::string_view name) {
  for (const Spec& spec : kSpecs) {
    if (name == spec.name) return &spec;
  }
  return nullptr;
}

absl::Status NoOption(absl::string_view name) {
  return status::Error(v1::REASON_NOT_FOUND, absl::StrCat("no option ", status::Quote(name)))
      .Object("option", name)
      .NextStep("List the options.");
}

// The value in its one spelling.
absl::StatusOr<std::string> Normalise(const Spec& spec, absl::string_view value) {
  if (spec.is_boolean) {
    const std::string lower = absl::AsciiStrToLower(value);
    if (lower == "true" || lower == "false") return lower;
    return status::Error(
               v1::REASON_INVALID_ARGUMENT,
               absl::StrCat("value: ", spec.name, " is true or false, not ", status::Quote(value)))
        .Object("option", spec.name);
  }
  bool digits = !value.empty() && value.size() <= 18;
  for (const char c : value) digits = digits && absl::ascii_isdigit(static_cast<unsigned char>(c));
  int64_t number = 0;
  if (!digits || !absl::SimpleAtoi(value, &number) || number < spec.minimum ||
      number > spec.maximum) {
    return status::Error(v1::REASON_INVALID_ARGUMENT,
                         absl::StrCat("value: ", spec.name, " is a number from ", spec.minimum,
                                      " to ", spec.maximum, ", not ", status::Quote(value)))
        .Object("option", spec.name);
  }
  return absl::StrCat(number);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Options>> Options::Load(store::Store* store,
                                                       executor::Strand* strand) {
  auto options = std::unique_ptr<Options>(new Options(store, strand));
  for (const Spec& spec : kSpecs) {
    KS_ASSIGN_OR_RETURN(const absl::optional<store::Entry> entry,
                        store->Get(absl::StrCat(kPrefix, spec.name)));
    if (!entry.has_value()) continue;
    const absl::StatusOr<std::string> value = Normalise(spec, entry->value);
    if (!value.ok()) {
      return status::Error(v1::REASON_STORE_CORRUPT,
                           absl::StrCat("the stored option ", spec.name, " is out of its range"));
    }
    options->values_[spec.name] = *value;
  }
  return options;
}

int64_t Options::Integer(absl::string_view name) const {
  int64_t number = 0;
  KS_CHECK(absl::SimpleAtoi(Describe(name).value(), &number));
  return number;
}

bool Options::Boolean(absl::string_view name) const { return Describe(name).value() == "true"; }

v1::Option Options::Describe(absl::string_view name) const {
  const Spec* const spec = Find(name);
  KS_CHECK(spec != nullptr);
  const auto it = values_.find(name);
  v1::Option option;
  option.set_name(spec->name);
  option.set_value(it == values_.end() ? spec->default_value : it->second);
  option.set_default_value(spec->default_value);
  option.set_description(spec->description);
  return option;
}

void Options::OnChange(absl::string_view name, std::function<void()> listener) {
  KS_CHECK(Find(name) != nullptr);
  listeners_[std::string(name)].push_back(std::move(listener));
}

void Options::GetOption(const access::Caller&, const v1::GetOptionRequest& request,
                        status::Callback<v1::Option> done) {
  if (Find(request.name()) == nullptr) return done(NoOption(request.name()));
  done(Describe(request.name()));
}

void Options::ListOptions(const access::Caller&, const v1::ListOptionsRequest&,
                          status::Callback<v1::ListOptionsResponse> done) {
  v1::ListOptionsResponse response;
  for (const Spec& spec : kSpecs) *response.add_options() = Describe(spec.name);
  done(std::move(response));
}

void Options::SetOption(const access::Caller&, const v1::SetOptionRequest& request,
                        status::Callback<v1::Option> done) {
  const Spec* const spec = Find(request.name());
  if (spec == nullptr) return done(NoOption(request.name()));
  absl::StatusOr<std::string> value = Normalise(*spec, request.value());
  if (!value.ok()) return done(value.status());
  const std::string name = request.name();
  changes_.Run(
      [this, name, value = *std::move(value)]() -> absl::StatusOr<changes::Change> {
        changes::Change change;
        if (Describe(name).value() == value) return change;
        change.transaction.Put(absl::StrCat(kPrefix, name), value);
        change.apply = [this, name, value](store::Revision) {
          values_[name] = value;
          for (const auto& listener : listeners_[name]) listener();
        };
        return change;
      },
      [this, name, done = std::move(done)](const absl::StatusOr<store::Revision>& result) mutable {
        if (!result.ok()) return done(result.status());
        done(Describe(name));
      });
}

}  // namespace keysphere::controller::options
