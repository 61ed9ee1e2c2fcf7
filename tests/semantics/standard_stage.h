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

  FakeKms& kms;
};

}  // namespace keysphere::tests

#endif  // KEYSPHERE_TESTS_SEMANTICS_STANDARD_STAGE_H_
