// envoy...OriginalDst into an OriginalDstConfig. Thread: off the workers.
#pragma once

#include <memory>
#include <string_view>

#include "source/filter/registry.h"

namespace outrider::filter::listener::original_dst {

std::shared_ptr<const ListenerFilterFactory> parseOriginalDst(std::string_view type, std::string_view bytes, FilterContext& context);

}  // namespace outrider::filter::listener::original_dst
