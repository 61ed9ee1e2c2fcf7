#include "common/status/grpc.h"

#include <string>

#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"

namespace keysphere::status {
namespace {

using ::testing::ElementsAre;

TEST(GrpcStatusTest, TheDetailSurvivesTheWay) {
  const absl::Status sent = Error(v1::REASON_VM_LOCKED, "locked")
                                .Object("vm", "web-1")
                                .NextStep("Unlock it.")
                                .Other(v1::REASON_KMS_UNREACHABLE);

  const absl::Status received = FromGrpc(ToGrpc(sent));

  EXPECT_EQ(received, sent);
  EXPECT_THAT(received, HasReason(v1::REASON_VM_LOCKED));
  EXPECT_THAT(DetailOf(received).others(), ElementsAre(v1::REASON_KMS_UNREACHABLE));
}

TEST(GrpcStatusTest, TheTrailerIsAGoogleRpcStatus) {
  const grpc::Status sent = ToGrpc(Error(v1::REASON_NOT_FOUND, "no such VM"));

  EXPECT_EQ(sent.error_code(), grpc::StatusCode::NOT_FOUND);
  google::rpc::Status rpc;
  ASSERT_TRUE(rpc.ParseFromString(sent.error_details()));
  EXPECT_EQ(rpc.code(), 5);
  EXPECT_EQ(rpc.message(), "no such VM");
  ASSERT_EQ(rpc.details_size(), 1);
  EXPECT_EQ(rpc.details(0).type_url(), "type.googleapis.com/keysphere.v1.ErrorDetail");
}

TEST(GrpcStatusTest, OkIsOk) {
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
  EXPECT_THAT(FromGrpc(grpc::Status::OK), IsOk());
}

TEST(GrpcStatusTest, WhatGrpcItselfReportsGetsAReason) {
  EXPECT_THAT(FromGrpc({grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded"}),
              HasReason(v1::REASON_DEADLINE_EXCEEDED));
  EXPECT_THAT(FromGrpc({grpc::StatusCode::UNAVAILABLE, "Socket closed"}),
              HasReason(v1::REASON_UNREACHABLE));
  EXPECT_THAT(
      FromGrpc({grpc::StatusCode::UNAVAILABLE, "Socket closed"}, v1::REASON_HOST_NOT_RESPONDING),
      HasReason(v1::REASON_HOST_NOT_RESPONDING));
  EXPECT_THAT(FromGrpc({grpc::StatusCode::CANCELLED, ""}), HasReason(v1::REASON_CANCELLED));
}

TEST(GrpcStatusTest, ACodeWithoutAReasonIsKept) {
  const absl::Status status = FromGrpc({grpc::StatusCode::UNIMPLEMENTED, "no such method"});
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_EQ(ReasonOf(status), v1::REASON_UNSUPPORTED);
  // gRPC itself says nothing.
  EXPECT_EQ(FromGrpc({grpc::StatusCode::UNIMPLEMENTED, ""}).message(),
            "the server does not know this method");
}

TEST(GrpcStatusTest, ADetailThatIsNotOursIsPassedOver) {
  const grpc::Status sent(grpc::StatusCode::UNAVAILABLE, "busy", "not a protobuf");
  EXPECT_THAT(FromGrpc(sent), HasReason(v1::REASON_UNREACHABLE));
}

}  // namespace
}  // namespace keysphere::status
