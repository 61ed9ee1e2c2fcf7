#include "kmip/net/loop.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "common/status/status.h"

namespace keysphere::kmip::net {
namespace {

constexpr Loop::WatchId kWakeup = 0;
constexpr int kEventsAtOnce = 64;

}  // namespace

absl::StatusOr<std::unique_ptr<Loop>> Loop::Create() {
  files::Descriptor epoll(epoll_create1(EPOLL_CLOEXEC));
  files::Descriptor wakeup(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = kWakeup;
  if (!epoll.valid() || !wakeup.valid() ||
      epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wakeup.get(), &event) != 0) {
    return status::Error(v1::REASON_INTERNAL, "no event loop: out of file descriptors");
  }
  return std::unique_ptr<Loop>(new Loop(std::move(epoll), std::move(wakeup)));
}

Loop::Loop(files::Descriptor epoll, files::Descriptor wakeup)
    : epoll_(std::move(epoll)), wakeup_(std::move(wakeup)), thread_([this] { Run(); }) {}

Loop::~Loop() {
  {
    sync::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  Post([] {});
  thread_.join();
}

void Loop::Post(Task task) {
  bool first;
  {
    sync::MutexLock lock(&mutex_);
    first = tasks_.empty();
    tasks_.push_back(std::move(task));
  }
  // On its own thread the loop looks for tasks before it waits.
  if (!first || IsCurrent()) return;
  const uint64_t one = 1;
  // It fails only when the counter is full: the loop is awake then.
  const ssize_t written = write(wakeup_.get(), &one, sizeof(one));
  (void)written;
}

void Loop::RunAndWait(Task task) {
  sync::Mutex mutex;
  sync::CondVar ended;
  bool done = false;
  Post([&] {
    task();
    sync::MutexLock lock(&mutex);
    done = true;
    ended.SignalAll();
  });
  sync::MutexLock lock(&mutex);
  while (!done) ended.Wait(&mutex);
}

bool Loop::HasTasks() {
  sync::MutexLock lock(&mutex_);
  return !tasks_.empty();
}

bool Loop::RunTasks() {
  std::vector<Task> tasks;
  {
    sync::MutexLock lock(&mutex_);
    tasks.swap(tasks_);
  }
  for (Task& task : tasks) {
    task();
    task = nullptr;  // what it holds goes before the next one runs
  }
  return !tasks.empty();
}

void Loop::Run() {
  // Writing to a socket whose peer has gone is an error, not the end of the process.
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  epoll_event events[kEventsAtOnce];
  while (true) {
    const int count = epoll_wait(epoll_.get(), events, kEventsAtOnce, HasTasks() ? 0 : -1);
    KS_CHECK(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; ++i) {
      // A copy: the kernel's structure is packed, and nothing can refer into it.
      const uint64_t id = events[i].data.u64;
      if (id == kWakeup) {
        uint64_t ignored;
        const ssize_t read_bytes = read(wakeup_.get(), &ignored, sizeof(ignored));
        (void)read_bytes;
        continue;
      }
      // A handler may have ended another's watch.
      const auto found = handlers_.find(id);
      if (found != handlers_.end()) found->second->OnReady(events[i].events);
    }
    RunTasks();
    bool stopping;
    {
      sync::MutexLock lock(&mutex_);
      stopping = stopping_;
    }
    if (!stopping) continue;
    while (RunTasks()) {
    }
    return;
  }
}

Loop::WatchId Loop::Watch(int fd, uint32_t events, Handler* handler) {
  const WatchId id = ++last_id_;
  epoll_event event = {};
  event.events = events;
  event.data.u64 = id;
  KS_CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
  handlers_[id] = handler;
  return id;
}

void Loop::Change(WatchId id, int fd, uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = id;
  KS_CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0);
}

void Loop::Unwatch(WatchId id, int fd) {
  if (handlers_.erase(id) == 0) return;
  KS_CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr) == 0);
}

}  // namespace keysphere::kmip::net
