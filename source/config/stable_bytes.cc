#include "source/config/stable_bytes.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message_lite.h>

namespace outrider::config {

std::string stableBytes(const google::protobuf::MessageLite& in) {
  std::string out;
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  in.SerializeToCodedStream(&coded);
  coded.Trim();
  return out;
}

}  // namespace outrider::config
