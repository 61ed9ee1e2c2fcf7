#include "controller/vcenter/about.h"

#include <google/protobuf/util/time_util.h>

#include "common/crypto/secret_key.h"

namespace keysphere::controller::vcenter {
namespace {

google::protobuf::Timestamp ToProto(absl::Time time) {
  return google::protobuf::util::TimeUtil::NanosecondsToTimestamp(absl::ToUnixNanos(time));
}

}  // namespace

void AboutVCenter::GetAbout(const access::Caller&, const v1::GetAboutRequest&,
                            status::Callback<v1::About> done) {
  v1::About about;
  about.set_name(facts_.name);
  about.set_version(facts_.version);
  about.set_instance_id(facts_.instance_id);
  for (const std::string& name : facts_.dns_names) about.add_dns_names(name);
  *about.mutable_now() = ToProto(clock_->Now());
  if (remediator_->last_pass() != absl::InfinitePast()) {
    *about.mutable_last_pass_time() = ToProto(remediator_->last_pass());
  }
  if (remediator_->next_pass() != absl::InfiniteFuture()) {
    *about.mutable_next_pass_time() = ToProto(remediator_->next_pass());
  }
  about.set_default_provider(providers_->GlobalDefault());
  done(std::move(about));
}

void AboutVCenter::GetStats(const access::Caller&, const v1::GetStatsRequest&,
                            status::Callback<v1::ControllerStats> done) {
  v1::ControllerStats stats;
  stats.set_passes(remediator_->passes());
  for (const auto& host : hosts_->All()) {
    stats.set_hosts(stats.hosts() + 1);
    stats.set_hosts_connected(stats.hosts_connected() + (host->connected() ? 1 : 0));
    stats.set_vms(stats.vms() + static_cast<int64_t>(host->vms().size()));
  }
  stats.set_providers(static_cast<int64_t>(providers_->All().size()));
  const crypto::KeyMemoryStats memory = crypto::GetKeyMemoryStats();
  stats.set_key_memory_used_bytes(static_cast<int64_t>(memory.used_bytes));
  stats.set_key_memory_capacity_bytes(static_cast<int64_t>(memory.capacity_bytes));
  if (facts_.process_figures) facts_.process_figures(&stats);
  done(std::move(stats));
}

}  // namespace keysphere::controller::vcenter
