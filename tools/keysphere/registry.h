#ifndef KEYSPHERE_TOOLS_KEYSPHERE_REGISTRY_H_
#define KEYSPHERE_TOOLS_KEYSPHERE_REGISTRY_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keysphere::cli {

// Which clusters of this user run, so that a command finds the newest without being told: one note
// a cluster in a folder that nobody else can write.
class Registry {
 public:
  // $XDG_RUNTIME_DIR/keysphere, else /tmp/keysphere-UID. Made when first written to.
  static Registry ForUser(const std::function<std::string(const std::string&)>& variable);
  explicit Registry(std::string folder) : folder_(std::move(folder)) {}

  // `pid` is the simulator's.
  absl::Status Note(const std::string& cluster_dir, pid_t pid) const;
  void Forget(pid_t pid) const;
  // The folder of the newest cluster whose simulator runs; forgets the others. NOT_FOUND: none.
  absl::StatusOr<std::string> Newest() const;

 private:
  std::string folder_;
};

// When the process began, in clock ticks since the machine did; empty if it is gone. Together with
// the pid it names one process for ever.
std::string StartOfProcess(pid_t pid);

}  // namespace keysphere::cli

#endif  // KEYSPHERE_TOOLS_KEYSPHERE_REGISTRY_H_
