#include "source/filter/network/http_connection_manager/hcm_reply_parse.h"

#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "source/accesslog/access_log_parse.h"
#include "source/base/absl_compat.h"
#include "source/config/line_parse.h"
#include "source/config/route_parse.h"
#include "source/config/tls_parse.h"
#include "source/config/tls_spec.h"

namespace outrider::filter::network::http_connection_manager {

namespace pb = envoy::extensions::filters::network::http_connection_manager::v3;

namespace {

// Nothing after a problem.
std::optional<LocalReplies::Mapper> mapperOf(const pb::ResponseMapper& in, config::Problems& problems) {
  const size_t before = problems.size();
  LocalReplies::Mapper out;
  auto filter = accesslog::LogFilter::compile(accesslog::parseLogFilter(in.filter(), problems));
  if (filter.ok())
    out.filter = *std::move(filter);
  else if (problems.size() == before)
    problems.addAt("filter", {}, base::toStd(filter.status().message()));
  if (in.has_status_code()) out.status = static_cast<uint16_t>(in.status_code().value());
  if (in.has_body()) {
    const auto at = problems.field("body");
    // An empty inline text is a body without bytes, not a missing one.
    if (in.body().specifier_case() == envoy::config::core::v3::DataSource::kInlineString)
      out.body = in.body().inline_string();
    else
      out.body = config::readDataSource(in.body(), problems).bytes;
  }
  if (in.has_body_format_override()) {
    const auto at = problems.field("body_format_override");
    out.format = config::parseBodyFormat(in.body_format_override(), problems);
  }
  config::HeaderEditSpec headers;
  config::parseHeadersToAdd("headers_to_add", in.headers_to_add(), headers, problems);
  if (problems.size() > before) return std::nullopt;
  auto edit = config::HeaderEdit::compile(headers);
  if (!edit.ok()) {
    problems.addAt("headers_to_add", {}, base::toStd(edit.status().message()));
    return std::nullopt;
  }
  out.headers = *std::move(edit);
  return out;
}

}  // namespace

std::shared_ptr<const LocalReplies> parseLocalReplies(const pb::LocalReplyConfig& in, config::Problems& problems) {
  std::vector<LocalReplies::Mapper> mappers;
  for (int i = 0; i < in.mappers_size(); ++i) {
    const auto at = problems.element("mappers", static_cast<size_t>(i));
    if (auto mapper = mapperOf(in.mappers(i), problems)) mappers.push_back(*std::move(mapper));
  }
  std::shared_ptr<const config::BodyFormat> format;
  if (in.has_body_format()) {
    const auto at = problems.field("body_format");
    format = config::parseBodyFormat(in.body_format(), problems);
  }
  return std::make_shared<LocalReplies>(std::move(mappers), std::move(format));
}

}  // namespace outrider::filter::network::http_connection_manager
