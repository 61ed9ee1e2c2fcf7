#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/status/detail.h"
#include "common/status/status.h"
#include "keysphere/v1/tasks.grpc.pb.h"
#include "tools/keysphere/commands.h"
#include "tools/keysphere/task_watch.h"

namespace keysphere::cli {
namespace {

using Tasks = v1::Tasks;
using Stub = Tasks::Stub;

std::string StateOf(const v1::Task& task) {
  return EnumWord(v1::Task::State_Name(task.state()), "STATE_");
}

}  // namespace

absl::Status ErrorOfTask(const v1::Task& task) {
  v1::ErrorDetail detail = task.error();
  if (detail.object().empty()) detail.set_object(task.object());
  return status::FromDetail(task.error_message(), detail);
}

absl::Status ShowTask(Session* session, const v1::Task& task) {
  return session->Show(task, [session](const v1::Task& shown) {
    Fields fields;
    fields.Add("task", shown.id())
        .Add("operation", shown.operation())
        .Add("object", shown.object())
        .Add("state", StateOf(shown))
        .Add("progress", absl::StrCat(shown.progress_percent(), " %"))
        .Add("started", FormatTimestamp(shown.start_time()))
        .Add("ended", FormatTimestamp(shown.end_time()))
        .Add("user", shown.user());
    if (shown.state() == v1::Task::STATE_FAILED) {
      fields.Add("error", absl::StrCat(ReasonWord(v1::Reason_Name(shown.error().reason())), ": ",
                                       shown.error_message()));
    }
    fields.Print(session->out());
  });
}

absl::Status FollowTask(Session* session, const Session::ChannelPtr& channel, const v1::Task& task,
                        bool wait) {
  if (!wait) return ShowTask(session, task);
  v1::Task last = task;
  const bool draw = session->environment().terminal && !session->json();
  if (task.state() == v1::Task::STATE_RUNNING) {
    v1::WatchTaskRequest request;
    request.set_id(task.id());
    const absl::Status watched = session->ReadStream<Tasks>(
        channel, &Stub::async::WatchTask, request, [&](const v1::Task& update) {
          last = update;
          if (draw) {
            session->err() << '\r' << update.operation() << ' ' << Printable(update.object()) << ' '
                           << update.progress_percent() << " % " << std::flush;
          }
          return update.state() == v1::Task::STATE_RUNNING;
        });
    // Leaves no trace of the line.
    if (draw) session->err() << "\r\x1b[K" << std::flush;
    KS_RETURN_IF_ERROR(watched);
  }
  if (last.state() == v1::Task::STATE_FAILED) return ErrorOfTask(last);
  return session->Show(last, [session](const v1::Task& shown) {
    session->Say(shown.operation(), " ", shown.object(), ": ", StateOf(shown));
  });
}

void AddTaskCommands(Command* root) {
  Command group = root->Sub("task", "Long work of a vCenter", "task list");
  Command list = group.Sub("list", "List the tasks, the newest first", "task list");
  list.Run([](Session* session) -> absl::Status {
    v1::ListTasksRequest request;
    request.set_page_size(100);
    KS_ASSIGN_OR_RETURN(const v1::ListTasksResponse response,
                        session->Ask<Tasks>(&Stub::async::ListTasks, request));
    return session->Show(response, [session](const v1::ListTasksResponse& shown) {
      Table table({"ID", "OPERATION", "OBJECT", "STATE", "PROGRESS", "STARTED", "USER"});
      for (const v1::Task& task : shown.tasks()) {
        table.Add({task.id(), task.operation(), task.object(), StateOf(task),
                   absl::StrCat(task.progress_percent(), " %"), FormatTimestamp(task.start_time()),
                   task.user()});
      }
      table.Print(session->out());
    });
  });
  auto id = std::make_shared<std::string>();
  Command show = group.Sub("show", "Show a task", "task show 41");
  show.Argument(id.get(), "ID", "the task");
  show.Run([id](Session* session) -> absl::Status {
    v1::GetTaskRequest request;
    request.set_id(*id);
    KS_ASSIGN_OR_RETURN(const v1::Task task, session->Ask<Tasks>(&Stub::async::GetTask, request));
    return ShowTask(session, task);
  });
  Command watch = group.Sub("watch", "Follow a task to its end", "task watch 41");
  watch.Argument(id.get(), "ID", "the task");
  watch.Run([id](Session* session) -> absl::Status {
    KS_ASSIGN_OR_RETURN(const Session::ChannelPtr channel, session->Controller());
    v1::GetTaskRequest request;
    request.set_id(*id);
    KS_ASSIGN_OR_RETURN(const v1::Task task,
                        session->AskAt<Tasks>(channel, &Stub::async::GetTask, request));
    return FollowTask(session, channel, task, true);
  });
  Command cancel = group.Sub("cancel", "Ask a task to stop", "task cancel 41");
  cancel.Argument(id.get(), "ID", "the task");
  cancel.Run([id](Session* session) -> absl::Status {
    v1::CancelTaskRequest request;
    request.set_id(*id);
    KS_ASSIGN_OR_RETURN(const v1::Task task,
                        session->Ask<Tasks>(&Stub::async::CancelTask, request));
    return ShowTask(session, task);
  });
}

}  // namespace keysphere::cli
