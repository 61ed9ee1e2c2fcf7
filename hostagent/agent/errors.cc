#include "hostagent/agent/errors.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/status/detail.h"
#include "common/status/status.h"

namespace keysphere::hostagent::agent {
absl::Status About(const absl::Status& status, absl::string_view kind, absl::string_view name) {
  if (status.ok()) return status;
  v1::ErrorDetail detail = status::DetailOf(status);
  if (!detail.object().empty()) return status;
  detail.set_object(absl::StrCat(kind, "/", name));
  return status::FromDetail(status.message(), detail);
}

absl::Status FilesRefusal(const absl::Status& problem) {
  if (problem.ok()) return problem;
  v1::ErrorDetail detail = status::DetailOf(problem);
  std::string first(absl::StripSuffix(detail.next_step(), "."));
  if (first.empty()) first = "Make the VM's files whole again";
  first[0] = absl::ascii_toupper(first[0]);
  detail.set_next_step(absl::StrCat(first, ", then reload the VM (keysphere vm reload)."));
  return status::FromDetail(problem.message(), detail);
}

absl::Status Edited(const absl::Status& status,
                    absl::FunctionRef<std::string(const std::string&)> edit) {
  if (status.ok()) return status;
  v1::ErrorDetail detail = status::DetailOf(status);
  detail.set_object(edit(detail.object()));
  detail.set_next_step(edit(detail.next_step()));
  for (auto& entry : *detail.mutable_metadata()) entry.second = edit(entry.second);
  return status::FromDetail(edit(std::string(status.message())), detail);
}

}  // namespace keysphere::hostagent::agent
