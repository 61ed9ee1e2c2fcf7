#ifndef KEYSPHERE_TESTS_PROCESSES_RAW_CLIENT_H_
#define KEYSPHERE_TESTS_PROCESSES_RAW_CLIENT_H_

#include <string>

#include "common/identity/credentials.h"

namespace keysphere::processes {

// What a server at "IP:PORT" does with a client that is no gRPC client of ours.
enum class Tls { k12, k13 };

// Whether a handshake of this version, with this certificate (null: none), ends well and the server
// then answers HTTP/2.
bool SpeaksTls(const std::string& address, Tls version, const identity::Credentials* credentials);

// All that the server sends, until it closes, to a client that speaks HTTP/2 without TLS.
std::string AnswerToPlaintext(const std::string& address);

}  // namespace keysphere::processes

#endif  // KEYSPHERE_TESTS_PROCESSES_RAW_CLIENT_H_
