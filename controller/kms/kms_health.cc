// The part of KmsCluster that tells how its servers do.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status/status.h"
#include "controller/kms/kms_cluster.h"
#include "controller/timestamps/timestamps.h"

namespace keysphere::controller::kms {
namespace {

std::string VersionText(const kmip::client::Version& version) {
  return absl::StrCat(version.major, ".", version.minor);
}

}  // namespace

size_t KmsCluster::Count(bool well) const {
  return static_cast<size_t>(std::count_if(nodes_.begin(), nodes_.end(), [well](const Node& node) {
    return node.asked && node.failure.ok() == well;
  }));
}

void KmsCluster::Check(absl::Duration certificate_warning, std::function<void()> done) {
  client_certificate_ends_soon_ =
      client_certificate_end_ - deps_.clock->Now() <= certificate_warning;
  auto open = std::make_shared<size_t>(nodes_.size());
  for (size_t i = 0; i < nodes_.size(); ++i) {
    CheckNode(i, certificate_warning, [self = shared_from_this(), open, done] {
      if (--*open > 0) return;
      self->reachable_ = self->Count(/*well=*/true) > 0;
      done();
    });
  }
}

void KmsCluster::CheckNode(size_t index, absl::Duration certificate_warning,
                           std::function<void()> done) {
  if (nodes_[index].link == nullptr) return done();
  nodes_[index].link->CheckHealth(
      kNodeTimeout, [self = shared_from_this(), index, certificate_warning,
                     done = std::move(done)](absl::StatusOr<kmip::client::Health> health) mutable {
        executor::Strand* const strand = self->deps_.strand;
        strand->Post([self = std::move(self), index, certificate_warning, done = std::move(done),
                      health = std::move(health)] {
          Node& node = self->nodes_[index];
          node.asked = true;
          node.failure = health.status();
          node.check_time = self->deps_.clock->Now();
          if (health.ok()) {
            node.versions.clear();
            for (const auto& version : health->versions) {
              node.versions.push_back(VersionText(version));
            }
          }
          self->TakeCertificate(&node, certificate_warning);
          done();
        });
      });
}

void KmsCluster::TakeCertificate(Node* node, absl::Duration certificate_warning) {
  if (node->link == nullptr) return;  // closed meanwhile
  const absl::optional<kmip::client::ServerCertificate> certificate = node->link->LastCertificate();
  if (!certificate.has_value()) return;
  node->certificate_end = certificate->not_after;
  node->certificate_ends_soon = certificate->not_after - deps_.clock->Now() <= certificate_warning;
}

v1::KmsStatus KmsCluster::status() const {
  const size_t well = Count(/*well=*/true);
  const size_t failed = Count(/*well=*/false);
  if (well + failed == 0) return v1::KMS_STATUS_GRAY;
  if (well == 0) return v1::KMS_STATUS_RED;
  if (failed == 0 && well < nodes_.size()) return v1::KMS_STATUS_GRAY;  // not all are known yet
  const bool ends_soon = client_certificate_ends_soon_ || !ExpiringServers().empty();
  return failed > 0 || ends_soon ? v1::KMS_STATUS_YELLOW : v1::KMS_STATUS_GREEN;
}

std::string KmsCluster::status_reason() const {
  std::vector<std::string> reasons;
  for (const v1::KmsServerStatus& server : ServerStatuses()) {
    if (server.reason().empty()) continue;
    reasons.push_back(absl::StrCat(server.server().name(), ": ", server.reason()));
  }
  if (client_certificate_ends_soon_) {
    reasons.push_back(absl::StrCat("the client certificate ",
                                   client_certificate_end_ <= deps_.clock->Now() ? "ended" : "ends",
                                   " on ", absl::FormatTime(client_certificate_end_)));
  }
  return absl::StrJoin(reasons, "; ");
}

std::vector<v1::KmsServerStatus> KmsCluster::ServerStatuses() const {
  std::vector<v1::KmsServerStatus> statuses;
  for (const Node& node : nodes_) {
    v1::KmsServerStatus status;
    *status.mutable_server() = node.server;
    for (const std::string& version : node.versions) status.add_kmip_versions(version);
    if (node.check_time != absl::InfinitePast()) {
      *status.mutable_check_time() = timestamps::ToProto(node.check_time);
    }
    if (node.certificate_end != absl::InfiniteFuture()) {
      *status.mutable_server_certificate_expire_time() = timestamps::ToProto(node.certificate_end);
    }
    if (!node.asked) {
      status.set_status(v1::KMS_STATUS_GRAY);
      status.set_reason("It has not been asked yet");
    } else if (!node.failure.ok()) {
      status.set_status(v1::KMS_STATUS_RED);
      status.set_reason(std::string(node.failure.message()));
    } else if (node.certificate_ends_soon) {
      status.set_status(v1::KMS_STATUS_YELLOW);
      status.set_reason(
          absl::StrCat("its certificate ends on ", absl::FormatTime(node.certificate_end)));
    } else {
      status.set_status(v1::KMS_STATUS_GREEN);
    }
    statuses.push_back(std::move(status));
  }
  return statuses;
}

std::vector<std::pair<std::string, absl::Time>> KmsCluster::ExpiringServers() const {
  std::vector<std::pair<std::string, absl::Time>> expiring;
  for (const Node& node : nodes_) {
    if (node.certificate_ends_soon) expiring.emplace_back(node.server.name(), node.certificate_end);
  }
  return expiring;
}

void KmsCluster::PresentedCertificate(const std::string& server, status::Callback<Presented> done) {
  const auto it = std::find_if(nodes_.begin(), nodes_.end(), [&server](const Node& node) {
    return node.server.name() == server;
  });
  if (it == nodes_.end()) {
    return done(status::Error(v1::REASON_NOT_FOUND,
                              absl::StrCat("key provider ", status::Quote(config_.provider),
                                           " has no server ", status::Quote(server)))
                    .Object("provider", config_.provider));
  }
  if (it->link == nullptr) return done(it->failure);
  it->link->CheckHealth(
      kNodeTimeout, [self = shared_from_this(), index = static_cast<size_t>(it - nodes_.begin()),
                     done = std::move(done)](absl::StatusOr<kmip::client::Health> health) mutable {
        executor::Strand* const strand = self->deps_.strand;
        strand->Post([self = std::move(self), index, done = std::move(done),
                      health = std::move(health)]() mutable {
          // A server that is not trusted yet has shown its certificate all the same.
          const Node& node = self->nodes_[index];
          if (node.link == nullptr) return done(node.failure);
          const v1::Reason reason = status::ReasonOf(health.status());
          const bool no_connection =
              reason == v1::REASON_KMS_UNREACHABLE || reason == v1::REASON_DEADLINE_EXCEEDED;
          const auto certificate = node.link->LastCertificate();
          if (no_connection || !certificate.has_value()) {
            return done(
                status::Error(v1::REASON_KMS_UNREACHABLE,
                              absl::StrCat("server ", status::Quote(node.server.name()),
                                           " showed no certificate: ", health.status().message()))
                    .Object("provider", self->config_.provider));
          }
          const bool trusted =
              reason != v1::REASON_CERT_UNTRUSTED && reason != v1::REASON_CERT_EXPIRED;
          done(Presented{*certificate, trusted});
        });
      });
}

}  // namespace keysphere::controller::kms
