// endpoint.v3.ClusterLoadAssignment into a spec. Pure; thread: any (the config thread). Problems carry field paths.
#pragma once

#include "source/config/endpoint_spec.h"
#include "source/config/honored.h"
#include "source/config/problems.h"
#include "source/config/stable_bytes.h"
#include "source/config/validate.h"

namespace envoy::config::endpoint::v3 {
class ClusterLoadAssignment;
}
namespace envoy::config::core::v3 {
class Metadata;
}
namespace google::protobuf {
class MessageLite;
class Struct;
}  // namespace google::protobuf

namespace outrider::config {

enum class Names : uint8_t {
  kRefused,  // EDS, STATIC: addresses only
  kResolved  // DNS: names, and addresses too
};

EndpointsSpec parseEndpoints(const envoy::config::endpoint::v3::ClusterLoadAssignment& in, Names names, Problems& problems);

// An assignment of EDS from its bytes; endpoints whose bytes are those of the version before are taken over from it. Null: there is a
// problem.
std::shared_ptr<const EndpointsSpec> readEndpoints(const std::shared_ptr<const std::string>& bytes, const Checker& checker,
                                                   const EndpointsSpec* before, Problems& problems);

// A struct of metadata as labels.
Labels labelsOf(const google::protobuf::Struct& in);

// Tells the checker which fields are acted on.
void declareEndpoints(Honored& honored);

}  // namespace outrider::config
