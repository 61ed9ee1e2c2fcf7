#ifndef KEYSPHERE_CONTROLLER_PROVIDERS_PROVIDERS_FIXTURE_H_
#define KEYSPHERE_CONTROLLER_PROVIDERS_PROVIDERS_FIXTURE_H_

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/status/matchers.h"
#include "common/status/status.h"
#include "controller/providers/providers.h"
#include "controller/testing/domain.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keysphere::controller::providers {

// An inventory as the test says.
struct FakeUse : ProviderUse {
  std::set<std::string> clusters = {"c1", "c2"};
  std::vector<std::string> lacking;
  int vms = 0;

  bool ClusterExists(absl::string_view cluster) const override {
    return clusters.count(std::string(cluster)) > 0;
  }
  std::vector<std::string> HostsLacking(const Provider&) const override { return lacking; }
  int VmsUsing(absl::string_view) const override { return vms; }
};

// Notes what it was told: "usable a", "deleted a".
struct FakeListener : ProviderListener {
  std::vector<std::string> heard;

  void OnProviderUsable(const Provider& provider) override {
    heard.push_back("usable " + provider.name);
  }
  void OnProviderDeleted(absl::string_view name) override {
    heard.push_back("deleted " + std::string(name));
  }
};

// One vCenter's providers on a store of its own.
class Vcenter {
 public:
  explicit Vcenter(std::string version = "8.0.3", bool own_work = true)
      : version_(std::move(version)), own_work_(own_work) {
    Restart();
  }

  void Restart() {
    domain.sim.RunUntilIdle();
    providers.reset();
    options = options::Options::Load(&domain.store, &domain.strand).value();
    events = events::EventLog::Load(&domain.store, &domain.strand, &domain.sim).value();
    alarms = alarms::Alarms::Load(&domain.store, &domain.strand, &domain.sim).value();
    Providers::Deps deps;
    deps.store = &domain.store;
    deps.strand = &domain.strand;
    deps.clock = &domain.sim;
    deps.random = &domain.random;
    deps.events = events.get();
    deps.alarms = alarms.get();
    deps.options = options.get();
    deps.vcenter_name = "vcenter-a";
    deps.version = version_;
    deps.dns_names = {"vcenter-a.keysphere.test"};
    deps.work = own_work_ ? &domain.sim : nullptr;
    deps.bundle_iterations = 1;
    providers = Providers::Load(std::move(deps)).value();
    providers->Connect(&use, &listener);
    testing::OnStrand(&domain, [this] { providers->Start(); });
  }

  template <typename Request, typename Response>
  absl::StatusOr<Response> Ask(void (Providers::*method)(const access::Caller&, const Request&,
                                                         status::Callback<Response>),
                               const Request& request) {
    return testing::Call(&domain, providers.get(), method, caller, request);
  }

  absl::StatusOr<v1::KeyProvider> Create(const std::string& name, bool tpm_required = false) {
    v1::CreateKeyProviderRequest request;
    request.set_name(name);
    if (tpm_required) request.mutable_constraints()->set_tpm_required(true);
    return Ask(&Providers::CreateKeyProvider, request);
  }
  absl::StatusOr<v1::KeyProvider> Get(const std::string& name) {
    v1::GetKeyProviderRequest request;
    request.set_name(name);
    return Ask(&Providers::GetKeyProvider, request);
  }
  absl::StatusOr<v1::DeleteKeyProviderResponse> Delete(const std::string& name,
                                                       const std::string& etag = "") {
    v1::DeleteKeyProviderRequest request;
    request.set_name(name);
    request.set_etag(etag);
    return Ask(&Providers::DeleteKeyProvider, request);
  }
  absl::StatusOr<v1::KeyProvider> Update(const std::string& name, const std::string& key_id,
                                         const std::string& etag = "") {
    v1::UpdateKeyProviderRequest request;
    request.set_name(name);
    request.set_key_id(key_id);
    request.set_etag(etag);
    return Ask(&Providers::UpdateKeyProvider, request);
  }
  absl::StatusOr<v1::SetDefaultKeyProviderResponse> SetDefault(const std::string& name,
                                                               const std::string& cluster = "") {
    v1::SetDefaultKeyProviderRequest request;
    request.set_name(name);
    request.set_cluster(cluster);
    return Ask(&Providers::SetDefaultKeyProvider, request);
  }
  v1::ListKeyProvidersResponse List() {
    return Ask(&Providers::ListKeyProviders, v1::ListKeyProvidersRequest()).value();
  }

  absl::StatusOr<v1::ExportKeyProviderResponse> Export(const std::string& name,
                                                       const std::string& password = "") {
    v1::ExportKeyProviderRequest request;
    request.set_name(name);
    request.set_password(password);
    return Ask(&Providers::ExportKeyProvider, request);
  }
  absl::StatusOr<std::string> Download(const std::string& name, const std::string& token) {
    v1::DownloadKeyProviderRequest request;
    request.set_name(name);
    request.set_token(token);
    last_download = request;
    return Ask(&Providers::BeginDownload, request);
  }
  // The end of the last download of this provider.
  absl::Status Finish(const std::string& name, bool complete) {
    v1::DownloadKeyProviderRequest request = last_download;
    request.set_name(name);
    absl::Status answer = absl::UnknownError("not answered");
    domain.strand.Post([&] {
      providers->DownloadFinished(caller, request, complete,
                                  [&](absl::Status status) { answer = std::move(status); });
    });
    domain.sim.RunUntilIdle();
    return answer;
  }
  // Export, download, and the end of it: the bundle.
  std::string BackUp(const std::string& name, const std::string& password = "") {
    const auto exported = Export(name, password);
    EXPECT_THAT(exported, status::IsOk());
    const auto bundle = Download(name, exported->token());
    EXPECT_THAT(bundle, status::IsOk());
    EXPECT_THAT(Finish(name, true), status::IsOk());
    return *bundle;
  }
  static v1::ImportKeyProviderRequest ImportRequest(const std::string& bundle,
                                                    const std::string& password = "") {
    v1::ImportKeyProviderRequest request;
    request.set_bundle(bundle);
    request.set_password(password);
    return request;
  }
  absl::StatusOr<v1::ImportKeyProviderResponse> Import(const std::string& bundle,
                                                       const std::string& password = "") {
    return Ask(&Providers::ImportKeyProvider, ImportRequest(bundle, password));
  }

  // Types of events, the oldest first, that begin with the prefix.
  std::vector<std::string> EventTypes(const std::string& prefix = "") {
    std::vector<std::string> types;
    v1::ListEventsRequest request;
    request.set_ascending(true);
    request.set_page_size(1000);
    if (!prefix.empty()) request.add_type_prefixes(prefix);
    const auto listed =
        testing::Call(&domain, events.get(), &events::EventLog::ListEvents, caller, request);
    for (const v1::Event& event : listed->events()) types.push_back(event.type());
    return types;
  }
  int Count(const std::string& type) { return static_cast<int>(EventTypes(type).size()); }
  void SetOption(const char* name, const char* value) {
    v1::SetOptionRequest request;
    request.set_name(name);
    request.set_value(value);
    EXPECT_THAT(
        testing::Call(&domain, options.get(), &options::Options::SetOption, caller, request),
        status::IsOk());
  }

  testing::Domain domain;
  FakeUse use;
  FakeListener listener;
  access::Caller caller = testing::User("admin");
  v1::DownloadKeyProviderRequest last_download;
  std::unique_ptr<options::Options> options;
  std::unique_ptr<events::EventLog> events;
  std::unique_ptr<alarms::Alarms> alarms;
  std::unique_ptr<Providers> providers;

 private:
  const std::string version_;
  const bool own_work_;
};

}  // namespace keysphere::controller::providers

#endif  // KEYSPHERE_CONTROLLER_PROVIDERS_PROVIDERS_FIXTURE_H_
