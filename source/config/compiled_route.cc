#include "source/config/compiled_route.h"

#include <charconv>

#include "absl/strings/numbers.h"
#include "source/base/absl_compat.h"

namespace outrider::config {
namespace {

std::string_view queryOf(std::string_view path) {
  const size_t question = path.find('?');
  return question == std::string_view::npos ? std::string_view() : path.substr(question);
}

// Envoy strips a port that contradicts the new scheme or is replaced; `[::1]:80` has its colon behind the bracket.
std::string_view redirectHost(const http::RequestHead& head, std::string_view scheme, bool new_port) {
  const std::string_view host = head.authority;
  if (host.empty()) return host;
  size_t colon;
  if (host[0] == '[') {
    colon = host.rfind("]:");
    if (colon != std::string_view::npos) ++colon;
  } else {
    colon = host.rfind(':');
  }
  if (colon == std::string_view::npos) return host;
  const std::string_view port = host.substr(colon);
  std::string_view came_by = head.headers.get(http::HeaderId::kForwardedProto);
  if (came_by.empty()) came_by = head.scheme;
  bool strip = new_port;
  if (scheme != came_by) strip = strip || (came_by == "https" && port == ":443") || (came_by == "http" && port == ":80");
  return strip ? host.substr(0, colon) : host;
}

}  // namespace

const UpgradeSpec* CompiledRoute::upgrade(std::string_view type) const {
  for (const UpgradeSpec& upgrade : spec->forward.upgrades) {
    if (http::equalsIgnoreCase(upgrade.type, type)) return &upgrade;
  }
  return nullptr;
}

ClusterPick CompiledRoute::pick(const http::RequestHead& head, uint64_t random) const {
  const auto byHeader = [&](const http::FieldName& name) { return name.firstIn(head).value_or(std::string_view()); };
  if (weighted_.empty()) {
    if (cluster_.valid()) return {cluster_, spec->forward.cluster, -1};
    return {ClusterId(), byHeader(cluster_header_), -1};
  }
  uint64_t number = random;
  if (!weight_header_.name().empty()) {
    uint64_t given = 0;
    const auto text = weight_header_.firstIn(head);
    if (text.has_value() && absl::SimpleAtoi(base::toAbsl(*text), &given)) number = given;
  }
  number %= total_weight_;
  for (size_t i = 0; i < weighted_.size(); ++i) {
    const Weighted& each = weighted_[i];
    if (number >= each.until) continue;
    return {each.id, each.id.valid() ? std::string_view(each.spec->cluster) : byHeader(each.header), static_cast<int16_t>(i)};
  }
  OUTRIDER_UNREACHABLE();
}

std::string_view CompiledRoute::rewrittenPath(const http::RequestHead& head) const {
  const bool redirects = action() == Action::kRedirect;
  const std::string& prefix = redirects ? spec->redirect.prefix_rewrite : spec->forward.prefix_rewrite;
  base::Arena& arena = head.headers.arena();
  const std::string_view path = head.path;
  const std::string_view query = queryOf(path);
  const std::string_view plain = path.substr(0, path.size() - query.size());
  std::string_view out;
  if (!prefix.empty()) {
    using Path = RouteMatchSpec::Path;
    const Path kind = spec->match.kind;
    if (kind == Path::kConnect) return {};
    const size_t matched =
        kind == Path::kPrefix || kind == Path::kSeparatedPrefix ? std::min(spec->match.path.size(), plain.size()) : plain.size();
    out = arena.concat(prefix, plain.substr(matched), query);
  } else if (regex_rewrite_ != nullptr) {
    const auto& rewrite = redirects ? spec->redirect.regex_rewrite : spec->forward.regex_rewrite;
    out = arena.concat(regex_rewrite_->replaceAll(plain, rewrite->substitution, arena), query);
  } else {
    return {};
  }
  // What leaves must be a path again, whatever the configuration made of it.
  return out.empty() || out[0] != '/' ? arena.concat("/", out) : out;
}

void CompiledRoute::rewritePath(http::RequestHead& head, bool keep_original) const {
  const std::string_view path = rewrittenPath(head);
  if (path.empty()) return;
  if (keep_original) head.headers.set(http::HeaderId::kEnvoyOriginalPath, head.path);
  head.path = path;
}

void CompiledRoute::rewriteHost(http::RequestHead& head, std::string_view host, bool keep_original) const {
  if (host.empty()) return;
  if (spec->forward.append_forwarded_host && !head.authority.empty()) {
    const std::string_view known = head.headers.get(http::HeaderId::kForwardedHost);
    const size_t comma = known.rfind(',');
    std::string_view last = comma == std::string_view::npos ? known : known.substr(comma + 1);
    while (!last.empty() && last.front() == ' ') last.remove_prefix(1);
    if (last != head.authority) head.headers.appendValue(http::HeaderId::kForwardedHost, head.authority);
  }
  if (keep_original) head.headers.set(http::HeaderId::kEnvoyOriginalHost, head.authority);
  head.authority = head.headers.arena().copy(host);
}

void CompiledRoute::applyRequest(http::RequestHead& head, const ClusterPick& pick, const format::Input& input, bool keep_original) const {
  const Weighted* weighted = pick.weighted >= 0 ? &weighted_[static_cast<size_t>(pick.weighted)] : nullptr;
  // The cluster's own edits come first whatever the order of the others is, as in Envoy.
  if (weighted != nullptr) weighted->request.apply(head.headers, input);
  for (const HeaderEdit* edit : request_edits_) edit->apply(head.headers, input);

  const ForwardSpec& forward = spec->forward;
  // The cluster's own host comes first and leaves no trace, as in Envoy; the route's rewrites start from it.
  if (weighted != nullptr && !weighted->spec->host_rewrite_literal.empty()) head.authority = weighted->spec->host_rewrite_literal;
  std::string_view host;
  if (!forward.host_rewrite_literal.empty()) {
    host = forward.host_rewrite_literal;
  } else if (!host_rewrite_header_.name().empty()) {
    const auto value = host_rewrite_header_.firstIn(head);
    if (value.has_value() && !value->empty()) host = *value;
  } else if (host_rewrite_path_ != nullptr) {
    host = host_rewrite_path_->replaceAll(head.pathWithoutQuery(), forward.host_rewrite_path->substitution, head.headers.arena());
  }
  rewriteHost(head, host, keep_original);
  rewritePath(head, keep_original);
}

void CompiledRoute::applyResponse(http::HeaderMap& headers, const ClusterPick& pick, const format::Input& input) const {
  const Weighted* weighted = pick.weighted >= 0 ? &weighted_[static_cast<size_t>(pick.weighted)] : nullptr;
  if (weighted != nullptr) weighted->response.apply(headers, input);
  for (const HeaderEdit* edit : response_edits_) edit->apply(headers, input);
}

std::string_view CompiledRoute::location(const http::RequestHead& head) const {
  const RedirectSpec& to = spec->redirect;
  base::Arena& arena = head.headers.arena();
  const std::string_view scheme = to.https ? std::string_view("https") : !to.scheme.empty() ? std::string_view(to.scheme) : head.scheme;
  char port[8];
  size_t port_size = 0;
  if (to.port != 0) {
    port[0] = ':';
    port_size = static_cast<size_t>(std::to_chars(port + 1, port + sizeof port, to.port).ptr - port);
  }
  const std::string_view host = to.host.empty() ? redirectHost(head, scheme, to.port != 0) : std::string_view(to.host);

  std::string_view path = head.path;
  const bool own_query = to.path.find('?') != std::string::npos;
  if (!to.path.empty()) {
    path = own_query ? std::string_view(to.path) : arena.concat(to.path, queryOf(path));
  } else if (const std::string_view rewritten = rewrittenPath(head); !rewritten.empty()) {
    path = rewritten;
  }
  if (to.strip_query && !own_query) path = path.substr(0, path.find('?'));
  return arena.concat(arena.concat(scheme, "://"), host, arena.copy({port, port_size}), path);
}

CompiledRoute::Override CompiledRoute::overrideOf(std::string_view filter) const {
  for (const FilterOverrideSpec* each : filters_) {
    if (each->filter == filter) return {each->parsed.get(), each->disabled, true};
  }
  return {};
}

CompiledRoute::Override CompiledRoute::overrideOf(std::string_view filter, const ClusterPick& pick) const {
  if (pick.weighted >= 0) {
    for (const FilterOverrideSpec& each : weighted_[static_cast<size_t>(pick.weighted)].spec->filters) {
      if (each.filter == filter) return {each.parsed.get(), each.disabled, true};
    }
  }
  return overrideOf(filter);
}

}  // namespace outrider::config
