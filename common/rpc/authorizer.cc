#include "common/rpc/authorizer.h"

#include <google/protobuf/descriptor.h>

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "common/status/status.h"

namespace keysphere::rpc {

absl::Status NoRule(absl::string_view full_method) {
  return status::Error(v1::REASON_NO_PERMISSION,
                       absl::StrCat("no rule allows the method ", status::Quote(full_method)));
}

RuleTable& RuleTable::Add(absl::string_view full_method, Rule rule) {
  KS_CHECK(rules_.emplace(std::string(full_method), std::move(rule)).second);
  return *this;
}

absl::Status RuleTable::Authorize(const CallInfo& call, absl::string_view full_method) const {
  const auto rule = rules_.find(full_method);
  if (rule == rules_.end()) return NoRule(full_method);
  return rule->second(call);
}

bool RuleTable::HasRule(absl::string_view full_method) const {
  return rules_.contains(full_method);
}

RuleTable::Rule RuleTable::Anyone() {
  return [](const CallInfo&) { return absl::OkStatus(); };
}

RuleTable::Rule RuleTable::OnlyKinds(std::vector<identity::Kind> kinds) {
  return [kinds = std::move(kinds)](const CallInfo& call) -> absl::Status {
    if (absl::c_linear_search(kinds, call.caller.kind)) return absl::OkStatus();
    return status::Error(v1::REASON_NO_PERMISSION,
                         absl::StrCat("not for a ", identity::KindName(call.caller.kind), ": ",
                                      status::Quote(call.caller.name)));
  };
}

std::vector<std::string> MethodsOf(absl::string_view full_service_name) {
  const google::protobuf::ServiceDescriptor* service =
      google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
          std::string(full_service_name));
  KS_CHECK(service != nullptr);
  std::vector<std::string> methods;
  for (int i = 0; i < service->method_count(); ++i) {
    methods.push_back(absl::StrCat("/", full_service_name, "/", service->method(i)->name()));
  }
  return methods;
}

}  // namespace keysphere::rpc
