#ifndef KEYSPHERE_KMIP_MESSAGES_ENUMS_H_
#define KEYSPHERE_KMIP_MESSAGES_ENUMS_H_

#include <cstdint>
#include <string>

// The enumerations of KMIP 1.0 to 1.2 (9.1.3.2 of the specification) that key servers need. Values
// that have no name here may be met in messages.
namespace keysphere::kmip::messages {

enum class Operation : uint32_t {
  kCreate = 0x01,
  kCreateKeyPair = 0x02,
  kRegister = 0x03,
  kRekey = 0x04,
  kLocate = 0x08,
  kCheck = 0x09,
  kGet = 0x0a,
  kGetAttributes = 0x0b,
  kGetAttributeList = 0x0c,
  kAddAttribute = 0x0d,
  kModifyAttribute = 0x0e,
  kDeleteAttribute = 0x0f,
  kActivate = 0x12,
  kRevoke = 0x13,
  kDestroy = 0x14,
  kQuery = 0x18,
  kDiscoverVersions = 0x1e,
};
std::string OperationName(Operation operation);  // "Get Attributes", "operation 99"

enum class ObjectType : uint32_t {
  kCertificate = 1,
  kSymmetricKey = 2,
  kPublicKey = 3,
  kPrivateKey = 4,
  kSplitKey = 5,
  kTemplate = 6,
  kSecretData = 7,
  kOpaqueObject = 8,
};

enum class ResultStatus : uint32_t {
  kSuccess = 0,
  kFailed = 1,
  kPending = 2,
  kUndone = 3,
};

enum class ResultReason : uint32_t {
  kItemNotFound = 0x01,
  kResponseTooLarge = 0x02,
  kAuthenticationNotSuccessful = 0x03,
  kInvalidMessage = 0x04,
  kOperationNotSupported = 0x05,
  kMissingData = 0x06,
  kInvalidField = 0x07,
  kFeatureNotSupported = 0x08,
  kOperationCanceled = 0x09,
  kCryptographicFailure = 0x0a,
  kIllegalOperation = 0x0b,
  kPermissionDenied = 0x0c,
  kObjectArchived = 0x0d,
  kIndexOutOfBounds = 0x0e,
  kApplicationNamespaceNotSupported = 0x0f,
  kKeyFormatTypeNotSupported = 0x10,
  kKeyCompressionTypeNotSupported = 0x11,
  kEncodingOptionError = 0x12,
  kGeneralFailure = 0x100,
};
std::string ResultReasonName(ResultReason reason);  // "Item Not Found", "result reason 99"

enum class ErrorContinuation : uint32_t { kContinue = 1, kStop = 2, kUndo = 3 };

enum class Algorithm : uint32_t { kDes = 1, kTripleDes = 2, kAes = 3, kHmacSha256 = 9 };

// Bits of the Cryptographic Usage Mask.
constexpr int32_t kUsageEncrypt = 0x04;
constexpr int32_t kUsageDecrypt = 0x08;

enum class KeyFormat : uint32_t { kRaw = 1, kOpaque = 2, kTransparentSymmetricKey = 7 };

enum class State : uint32_t {
  kPreActive = 1,
  kActive = 2,
  kDeactivated = 3,
  kCompromised = 4,
  kDestroyed = 5,
  kDestroyedCompromised = 6,
};

enum class RevocationReason : uint32_t {
  kUnspecified = 1,
  kKeyCompromise = 2,
  kCaCompromise = 3,
  kAffiliationChanged = 4,
  kSuperseded = 5,
  kCessationOfOperation = 6,
  kPrivilegeWithdrawn = 7,
};

enum class QueryFunction : uint32_t {
  kOperations = 1,
  kObjects = 2,
  kServerInformation = 3,
  kApplicationNamespaces = 4,
  kExtensionList = 5,
  kExtensionMap = 6,
};

enum class CredentialType : uint32_t { kUsernameAndPassword = 1, kDevice = 2 };

enum class HashingAlgorithm : uint32_t { kSha256 = 6 };

enum class NameType : uint32_t { kText = 1, kUri = 2 };

}  // namespace keysphere::kmip::messages

#endif  // KEYSPHERE_KMIP_MESSAGES_ENUMS_H_
