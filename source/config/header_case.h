// Http1ProtocolOptions.header_key_format, of either side. Thread: any, off the workers. Errors: at their field paths.
#pragma once

#include "source/config/problems.h"

namespace envoy::config::core::v3 {
class Http1ProtocolOptions;
}

namespace outrider::config {

struct HeaderCase {
  bool proper = false;           // proper_case_words
  bool preserve = false;         // stateful_formatter: preserve_case
  bool preserve_proper = false;  // its formatter_type_on_envoy_headers
  bool operator==(const HeaderCase&) const = default;
};

HeaderCase parseHeaderCase(const envoy::config::core::v3::Http1ProtocolOptions& in, Problems& problems);

}  // namespace outrider::config
