#ifndef KEYSPHERE_KMIP_TTLV_ENDIAN_H_
#define KEYSPHERE_KMIP_TTLV_ENDIAN_H_

#include <cstdint>
#include <cstring>

// Big-endian numbers at addresses of any alignment, on little-endian machines.
namespace keysphere::kmip::ttlv {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

inline uint32_t Load32(const uint8_t* at) {
  uint32_t value;
  memcpy(&value, at, sizeof(value));
  return __builtin_bswap32(value);
}
inline uint64_t Load64(const uint8_t* at) {
  uint64_t value;
  memcpy(&value, at, sizeof(value));
  return __builtin_bswap64(value);
}
inline void Store32(uint8_t* at, uint32_t value) {
  value = __builtin_bswap32(value);
  memcpy(at, &value, sizeof(value));
}
inline void Store64(uint8_t* at, uint64_t value) {
  value = __builtin_bswap64(value);
  memcpy(at, &value, sizeof(value));
}

}  // namespace keysphere::kmip::ttlv

#endif  // KEYSPHERE_KMIP_TTLV_ENDIAN_H_
