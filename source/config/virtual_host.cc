#include "source/config/virtual_host.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "source/base/check.h"

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

// ---- compile ----

void HostCompiler::fail(std::string_view what) {
  if (!status_.ok()) return;
  std::string where;
  if (host_ != nullptr) where = absl::StrCat("virtual host ", std::string(host_->name_), ", route ", host_->routes_.size(), ": ");
  status_ = absl::InvalidArgumentError(absl::StrCat(where, std::string(what)));
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

std::shared_ptr<const match::Regex> HostCompiler::regex(const std::string& pattern, const match::CheckedRegex& checked) {
  auto compiled = checked.orCompile(pattern);
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
  if (spec.kind == Path::kRegex) out->path = regex(spec.path, spec.checked);
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

// Most tables that rewrite paths do so in many ways: the rewrite is taken out of the plan, so that routes share one all the same.
std::unique_ptr<const PathRewrite> HostCompiler::pathRewrite(ForwardSpec& spec) {
  if (spec.prefix_rewrite.empty() && !spec.regex_rewrite.has_value()) return nullptr;
  auto out = std::make_unique<PathRewrite>();
  if (!spec.prefix_rewrite.empty()) {
    out->text = std::exchange(spec.prefix_rewrite, {});
  } else {
    out->regex = regex(*spec.regex_rewrite);
    out->text = std::move(spec.regex_rewrite->substitution);
  }
  spec.regex_rewrite.reset();
  out->text.shrink_to_fit();
  return out;
}

// Without its cluster and the rewrite of its path, which are the route's own.
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
  if (spec.host_rewrite_path.has_value()) out->host_rewrite_path = regex(*spec.host_rewrite_path);
  if (spec.retry.has_value()) {
    headers(spec.retry->headers, out->retry_headers);
    headers(spec.retry->request_headers, out->retry_request_headers);
  }
  for (const MirrorSpec& mirror : spec.mirrors) {
    out->mirrors.push_back({cluster(mirror.cluster), http::FieldName(mirror.cluster_header)});
  }
  for (const ClusterWeightSpec& weight : spec.weighted) {
    out->total_weight += weight.weight;
    out->weighted.push_back({cluster(weight.cluster), http::FieldName(weight.cluster_header), out->total_weight, {}, {}});
    edit(weight.request, out->weighted.back().request);
    edit(weight.response, out->weighted.back().response);
  }
  if (!out->weighted.empty() && out->total_weight == 0) fail("the sum of the weights is 0");
  out->spec = std::move(spec);
  for (const HashSpec& each : out->spec.hash) {
    out->hash.add(each, each.rewrite.has_value() ? regex(*each.rewrite) : nullptr);
  }
  if (plans_.size() == kMostPlans) plans_.erase(plans_.begin());
  plans_.push_back(out);
  return out;
}

std::shared_ptr<const void> HostCompiler::redirect(RedirectSpec spec) {
  auto out = std::make_shared<RedirectPlan>();
  if (spec.regex_rewrite.has_value()) out->regex_rewrite = regex(*spec.regex_rewrite);
  out->spec = std::move(spec);
  return out;
}

std::string_view HostCompiler::text(std::string_view from) {
  if (from.empty()) return {};
  OUTRIDER_CHECK(text_size_ + from.size() <= text_most_);
  char* to = host_->texts_.get() + text_size_;
  std::memcpy(to, from.data(), from.size());
  text_size_ += from.size();
  return {to, from.size()};
}

// The views move with the texts.
void HostCompiler::fitTexts() {
  auto fitting = std::make_unique<char[]>(text_size_);
  std::memcpy(fitting.get(), host_->texts_.get(), text_size_);
  const auto move = [&](std::string_view& view) {
    if (!view.empty()) view = {fitting.get() + (view.data() - host_->texts_.get()), view.size()};
  };
  move(host_->name_);
  for (std::string_view& domain : host_->domains_) move(domain);
  for (CompiledRoute& route : host_->routes_) {
    move(route.name);
    move(route.path_);
  }
  host_->texts_ = std::move(fitting);
}

void HostCompiler::route(RouteSpec& spec, CompiledRoute& out) {
  out.name = text(spec.name);
  out.path_ = text(spec.match.path);
  out.path_kind_ = spec.match.kind;
  out.case_sensitive_ = spec.match.case_sensitive;
  out.host_ = host_.get();
  auto tested = tests(spec.match);
  auto extra = extras(spec.request, spec.response, std::move(spec.filters));
  auto rewrite = spec.action == RouteSpec::Action::kForward ? pathRewrite(spec.forward) : nullptr;
  if (tested != nullptr || extra != nullptr || rewrite != nullptr || !spec.metadata.empty()) {
    auto rest = std::make_shared<RouteRest>();
    rest->tests = std::move(tested);
    rest->extras = std::move(extra);
    rest->rewrite = std::move(rewrite);
    if (!spec.metadata.empty()) rest->metadata = std::make_unique<const std::string>(std::move(spec.metadata));
    out.rest_ = std::move(rest);
  }
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

void HostCompiler::begin(const VirtualHostSpec& spec, std::shared_ptr<const TableRules> rules, size_t routes, size_t most_text) {
  host_ = std::make_shared<VirtualHost>();
  text_most_ = most_text + spec.name.size();
  for (const std::string& domain : spec.domains) text_most_ += domain.size();
  text_size_ = 0;
  host_->texts_ = std::make_unique<char[]>(text_most_);
  host_->rules_ = std::move(rules);
  host_->name_ = text(spec.name);
  host_->domains_.reserve(spec.domains.size());
  for (const std::string& domain : spec.domains) host_->domains_.push_back(text(domain));
  host_->attempts_ = {spec.request_attempt_count, spec.response_attempt_count, spec.timeout_retry_header};
  host_->extras_ = extras(spec.request, spec.response, spec.filters);
  host_->require_tls_ = spec.require_tls;
  host_->routes_.reserve(routes);
}

void HostCompiler::add(RouteSpec spec) {
  CompiledRoute made;
  route(spec, made);
  host_->routes_.push_back(std::move(made));
}

void HostCompiler::add(const CompiledRoute& same) {
  CompiledRoute& out = host_->routes_.emplace_back(same);
  out.name = text(same.name);
  out.path_ = text(same.path_);
  out.host_ = host_.get();
}

std::shared_ptr<const VirtualHost> HostCompiler::finish(VirtualHost::Origin origin) {
  fitTexts();
  if (host_->routes_.size() > VirtualHost::kLoop) host_->index_ = index(host_->routes_);
  if (host_->require_tls_ != VirtualHostSpec::Tls::kNone) {
    RouteSpec redirect;
    redirect.match.path.clear();
    redirect.action = RouteSpec::Action::kRedirect;
    redirect.redirect.https = true;
    auto made = std::make_unique<CompiledRoute>();
    route(redirect, *made);
    host_->tls_redirect_ = std::move(made);
  }
  host_->origin_ = std::move(origin);
  return std::exchange(host_, nullptr);
}

std::shared_ptr<const VirtualHost> HostCompiler::host(VirtualHostSpec spec, std::shared_ptr<const TableRules> rules) {
  size_t text = 0;
  for (const RouteSpec& route : spec.routes) text += route.name.size() + route.match.path.size();
  begin(spec, std::move(rules), spec.routes.size(), text);
  for (RouteSpec& route : spec.routes) add(std::move(route));
  return finish();
}

}  // namespace outrider::config
