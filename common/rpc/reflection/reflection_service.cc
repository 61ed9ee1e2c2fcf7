#include "common/rpc/reflection/reflection_service.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <set>
#include <utility>

#include "health.pb.h"
#include "reflection.grpc.pb.h"

namespace keysphere::rpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1alpha::ServerReflection;
using Request = grpc::reflection::v1alpha::ServerReflectionRequest;
using Response = grpc::reflection::v1alpha::ServerReflectionResponse;

const DescriptorPool* Pool() { return DescriptorPool::generated_pool(); }

// The file and all that it imports, each once.
void AddFile(const FileDescriptor* file, std::set<std::string>* seen, Response* response) {
  if (!seen->insert(file->name()).second) return;
  google::protobuf::FileDescriptorProto proto;
  file->CopyTo(&proto);
  response->mutable_file_descriptor_response()->add_file_descriptor_proto(
      proto.SerializeAsString());
  for (int i = 0; i < file->dependency_count(); ++i) AddFile(file->dependency(i), seen, response);
}

void AnswerFile(const FileDescriptor* file, Response* response) {
  if (file == nullptr) {
    response->mutable_error_response()->set_error_code(grpc::StatusCode::NOT_FOUND);
    response->mutable_error_response()->set_error_message("not found");
    return;
  }
  std::set<std::string> seen;
  AddFile(file, &seen, response);
}

void AnswerExtension(const Request& request, Response* response) {
  const Descriptor* type =
      Pool()->FindMessageTypeByName(request.file_containing_extension().containing_type());
  const FieldDescriptor* extension =
      type == nullptr ? nullptr
                      : Pool()->FindExtensionByNumber(
                            type, request.file_containing_extension().extension_number());
  AnswerFile(extension == nullptr ? nullptr : extension->file(), response);
}

void AnswerExtensionNumbers(const Request& request, Response* response) {
  const Descriptor* type = Pool()->FindMessageTypeByName(request.all_extension_numbers_of_type());
  if (type == nullptr) {
    AnswerFile(nullptr, response);
    return;
  }
  auto* answer = response->mutable_all_extension_numbers_response();
  answer->set_base_type_name(type->full_name());
  std::vector<const FieldDescriptor*> extensions;
  Pool()->FindAllExtensions(type, &extensions);
  for (const FieldDescriptor* extension : extensions) {
    answer->add_extension_number(extension->number());
  }
}

Response Answer(const std::vector<std::string>& services, const Request& request) {
  Response response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kFileByFilename:
      AnswerFile(Pool()->FindFileByName(request.file_by_filename()), &response);
      break;
    case Request::kFileContainingSymbol:
      AnswerFile(Pool()->FindFileContainingSymbol(request.file_containing_symbol()), &response);
      break;
    case Request::kFileContainingExtension:
      AnswerExtension(request, &response);
      break;
    case Request::kAllExtensionNumbersOfType:
      AnswerExtensionNumbers(request, &response);
      break;
    case Request::kListServices:
      for (const std::string& service : services) {
        response.mutable_list_services_response()->add_service()->set_name(service);
      }
      break;
    case Request::MESSAGE_REQUEST_NOT_SET:
      response.mutable_error_response()->set_error_code(grpc::StatusCode::INVALID_ARGUMENT);
      response.mutable_error_response()->set_error_message("nothing was asked");
      break;
  }
  return response;
}

// One client: a question, its answer, the next question.
class Conversation : public grpc::ServerBidiReactor<Request, Response> {
 public:
  explicit Conversation(const std::vector<std::string>* services) : services_(services) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      Finish(grpc::Status::OK);
      return;
    }
    response_ = Answer(*services_, request_);
    StartWrite(&response_);
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      StartRead(&request_);
    } else {
      Finish(grpc::Status::CANCELLED);
    }
  }

  void OnDone() override { delete this; }

 private:
  const std::vector<std::string>* const services_;
  Request request_;
  Response response_;
};

class ReflectionService : public ServerReflection::CallbackService {
 public:
  explicit ReflectionService(std::vector<std::string> services) : services_(std::move(services)) {
    // Health checking is served by gRPC itself; its descriptor comes from here.
    grpc::health::v1::HealthCheckRequest::descriptor();
    services_.push_back(ServerReflection::service_full_name());
  }

  grpc::ServerBidiReactor<Request, Response>* ServerReflectionInfo(
      grpc::CallbackServerContext* /*context*/) override {
    return new Conversation(&services_);
  }

 private:
  std::vector<std::string> services_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewReflectionService(std::vector<std::string> services) {
  return std::make_unique<ReflectionService>(std::move(services));
}

}  // namespace keysphere::rpc
