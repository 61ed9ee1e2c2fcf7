#ifndef KEYSPHERE_HOSTAGENT_AGENT_PROCESS_STATS_H_
#define KEYSPHERE_HOSTAGENT_AGENT_PROCESS_STATS_H_

#include <cstdint>

namespace keysphere::hostagent::agent {

// What the kernel says about this process; 0 where it does not.
struct ProcessStats {
  int32_t threads = 0;
  // Anonymous of smaps_rollup: memory that is this process' own.
  int64_t anonymous_bytes = 0;
};
ProcessStats ReadProcessStats();

}  // namespace keysphere::hostagent::agent

#endif  // KEYSPHERE_HOSTAGENT_AGENT_PROCESS_STATS_H_
