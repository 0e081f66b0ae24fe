// The parts of HttpConnectionManager that say what its own answers look like. Thread: off the workers. Errors: at their field paths.
#pragma once

#include <memory>

#include "source/config/problems.h"
#include "source/filter/network/http_connection_manager/local_reply.h"

namespace envoy::extensions::filters::network::http_connection_manager::v3 {
class LocalReplyConfig;
}

namespace outrider::filter::network::http_connection_manager {

std::shared_ptr<const LocalReplies> parseLocalReplies(
    const envoy::extensions::filters::network::http_connection_manager::v3::LocalReplyConfig& in, config::Problems& problems);

}  // namespace outrider::filter::network::http_connection_manager
