#ifndef KEYSPHERE_TESTS_SEMANTICS_STANDARD_STAGE_H_
#define KEYSPHERE_TESTS_SEMANTICS_STANDARD_STAGE_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/semantics/stage.h"

namespace keysphere::tests {

// Stage, and the KMS "kms" of two nodes.
class StandardStage : public Stage {
 protected:
  StandardStage() : kms(cluster.AddKms("kms")) {}

  // vcenter-a's default is the SKP "skp" with that KMS.
  void UseSkp() {
    ASSERT_THAT(a.CreateSkp("skp", kms), IsOk());
    ASSERT_THAT(a.SetDefault("skp"), IsOk());
  }

  // What QueryCryptoKeyStatus tells of a key.
  v1::CryptoKeyStatus StatusOf(const std::string& provider, const std::string& key_id) {
    v1::QueryCryptoKeyStatusRequest request;
    v1::CryptoKeyId* const key = request.add_keys();
    key->set_provider_id(provider);
    key->set_key_id(key_id);
    const auto answer =
        a.Call(&VCenter::vm_encryption, &controller::encryption::VmEncryption::QueryCryptoKeyStatus,
               request);
    EXPECT_THAT(answer, IsOk());
    return answer.ok() ? answer->statuses(0) : v1::CryptoKeyStatus();
  }
  // A key of a standard provider that nothing uses yet.
  absl::StatusOr<v1::CryptoKeyId> Generate(const std::string& provider) {
    v1::GenerateKeyRequest request;
    request.set_provider(provider);
    const auto made = a.Call(&VCenter::vm_encryption,
                             &controller::encryption::VmEncryption::GenerateKey, request);
    if (!made.ok()) return made.status();
    return made->key();
  }

  // A KMS of its own, and the SKP of that name.
  FakeKms& AddSkp(const std::string& name) {
    FakeKms& made = cluster.AddKms(absl::StrCat("kms-of-", name));
    EXPECT_THAT(a.CreateSkp(name, made), IsOk());
    return made;
  }
  // To when the host that has just booted is through with its first sync.
  void AfterFirstSync() { cluster.Advance(absl::Seconds(10)); }

  FakeKms& kms;
};

}  // namespace keysphere::tests

#endif  // KEYSPHERE_TESTS_SEMANTICS_STANDARD_STAGE_H_
