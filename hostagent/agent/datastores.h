#ifndef KEYSPHERE_HOSTAGENT_AGENT_DATASTORES_H_
#define KEYSPHERE_HOSTAGENT_AGENT_DATASTORES_H_

#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keysphere::hostagent::agent {

// Where datastore paths, "[DATASTORE] FOLDER/NAME.vmx", lie on this machine.
class Datastores {
 public:
  // Name -> folder.
  explicit Datastores(std::map<std::string, std::string> folders) : folders_(std::move(folders)) {}

  // The file that `path` means. INVALID_ARGUMENT: not of the form, or it leaves the datastore, also
  // by a link in the place of a folder; NOT_FOUND: no such datastore.
  absl::StatusOr<std::string> Resolve(absl::string_view path) const;

  // The datastore of that name, or the first for an empty name. NOT_FOUND.
  absl::StatusOr<std::string> Choose(absl::string_view name) const;

  // `status` with datastore paths in the place of those of this machine.
  absl::Status Shown(const absl::Status& status) const;

  // The datastore path of `relative` in `datastore`.
  static std::string Format(absl::string_view datastore, absl::string_view relative);

 private:
  const std::map<std::string, std::string> folders_;
};

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_DATASTORES_H_
