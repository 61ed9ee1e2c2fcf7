#include "kmip/messages/enums.h"

#include "absl/strings/str_cat.h"

namespace keysphere::kmip::messages {

std::string OperationName(Operation operation) {
  switch (operation) {
    case Operation::kCreate:
      return "Create";
    case Operation::kCreateKeyPair:
      return "Create Key Pair";
    case Operation::kRegister:
      return "Register";
    case Operation::kRekey:
      return "Re-key";
    case Operation::kLocate:
      return "Locate";
    case Operation::kCheck:
      return "Check";
    case Operation::kGet:
      return "Get";
    case Operation::kGetAttributes:
      return "Get Attributes";
    case Operation::kGetAttributeList:
      return "Get Attribute List";
    case Operation::kAddAttribute:
      return "Add Attribute";
    case Operation::kModifyAttribute:
      return "Modify Attribute";
    case Operation::kDeleteAttribute:
      return "Delete Attribute";
    case Operation::kActivate:
      return "Activate";
    case Operation::kRevoke:
      return "Revoke";
    case Operation::kDestroy:
      return "Destroy";
    case Operation::kQuery:
      return "Query";
    case Operation::kDiscoverVersions:
      return "Discover Versions";
  }
  return absl::StrCat("operation ", static_cast<uint32_t>(operation));
}

std::string ResultReasonName(ResultReason reason) {
  switch (reason) {
    case ResultReason::kItemNotFound:
      return "Item Not Found";
    case ResultReason::kResponseTooLarge:
      return "Response Too Large";
    case ResultReason::kAuthenticationNotSuccessful:
      return "Authentication Not Successful";
    case ResultReason::kInvalidMessage:
      return "Invalid Message";
    case ResultReason::kOperationNotSupported:
      return "Operation Not Supported";
    case ResultReason::kMissingData:
      return "Missing Data";
    case ResultReason::kInvalidField:
      return "Invalid Field";
    case ResultReason::kFeatureNotSupported:
      return "Feature Not Supported";
    case ResultReason::kOperationCanceled:
      return "Operation Canceled By Requester";
    case ResultReason::kCryptographicFailure:
      return "Cryptographic Failure";
    case ResultReason::kIllegalOperation:
      return "Illegal Operation";
    case ResultReason::kPermissionDenied:
      return "Permission Denied";
    case ResultReason::kObjectArchived:
      return "Object Archived";
    case ResultReason::kIndexOutOfBounds:
      return "Index Out Of Bounds";
    case ResultReason::kApplicationNamespaceNotSupported:
      return "Application Namespace Not Supported";
    case ResultReason::kKeyFormatTypeNotSupported:
      return "Key Format Type Not Supported";
    case ResultReason::kKeyCompressionTypeNotSupported:
      return "Key Compression Type Not Supported";
    case ResultReason::kEncodingOptionError:
      return "Encoding Option Error";
    case ResultReason::kGeneralFailure:
      return "General Failure";
  }
  return absl::StrCat("result reason ", static_cast<uint32_t>(reason));
}

}  // namespace keysphere::kmip::messages
