// core.v3.SubstitutionFormatString into a format::Line, and into the format of a body. Thread: any, off the workers.
// Errors: each at its field path, below the current one.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "source/config/problems.h"
#include "source/config/route_spec.h"
#include "source/format/line.h"

namespace google::protobuf {
class Struct;
}
namespace envoy::config::core::v3 {
class SubstitutionFormatString;
}

namespace outrider::config {

// A text with operators, or JSON with such texts, found in `field`.
void parseTextLine(std::string_view field, const std::string& in, format::Line& out, Problems& problems);
void parseJsonLine(std::string_view field, const google::protobuf::Struct& in, format::Line& out, Problems& problems);
format::Line parseLine(const envoy::config::core::v3::SubstitutionFormatString& in, Problems& problems);

// Null after a problem. `read_file`, if given, is set when the text came from elsewhere than the message.
std::shared_ptr<const BodyFormat> parseBodyFormat(const envoy::config::core::v3::SubstitutionFormatString& in, Problems& problems,
                                                  bool* read_file = nullptr);

}  // namespace outrider::config
