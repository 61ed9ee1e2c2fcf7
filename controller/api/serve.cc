#include "controller/api/serve.h"

#include <openssl/crypto.h>

#include "keysphere/options.pb.h"

namespace keysphere::controller::api {

void WipeSecrets(google::protobuf::Message* message) {
  const google::protobuf::Descriptor* const type = message->GetDescriptor();
  const google::protobuf::Reflection* const reflection = message->GetReflection();
  for (int i = 0; i < type->field_count(); ++i) {
    const google::protobuf::FieldDescriptor* const field = type->field(i);
    const bool secret = field->options().GetExtension(keysphere::secret);
    const bool text = field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_STRING &&
                      !field->is_repeated();
    if (!secret || !text) continue;
    std::string scratch;
    // The message's own bytes: reflection hands out a reference to them.
    const std::string& value = reflection->GetStringReference(*message, field, &scratch);
    OPENSSL_cleanse(const_cast<char*>(value.data()), value.size());
    reflection->ClearField(message, field);
  }
}

}  // namespace keysphere::controller::api
