#include "source/config/compiled_route.h"

#include "source/http/grpc.h"

#include <charconv>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"
#include "source/config/virtual_host.h"

namespace outrider::config {
namespace {

using Path = RouteMatchSpec::Path;

// The first value of a query parameter, as it stands there; nullopt: absent.
std::optional<std::string_view> queryValue(std::string_view path, std::string_view name) {
  const size_t question = path.find('?');
  if (question == std::string_view::npos) return std::nullopt;
  std::string_view rest = path.substr(question + 1);
  for (;;) {
    const size_t end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    const size_t equals = pair.find('=');
    if (pair.substr(0, equals) == name) return equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    if (end == std::string_view::npos) return std::nullopt;
    rest.remove_prefix(end + 1);
  }
}

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

// ---- tests ----

bool RouteTests::Query::matches(std::string_view path) const {
  const auto value = queryValue(path, name);
  if (string.has_value()) return value.has_value() && string->matches(*value);
  return value.has_value() == present;
}

bool RouteTests::fractionHolds(const MatchContext& context) const {
  return !fraction.has_value() || context.random % fraction->denominator < fraction->numerator;
}

bool RouteTests::tlsHolds(const MatchContext& context) const {
  const bool presented = context.tls != nullptr && context.tls->peer_presented;
  const bool validated = context.tls != nullptr && context.tls->peer_validated;
  return (!tls_presented.has_value() || *tls_presented == presented) && (!tls_validated.has_value() || *tls_validated == validated);
}

bool RouteTests::hold(const http::RequestHead& head, const MatchContext& context) const {
  if (grpc && !http::isGrpc(head)) return false;
  if (!fractionHolds(context) || !tlsHolds(context)) return false;
  for (const match::HeaderMatcher& header : headers) {
    if (!header.matches(head)) return false;
  }
  for (const Query& test : query) {
    if (!test.matches(head.path)) return false;
  }
  return true;
}

std::string RouteTests::why(const http::RequestHead& head, const MatchContext& context) const {
  if (grpc && !http::isGrpc(head)) return "the request is not gRPC";
  if (!fractionHolds(context)) return absl::StrCat("not in the fraction ", fraction->numerator, "/", fraction->denominator);
  if (!tlsHolds(context)) return "the client's certificate is not as tls_context wants it";
  for (const match::HeaderMatcher& header : headers) {
    if (!header.matches(head)) return absl::StrCat(header.spec().str(), " does not hold");
  }
  for (const Query& test : query) {
    if (!test.matches(head.path)) return absl::StrCat("query parameter ", test.name, " does not match");
  }
  return {};
}

bool CompiledRoute::matchesPath(std::string_view plain, bool connect) const {
  if (path_kind_ == Path::kConnect) return connect;
  if (connect) return false;
  const auto equal = [this](std::string_view a, std::string_view b) { return case_sensitive_ ? a == b : http::equalsIgnoreCase(a, b); };
  const auto begins = [&] { return plain.size() >= path_.size() && equal(plain.substr(0, path_.size()), path_); };
  switch (path_kind_) {
    case Path::kPrefix: return begins();
    case Path::kExact: return equal(plain, path_);
    case Path::kSeparatedPrefix: return begins() && (plain.size() == path_.size() || plain[path_.size()] == '/');
    case Path::kRegex: return tests()->path->fullMatch(plain);
    case Path::kConnect: return connect;
  }
  OUTRIDER_UNREACHABLE();
}

std::string CompiledRoute::why(const http::RequestHead& head, std::string_view plain, bool connect, const MatchContext& context) const {
  if (!matchesPath(plain, connect)) {
    RouteMatchSpec wanted;
    wanted.kind = path_kind_;
    wanted.path = path_;
    wanted.case_sensitive = case_sensitive_;
    return absl::StrCat("path '", std::string(plain), "' does not match ", wanted.str());
  }
  return tests() == nullptr ? std::string() : tests()->why(head, context);
}

// ---- action ----

const AttemptHeaders& CompiledRoute::virtualHost() const { return host_->attempts(); }

const UpgradeSpec* CompiledRoute::upgrade(std::string_view type) const {
  if (action_ != Action::kForward) return nullptr;
  for (const UpgradeSpec& upgrade : forward().upgrades) {
    if (http::equalsIgnoreCase(upgrade.type, type)) return &upgrade;
  }
  return nullptr;
}

ClusterPick CompiledRoute::pick(const http::RequestHead& head, uint64_t random) const {
  if (cluster_.valid()) return {cluster_, cluster_name_, -1};
  if (action_ != Action::kForward) return {};
  const ForwardPlan& plan = forwardPlan();
  const auto byHeader = [&](const http::FieldName& name) { return name.firstIn(head).value_or(std::string_view()); };
  if (plan.weighted.empty()) return {ClusterId(), byHeader(plan.cluster_header), -1};
  uint64_t number = random;
  if (!plan.weight_header.name().empty()) {
    uint64_t given = 0;
    const auto text = plan.weight_header.firstIn(head);
    if (text.has_value() && absl::SimpleAtoi(base::toAbsl(*text), &given)) number = given;
  }
  number %= plan.total_weight;
  for (size_t i = 0; i < plan.weighted.size(); ++i) {
    const ForwardPlan::Weighted& each = plan.weighted[i];
    if (number >= each.until) continue;
    return {each.id, each.id.valid() ? std::string_view(plan.spec.weighted[i].cluster) : byHeader(each.header), static_cast<int16_t>(i)};
  }
  OUTRIDER_UNREACHABLE();
}

std::string_view CompiledRoute::rewrittenPath(const http::RequestHead& head) const {
  const bool redirects = action() == Action::kRedirect;
  if (!redirects && action() != Action::kForward) return {};
  const PathRewrite* const own = redirects || rest_ == nullptr ? nullptr : rest_->rewrite.get();
  if (!redirects && own == nullptr) return {};
  const std::string_view prefix = redirects ? redirect().prefix_rewrite : own->regex == nullptr ? own->text : std::string_view();
  const match::Regex* regex = redirects ? redirectPlan().regex_rewrite.get() : own->regex.get();
  base::Arena& arena = head.headers.arena();
  const std::string_view path = head.path;
  const std::string_view query = queryOf(path);
  const std::string_view plain = path.substr(0, path.size() - query.size());
  std::string_view out;
  if (!prefix.empty()) {
    if (path_kind_ == Path::kConnect) return {};
    const bool by_prefix = path_kind_ == Path::kPrefix || path_kind_ == Path::kSeparatedPrefix;
    const size_t matched = by_prefix ? std::min(path_.size(), plain.size()) : plain.size();
    out = arena.concat(prefix, plain.substr(matched), query);
  } else if (regex != nullptr) {
    const std::string_view substitution = redirects ? redirect().regex_rewrite->substitution : own->text;
    out = arena.concat(regex->replaceAll(plain, substitution, arena), query);
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
  if (forward().append_forwarded_host && !head.authority.empty()) {
    const std::string_view known = head.headers.get(http::HeaderId::kForwardedHost);
    const size_t comma = known.rfind(',');
    std::string_view last = comma == std::string_view::npos ? known : known.substr(comma + 1);
    while (!last.empty() && last.front() == ' ') last.remove_prefix(1);
    if (last != head.authority) head.headers.appendValue(http::HeaderId::kForwardedHost, head.authority);
  }
  if (keep_original) head.headers.set(http::HeaderId::kEnvoyOriginalHost, head.authority);
  head.authority = head.headers.arena().copy(host);
}

template <class Apply>
void CompiledRoute::edits(Apply&& apply) const {
  // Of the route, its virtual host, the table; null: none.
  const RouteExtras* of[] = {extras(), host_->extras(), host_->rules().extras.get()};
  const bool reversed = host_->rules().spec.most_specific_wins;
  for (size_t i = 0; i < std::size(of); ++i) {
    const RouteExtras* each = of[reversed ? std::size(of) - 1 - i : i];
    if (each != nullptr) apply(*each);
  }
}

void CompiledRoute::applyRequest(http::RequestHead& head, const ClusterPick& pick, const format::Input& input, bool keep_original) const {
  // The cluster's own edits come first whatever the order of the others is, as in Envoy.
  if (pick.weighted >= 0) forwardPlan().weighted[static_cast<size_t>(pick.weighted)].request.apply(head.headers, input);
  edits([&](const RouteExtras& each) { each.request.apply(head.headers, input); });
  if (action_ != Action::kForward) {
    rewritePath(head, keep_original);
    return;
  }
  const ForwardPlan& plan = forwardPlan();
  // The cluster's own host comes first and leaves no trace, as in Envoy; the route's rewrites start from it.
  if (pick.weighted >= 0) {
    const std::string& own = plan.spec.weighted[static_cast<size_t>(pick.weighted)].host_rewrite_literal;
    if (!own.empty()) head.authority = own;
  }
  std::string_view host;
  if (!plan.spec.host_rewrite_literal.empty()) {
    host = plan.spec.host_rewrite_literal;
  } else if (!plan.host_rewrite_header.name().empty()) {
    const auto value = plan.host_rewrite_header.firstIn(head);
    if (value.has_value() && !value->empty()) host = *value;
  } else if (plan.host_rewrite_path != nullptr) {
    host = plan.host_rewrite_path->replaceAll(head.pathWithoutQuery(), plan.spec.host_rewrite_path->substitution, head.headers.arena());
  }
  rewriteHost(head, host, keep_original);
  rewritePath(head, keep_original);
}

void CompiledRoute::applyResponse(http::HeaderMap& headers, const ClusterPick& pick, const format::Input& input) const {
  if (pick.weighted >= 0) forwardPlan().weighted[static_cast<size_t>(pick.weighted)].response.apply(headers, input);
  edits([&](const RouteExtras& each) { each.response.apply(headers, input); });
}

std::string_view CompiledRoute::location(const http::RequestHead& head) const {
  const RedirectSpec& to = redirect();
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

namespace {

CompiledRoute::Override find(std::string_view filter, const std::vector<FilterOverrideSpec>& list) {
  for (const FilterOverrideSpec& each : list) {
    if (each.filter == filter) return {each.parsed.get(), each.disabled, true};
  }
  return {};
}

}  // namespace

CompiledRoute::Override CompiledRoute::overrideOf(std::string_view filter) const {
  for (const RouteExtras* each : {extras(), host_->extras(), host_->rules().extras.get()}) {
    if (each == nullptr) continue;
    if (const Override found = find(filter, each->filters); found.found) return found;
  }
  return {};
}

CompiledRoute::Override CompiledRoute::overrideOf(std::string_view filter, const ClusterPick& pick) const {
  if (pick.weighted >= 0) {
    const Override found = find(filter, forward().weighted[static_cast<size_t>(pick.weighted)].filters);
    if (found.found) return found;
  }
  return overrideOf(filter);
}

}  // namespace outrider::config
