#include "controller/kms/kms_monitor.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace keysphere::controller::kms {
namespace {

std::string Object(const std::string& provider) { return absl::StrCat("provider/", provider); }

}  // namespace

KmsMonitor::KmsMonitor(Deps deps)
    : deps_(deps),
      periodic_(
          deps.strand, deps.clock,
          [options = deps.options] { return options->KmsStatusInterval(); },
          [this] { CheckAll(); }),
      self_(std::make_shared<KmsMonitor*>(this)) {
  deps_.options->OnChange(options::kKmsStatusInterval, [this] { periodic_.Retime(); });
  deps_.options->OnChange(options::kCertificateThreshold, [this] {
    if (periodic_.running()) CheckAll();
  });
}

KmsMonitor::~KmsMonitor() { *self_ = nullptr; }

void KmsMonitor::CheckAll() {
  const absl::Duration warning = deps_.options->CertificateThreshold();
  for (const std::shared_ptr<KmsCluster>& cluster : deps_.kms->All()) {
    cluster->Check(warning, [self = self_, provider = cluster->provider()] {
      if (*self != nullptr && (*self)->periodic_.running()) (*self)->Tell(provider);
    });
  }
}

int64_t KmsMonitor::Append(absl::string_view type, const std::string& provider,
                           absl::string_view message) {
  v1::Event event;
  event.set_type(std::string(type));
  event.set_object(Object(provider));
  event.set_message(std::string(message));
  (*event.mutable_arguments())["provider"] = provider;
  return deps_.events->Append(std::move(event));
}

void KmsMonitor::Tell(const std::string& provider) {
  const std::shared_ptr<KmsCluster> cluster = deps_.kms->Find(provider);
  if (cluster == nullptr) return;
  const std::string object = Object(provider);
  if (cluster->status() != v1::KMS_STATUS_RED) {
    deps_.alarms->Clear(alarms::kKmsUnreachable, object);
  } else if (!deps_.alarms->Shows(alarms::kKmsUnreachable, object)) {
    const std::string message = absl::StrCat("No server of key provider ", provider,
                                             " can be used: ", cluster->status_reason());
    const int64_t revision = Append(events::kKmsUnreachable, provider, message);
    deps_.alarms->Raise(alarms::kKmsUnreachable, object, v1::Alarm::SEVERITY_RED, message,
                        revision);
  }
  TellServers(*cluster);
  TellClient(*cluster);
}

void KmsMonitor::TellServers(const KmsCluster& cluster) {
  std::vector<std::string> ends;
  for (const auto& [server, end] : cluster.ExpiringServers()) {
    ends.push_back(absl::StrCat(server, " on ", absl::FormatTime(end)));
  }
  TellCertificates(
      cluster.provider(), alarms::kKmsServerCertificate, events::kKmsServerCertificateExpiration,
      ends.empty() ? ""
                   : absl::StrCat("Certificates of servers of key provider ", cluster.provider(),
                                  " end soon: ", absl::StrJoin(ends, ", ")));
}

void KmsMonitor::TellClient(const KmsCluster& cluster) {
  TellCertificates(
      cluster.provider(), alarms::kKmsClientCertificate, events::kKmsClientCertificateExpiration,
      !cluster.client_certificate_ends_soon()
          ? ""
          : absl::StrCat("The client certificate of key provider ", cluster.provider(), " ends on ",
                         absl::FormatTime(cluster.client_certificate_end())));
}

void KmsMonitor::TellCertificates(const std::string& provider, absl::string_view alarm,
                                  absl::string_view event, const std::string& message) {
  if (message.empty()) return deps_.alarms->Clear(alarm, Object(provider));
  if (deps_.alarms->Says(alarm, Object(provider), message)) return;
  const int64_t revision = Append(event, provider, message);
  deps_.alarms->Raise(alarm, Object(provider), v1::Alarm::SEVERITY_YELLOW, message, revision);
}

void KmsMonitor::Forget(const std::string& provider) {
  for (const char* alarm :
       {alarms::kKmsUnreachable, alarms::kKmsServerCertificate, alarms::kKmsClientCertificate}) {
    deps_.alarms->Clear(alarm, Object(provider));
  }
}

}  // namespace keysphere::controller::kms
