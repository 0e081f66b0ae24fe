#include "source/config/virtual_host.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"

namespace outrider::config {
namespace {

using Path = RouteMatchSpec::Path;

std::string_view forwardedProto(const http::RequestHead& head) {
  const std::string_view proto = head.headers.get(http::HeaderId::kForwardedProto);
  return proto.empty() ? head.scheme : proto;
}

}  // namespace

// Two functions that have nothing in common.
Digest Digest::of(std::string_view bytes) {
  return {std::hash<std::string_view>()(bytes), absl::Hash<absl::string_view>()(absl::string_view(bytes.data(), bytes.size()))};
}

// ---- match ----

const CompiledRoute* VirtualHost::match(const http::RequestHead& head, const MatchContext& context) const {
  if (const CompiledRoute* redirect = tlsRedirect(head)) return redirect;
  const std::string_view plain = head.pathWithoutQuery();
  const bool connect = isPlainConnect(head);
  if (index_ == nullptr) {
    for (const CompiledRoute& route : routes_) {
      if (route.matchesPath(plain, connect) && route.matchesRest(head, context)) return &route;
    }
    return nullptr;
  }
  const CompiledRoute* found = nullptr;
  index_->first(plain, [&](uint32_t i, bool known) {
    const CompiledRoute& route = routes_[i];
    if (!((known && !connect) || route.matchesPath(plain, connect)) || !route.matchesRest(head, context)) return false;
    found = &route;
    return true;
  });
  return found;
}

const CompiledRoute* VirtualHost::tlsRedirect(const http::RequestHead& head) const {
  if (require_tls_ == VirtualHostSpec::Tls::kNone) return nullptr;
  if (forwardedProto(head) == "https") return nullptr;
  const bool internal = head.headers.get(http::HeaderId::kEnvoyInternal) == "true";
  if (require_tls_ == VirtualHostSpec::Tls::kExternalOnly && internal) return nullptr;
  return tls_redirect_.get();
}

const std::vector<std::string>& VirtualHost::unsupported() const {
  static const std::vector<std::string> none;
  return unsupported_ == nullptr ? none : *unsupported_;
}

// ---- compile ----

void HostCompiler::fail(std::string_view what) {
  if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(where_, std::string(what)));
}

void HostCompiler::edit(const HeaderEditSpec& spec, HeaderEdit& out) {
  auto compiled = HeaderEdit::compile(spec);
  if (compiled.ok())
    out = *std::move(compiled);
  else
    fail(std::string(compiled.status().message()));
}

std::unique_ptr<const RouteExtras> HostCompiler::extras(const HeaderEditSpec& request, const HeaderEditSpec& response,
                                                        std::vector<FilterOverrideSpec> filters) {
  auto out = std::make_unique<RouteExtras>();
  edit(request, out->request);
  edit(response, out->response);
  out->filters = std::move(filters);
  if (out->request.empty() && out->response.empty() && out->filters.empty()) return nullptr;
  return out;
}

std::shared_ptr<const match::Regex> HostCompiler::regex(const std::string& pattern) {
  auto compiled = match::Regex::compile(pattern);
  if (compiled.ok()) return *std::move(compiled);
  fail(std::string(compiled.status().message()));
  return nullptr;
}

void HostCompiler::headers(const std::vector<match::HeaderMatchSpec>& specs, std::vector<match::HeaderMatcher>& out) {
  for (const match::HeaderMatchSpec& spec : specs) {
    auto matcher = match::HeaderMatcher::compile(spec);
    if (matcher.ok())
      out.push_back(*std::move(matcher));
    else
      fail(std::string(matcher.status().message()));
  }
}

std::shared_ptr<const TableRules> HostCompiler::rules(RouteTableSpec spec, const Digest& digest) {
  auto out = std::make_shared<TableRules>();
  out->vhost_header = http::FieldName(spec.vhost_header);
  for (const std::string& name : spec.internal_only_headers) out->internal_only.emplace_back(name);
  out->extras = extras(spec.request, spec.response, spec.filters);
  spec.hosts.clear();
  out->spec = std::move(spec);
  out->digest = digest;
  return out;
}

std::unique_ptr<const RouteTests> HostCompiler::tests(const RouteMatchSpec& spec) {
  const bool any = spec.kind == Path::kRegex || spec.grpc || spec.fraction.has_value() || spec.tls_presented.has_value() ||
                   spec.tls_validated.has_value() || !spec.headers.empty() || !spec.query.empty();
  if (!any) return nullptr;
  auto out = std::make_unique<RouteTests>();
  if (spec.kind == Path::kRegex) out->path = regex(spec.path);
  headers(spec.headers, out->headers);
  for (const QueryMatchSpec& query : spec.query) {
    RouteTests::Query test{query.name, std::nullopt, query.present};
    if (query.string.has_value()) {
      auto matcher = match::StringMatcher::compile(*query.string);
      if (!matcher.ok()) {
        fail(std::string(matcher.status().message()));
        continue;
      }
      test.string.emplace(*std::move(matcher));
    }
    out->query.push_back(std::move(test));
  }
  out->fraction = spec.fraction;
  out->tls_presented = spec.tls_presented;
  out->tls_validated = spec.tls_validated;
  out->grpc = spec.grpc;
  return out;
}

// Without its cluster, which is the route's own.
std::shared_ptr<const ForwardPlan> HostCompiler::forward(ForwardSpec spec) {
  const auto known = std::find_if(plans_.rbegin(), plans_.rend(), [&](const auto& plan) { return plan->spec == spec; });
  if (known != plans_.rend()) {
    std::rotate(known.base() - 1, known.base(), plans_.end());
    return plans_.back();
  }
  auto out = std::make_shared<ForwardPlan>();
  out->cluster_header = http::FieldName(spec.cluster_header);
  out->weight_header = http::FieldName(spec.weight_header);
  out->host_rewrite_header = http::FieldName(spec.host_rewrite_header);
  if (spec.regex_rewrite.has_value()) out->regex_rewrite = regex(spec.regex_rewrite->pattern);
  if (spec.host_rewrite_path.has_value()) out->host_rewrite_path = regex(spec.host_rewrite_path->pattern);
  if (spec.retry.has_value()) {
    headers(spec.retry->headers, out->retry_headers);
    headers(spec.retry->request_headers, out->retry_request_headers);
  }
  for (const MirrorSpec& mirror : spec.mirrors) out->mirrors.push_back(cluster(mirror.cluster));
  for (const ClusterWeightSpec& weight : spec.weighted) {
    out->total_weight += weight.weight;
    out->weighted.push_back({cluster(weight.cluster), http::FieldName(weight.cluster_header), out->total_weight, {}, {}});
    edit(weight.request, out->weighted.back().request);
    edit(weight.response, out->weighted.back().response);
  }
  if (!out->weighted.empty() && out->total_weight == 0) fail("the sum of the weights is 0");
  out->spec = std::move(spec);
  if (plans_.size() == kMostPlans) plans_.erase(plans_.begin());
  plans_.push_back(out);
  return out;
}

std::shared_ptr<const void> HostCompiler::redirect(RedirectSpec spec) {
  auto out = std::make_shared<RedirectPlan>();
  if (spec.regex_rewrite.has_value()) out->regex_rewrite = regex(spec.regex_rewrite->pattern);
  out->spec = std::move(spec);
  return out;
}

std::string_view HostCompiler::text(std::string_view from) {
  if (from.empty()) return {};
  std::memcpy(text_, from.data(), from.size());
  const std::string_view out(text_, from.size());
  text_ += from.size();
  return out;
}

void HostCompiler::route(RouteSpec& spec, const VirtualHost& host, CompiledRoute& out) {
  out.name = text(spec.name);
  out.path_ = text(spec.match.path);
  out.path_kind_ = spec.match.kind;
  out.case_sensitive_ = spec.match.case_sensitive;
  out.host_ = &host;
  out.tests_ = tests(spec.match);
  out.extras_ = extras(spec.request, spec.response, std::move(spec.filters));
  out.action_ = spec.action;
  switch (spec.action) {
    case RouteSpec::Action::kForward:
      out.cluster_ = cluster(spec.forward.cluster);
      if (out.cluster_.valid()) out.cluster_name_ = names_.name(out.cluster_);
      spec.forward.cluster.clear();
      out.plan_ = forward(std::move(spec.forward));
      break;
    case RouteSpec::Action::kRedirect: out.plan_ = redirect(std::move(spec.redirect)); break;
    case RouteSpec::Action::kDirect: out.plan_ = std::make_shared<DirectSpec>(std::move(spec.direct)); break;
    case RouteSpec::Action::kNonForwarding: break;
  }
}

std::unique_ptr<const PathIndex> HostCompiler::index(const std::vector<CompiledRoute>& routes) {
  auto out = std::make_unique<PathIndex>();
  for (uint32_t i = 0; i < routes.size(); ++i) {
    const CompiledRoute& route = routes[i];
    switch (route.pathKind()) {
      case Path::kExact: out->addExact(route.path(), i, route.caseSensitive()); break;
      case Path::kPrefix:
      case Path::kSeparatedPrefix: out->addPrefix(route.path(), i, route.caseSensitive()); break;
      case Path::kRegex: out->addRegex(route.path(), i); break;
      case Path::kConnect: out->addAlways(i); break;
    }
  }
  out->build();
  return out;
}

std::shared_ptr<const VirtualHost> HostCompiler::host(VirtualHostSpec spec, std::shared_ptr<const TableRules> rules,
                                                      Origin origin) {
  where_ = absl::StrCat("virtual host ", spec.name, ": ");
  auto host = std::make_shared<VirtualHost>();
  VirtualHost& out = *host;
  size_t bytes = spec.name.size();
  for (const std::string& domain : spec.domains) bytes += domain.size();
  for (const RouteSpec& route : spec.routes) bytes += route.name.size() + route.match.path.size();
  out.texts_ = std::make_unique<char[]>(bytes);
  text_ = out.texts_.get();
  out.rules_ = std::move(rules);
  out.name_ = text(spec.name);
  out.domains_.reserve(spec.domains.size());
  for (const std::string& domain : spec.domains) out.domains_.push_back(text(domain));
  out.attempts_ = {spec.request_attempt_count, spec.response_attempt_count};
  out.extras_ = extras(spec.request, spec.response, std::move(spec.filters));
  out.routes_ = std::vector<CompiledRoute>(spec.routes.size());  // they hold no way back, but streams point at them
  for (size_t i = 0; i < spec.routes.size(); ++i) {
    where_ = absl::StrCat("virtual host ", spec.name, ", route ", i, ": ");
    route(spec.routes[i], out, out.routes_[i]);
  }
  if (out.routes_.size() > VirtualHost::kLoop) out.index_ = index(out.routes_);
  out.require_tls_ = spec.require_tls;
  if (spec.require_tls != VirtualHostSpec::Tls::kNone) {
    RouteSpec redirect;
    redirect.match.path.clear();
    redirect.action = RouteSpec::Action::kRedirect;
    redirect.redirect.https = true;
    auto made = std::make_unique<CompiledRoute>();
    route(redirect, out, *made);
    out.tls_redirect_ = std::move(made);
  }
  out.digest_ = origin.digest;
  out.reusable_ = origin.reusable;
  if (!origin.unsupported.empty()) out.unsupported_ = std::make_unique<std::vector<std::string>>(std::move(origin.unsupported));
  return host;
}

}  // namespace outrider::config
