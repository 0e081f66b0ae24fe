#include "source/router/router_parse.h"

#include "envoy/extensions/filters/http/router/v3/router.pb.h"
#include "source/router/router.h"

namespace outrider::router {

filter::HttpFilterProduct parseRouter(std::string_view, std::string_view bytes, filter::FilterContext& context) {
  envoy::extensions::filters::http::router::v3::Router in;
  config::Problems& problems = context.parse.problems;
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    problems.add("cannot be decoded as Router");
    return {};
  }
  auto config = std::make_shared<RouterConfig>();
  config->stats = RouterStats(context.parse.stats.scope(context.http_stat_prefix, kRouterTable));
  config->suppress_envoy_headers = in.suppress_envoy_headers();
  config->respect_expected_timeout = in.respect_expected_rq_timeout();
  config->replay = !context.parse.defaults.envoy;
  config->buffer_limit = context.buffer_limit;
  if (in.upstream_log_size() > 0) problems.unsupported("upstream_log");
  if (in.has_upstream_log_options()) problems.unsupported("upstream_log_options");
  if (in.start_child_span()) problems.unsupported("start_child_span");
  if (in.strict_check_headers_size() > 0) problems.addAt("strict_check_headers", {}, "is not supported: bad headers would pass");
  if (in.upstream_http_filters_size() > 0) problems.addAt("upstream_http_filters", {}, "are not supported");
  if (in.suppress_grpc_request_failure_code_stats()) problems.unsupported("suppress_grpc_request_failure_code_stats");
  static constexpr filter::TerminalOps ops = filter::makeTerminalOps<Router, RouterConfig>();
  return {nullptr, &ops, std::move(config)};
}

}  // namespace outrider::router
