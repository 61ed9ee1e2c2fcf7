#ifndef KEYSPHERE_KMIP_FUZZ_TARGETS_H_
#define KEYSPHERE_KMIP_FUZZ_TARGETS_H_

#include <cstddef>
#include <cstdint>

// What fuzzers throw at the codec and the server; the ordinary tests replay the corpus through it.
namespace keysphere::kmip::fuzz {

// Decodes a message and every payload that it may hold, as a server and as a client.
void Decode(const uint8_t* data, size_t size);
// Sends the bytes to a server that has an object or two; every answer must be a whole message.
void Serve(const uint8_t* data, size_t size);

}  // namespace keysphere::kmip::fuzz

#endif  // KEYSPHERE_KMIP_FUZZ_TARGETS_H_
