#ifndef KEYSPHERE_TOOLS_KEYSPHERE_VM_OUTPUT_H_
#define KEYSPHERE_TOOLS_KEYSPHERE_VM_OUTPUT_H_

#include <ostream>
#include <string>

#include "keysphere/v1/inventory.pb.h"
#include "keysphere/v1/types.pb.h"

namespace keysphere::cli {

// "nkp-a/2f0c…"; empty if there is no key.
std::string KeyText(const v1::CryptoKeyId& key);
std::string PowerText(const v1::Vm& vm);
std::string LockText(const v1::Vm& vm);
void PrintExplanation(const v1::LockExplanation& lock, std::ostream& out);
void PrintVm(const v1::Vm& vm, std::ostream& out);

}  // namespace keysphere::cli

#endif  // KEYSPHERE_TOOLS_KEYSPHERE_VM_OUTPUT_H_
