#include "source/filter/listener/http_inspector/http_inspector_parse.h"

#include "envoy/extensions/filters/listener/http_inspector/v3/http_inspector.pb.h"
#include "source/filter/listener/http_inspector/http_inspector.h"

namespace outrider::filter::listener::http_inspector {

std::shared_ptr<const ListenerFilterFactory> parseHttpInspector(std::string_view, std::string_view bytes, FilterContext& context) {
  envoy::extensions::filters::listener::http_inspector::v3::HttpInspector in;
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    context.parse.problems.add("cannot be decoded as HttpInspector");
    return nullptr;
  }
  auto out = std::make_shared<HttpInspectorConfig>();
  out->stats = HttpInspectorStats(context.parse.stats.scope("http_inspector.", kHttpInspectorTable));
  return out;
}

}  // namespace outrider::filter::listener::http_inspector
