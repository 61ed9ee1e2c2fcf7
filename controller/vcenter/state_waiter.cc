#include "controller/vcenter/state_waiter.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status/status.h"
#include "common/status/text.h"

namespace keysphere::controller::vcenter {
namespace {

template <typename Enum>
bool Agrees(Enum wanted, Enum is) {
  return static_cast<int>(wanted) == 0 || wanted == is;
}

const char* Word(v1::PowerState state) {
  switch (state) {
    case v1::POWER_STATE_ON:
      return "on";
    case v1::POWER_STATE_OFF:
      return "off";
    default:
      return "unknown";
  }
}

const char* Word(v1::LockState state) {
  switch (state) {
    case v1::LOCK_STATE_LOCKED:
      return "locked";
    case v1::LOCK_STATE_UNLOCKED:
      return "unlocked";
    default:
      return "not judged";
  }
}

const char* Word(v1::ConnectionState state) {
  switch (state) {
    case v1::CONNECTION_STATE_CONNECTED:
      return "connected";
    case v1::CONNECTION_STATE_NOT_RESPONDING:
      return "not responding";
    case v1::CONNECTION_STATE_DISCONNECTED:
      return "disconnected";
    default:
      return "unknown";
  }
}

std::string Word(v1::CryptoState state) {
  if (state == v1::CRYPTO_STATE_UNSPECIFIED) return "encryption mode unknown";
  return status::EnumWord(v1::CryptoState_Name(state), "CRYPTO_STATE_");
}

}  // namespace

v1::WaitForResponse StateWaiter::Evaluate(const v1::WaitForRequest& request) const {
  v1::WaitForResponse response;
  switch (request.predicate_case()) {
    case v1::WaitForRequest::kVm: {
      const auto& wanted = request.vm();
      const auto found = hosts_->FindVm(wanted.vm(), wanted.host());
      if (!found.ok()) {
        const bool untold = status::ReasonOf(found.status()) == v1::REASON_HOST_NOT_RESPONDING;
        response.set_state(
            absl::StrCat("vm/", wanted.vm(), untold ? ": not told yet" : ": not there"));
        break;
      }
      const bool connected = found->host->connected();
      response.set_holds(connected && Agrees(wanted.power_state(), found->vm.power_state()) &&
                         Agrees(wanted.lock_state(), found->vm.lock_state()));
      response.set_state(absl::StrCat("vm/", wanted.vm(), ": ", Word(found->vm.power_state()), ", ",
                                      Word(found->vm.lock_state()),
                                      connected ? "" : ", its host does not answer"));
      break;
    }
    case v1::WaitForRequest::kHost: {
      const auto& wanted = request.host();
      const auto host = hosts_->Find(wanted.host());
      if (host == nullptr) {
        response.set_state(absl::StrCat("host/", wanted.host(), ": not there"));
        break;
      }
      const bool untold =
          wanted.connection_state() == v1::CONNECTION_STATE_CONNECTED && !host->ready();
      response.set_holds(!untold && Agrees(wanted.connection_state(), host->connection_state()) &&
                         Agrees(wanted.crypto_state(), host->status().crypto_state()) &&
                         (!wanted.boot_complete() || host->status().boot_complete()));
      response.set_state(absl::StrCat("host/", wanted.host(), ": ", Word(host->connection_state()),
                                      ", ", Word(host->status().crypto_state())));
      break;
    }
    case v1::WaitForRequest::kAlarm: {
      const auto& wanted = request.alarm();
      const bool shows = alarms_->Shows(wanted.name(), wanted.object());
      response.set_holds(shows != wanted.absent());
      response.set_state(
          absl::StrCat("alarm on ", wanted.object(), shows ? ": shows" : ": absent"));
      break;
    }
    case v1::WaitForRequest::PREDICATE_NOT_SET:
      break;
  }
  return response;
}

absl::StatusOr<StateWaiter::WaitId> StateWaiter::WaitFor(const v1::WaitForRequest& request,
                                                         Sink sink) {
  if (request.predicate_case() == v1::WaitForRequest::PREDICATE_NOT_SET) {
    return status::Error(v1::REASON_INVALID_ARGUMENT, "WaitFor needs a predicate");
  }
  const WaitId id = next_++;
  const v1::WaitForResponse now = Evaluate(request);
  if (!now.holds()) waits_.emplace(id, Wait{request, sink, now.state()});
  sink(now);
  return id;
}

void StateWaiter::Cancel(WaitId id) { waits_.erase(id); }

void StateWaiter::Look() {
  std::vector<std::pair<Sink, v1::WaitForResponse>> tell;
  for (auto it = waits_.begin(); it != waits_.end();) {
    v1::WaitForResponse now = Evaluate(it->second.request);
    const bool holds = now.holds();
    if (holds || now.state() != it->second.told) {
      it->second.told = now.state();
      tell.emplace_back(it->second.sink, std::move(now));
    }
    it = holds ? waits_.erase(it) : std::next(it);
  }
  for (auto& [sink, response] : tell) sink(response);
}

}  // namespace keysphere::controller::vcenter
