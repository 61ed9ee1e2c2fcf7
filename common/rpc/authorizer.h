#ifndef KEYSPHERE_COMMON_RPC_AUTHORIZER_H_
#define KEYSPHERE_COMMON_RPC_AUTHORIZER_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/rpc/call_info.h"

namespace keysphere::rpc {

// Decides whether a call may go on, before its handler sees it. Thread safe, and quick: it runs on
// a thread of gRPC.
class Authorizer {
 public:
  virtual ~Authorizer() = default;
  // `full_method` as in CallInfo::method. NO_PERMISSION (S128) when the caller may not.
  virtual absl::Status Authorize(const CallInfo& call, absl::string_view full_method) const = 0;
  // Whether the method is known here. A test walks all methods of a server and fails on one that
  // is not.
  virtual bool HasRule(absl::string_view full_method) const = 0;
};

// One rule a method; a method without a rule is refused. Filled before it serves, then immutable.
class RuleTable : public Authorizer {
 public:
  // OK, or why the caller may not. Thread safe.
  using Rule = std::function<absl::Status(const CallInfo&)>;

  // Aborts when the method has a rule already.
  RuleTable& Add(absl::string_view full_method, Rule rule);

  absl::Status Authorize(const CallInfo& call, absl::string_view full_method) const override;
  bool HasRule(absl::string_view full_method) const override;

  // Rules for everyone with a certificate of this cluster, and for some kinds of caller.
  static Rule Anyone();
  static Rule OnlyKinds(std::vector<identity::Kind> kinds);

 private:
  absl::flat_hash_map<std::string, Rule> rules_;
};

// The refusal of a method without a rule.
absl::Status NoRule(absl::string_view full_method);

// "/SERVICE/METHOD" of all methods of a service that is linked into this program, by its
// descriptor; aborts when it is not.
std::vector<std::string> MethodsOf(absl::string_view full_service_name);

}  // namespace keysphere::rpc

#endif  // KEYSPHERE_COMMON_RPC_AUTHORIZER_H_
