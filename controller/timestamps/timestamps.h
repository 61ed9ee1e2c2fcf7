#ifndef KEYSPHERE_CONTROLLER_TIMESTAMPS_TIMESTAMPS_H_
#define KEYSPHERE_CONTROLLER_TIMESTAMPS_TIMESTAMPS_H_

#include <cstdint>

#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"

// Times in messages. A time in a message is finite.
namespace keysphere::controller::timestamps {

inline google::protobuf::Timestamp ToProto(absl::Time time) {
  const int64_t seconds = absl::ToUnixSeconds(time);  // rounds down
  google::protobuf::Timestamp proto;
  proto.set_seconds(seconds);
  proto.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return proto;
}

inline absl::Time FromProto(const google::protobuf::Timestamp& proto) {
  return absl::FromUnixSeconds(proto.seconds()) + absl::Nanoseconds(proto.nanos());
}

}  // namespace keysphere::controller::timestamps

#endif  // KEYSPHERE_CONTROLLER_TIMESTAMPS_TIMESTAMPS_H_
