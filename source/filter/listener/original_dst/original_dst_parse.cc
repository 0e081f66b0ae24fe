#include "source/filter/listener/original_dst/original_dst_parse.h"

#include "envoy/extensions/filters/listener/original_dst/v3/original_dst.pb.h"
#include "source/filter/listener/original_dst/original_dst.h"

namespace outrider::filter::listener::original_dst {

std::shared_ptr<const ListenerFilterFactory> parseOriginalDst(std::string_view, std::string_view bytes, FilterContext& context) {
  envoy::extensions::filters::listener::original_dst::v3::OriginalDst in;
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    context.parse.problems.add("cannot be decoded as OriginalDst");
    return nullptr;
  }
  return std::make_shared<OriginalDstConfig>();
}

}  // namespace outrider::filter::listener::original_dst
