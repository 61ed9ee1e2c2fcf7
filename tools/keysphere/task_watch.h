#ifndef KEYSPHERE_TOOLS_KEYSPHERE_TASK_WATCH_H_
#define KEYSPHERE_TOOLS_KEYSPHERE_TASK_WATCH_H_

#include "keysphere/v1/tasks.pb.h"
#include "tools/keysphere/session.h"

namespace keysphere::cli {

// Follows a task to its end, with a line of progress on a terminal, and prints it. The task's
// error if it failed. `wait` false: prints it as it is.
absl::Status FollowTask(Session* session, const Session::ChannelPtr& channel, const v1::Task& task,
                        bool wait);

// What a task failed with, as if the call itself had been refused with it.
absl::Status ErrorOfTask(const v1::Task& task);

absl::Status ShowTask(Session* session, const v1::Task& task);

}  // namespace keysphere::cli

#endif  // KEYSPHERE_TOOLS_KEYSPHERE_TASK_WATCH_H_
