// access_loggers.grpc.v3 into what a GrpcLog needs. Thread: off the workers. Errors: each at its field path.
#pragma once

#include "source/accesslog/grpc_log.h"
#include "source/config/problems.h"

namespace google::protobuf {
class Any;
}

namespace outrider::accesslog {

struct GrpcLogSpec {
  GrpcTarget target;
  GrpcEntryFields fields;
};

bool isGrpcLog(std::string_view type);
// At the path of the typed_config. What is wrong is in `problems`.
GrpcLogSpec parseGrpcLog(const google::protobuf::Any& in, std::string_view type, config::Problems& problems);

}  // namespace outrider::accesslog
