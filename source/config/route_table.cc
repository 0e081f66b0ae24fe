#include "source/config/route_table.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "source/config/path_index.h"

namespace outrider::config {
namespace {

using Path = RouteMatchSpec::Path;

bool isGrpc(const http::RequestHead& head) {
  constexpr std::string_view kType = "application/grpc";
  const std::string_view type = head.headers.get(http::HeaderId::kContentType);
  return type.substr(0, kType.size()) == kType && (type.size() == kType.size() || type[kType.size()] == '+');
}

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

struct QueryTest {
  std::string name;
  std::optional<match::StringMatcher> string;
  bool present;
  bool matches(std::string_view path) const {
    const auto value = queryValue(path, name);
    if (string.has_value()) return value.has_value() && string->matches(*value);
    return value.has_value() == present;
  }
};

// What must hold of a request besides nothing: the compiled RouteMatchSpec.
struct Predicate {
  const RouteMatchSpec* spec = nullptr;
  std::shared_ptr<const match::Regex> regex;
  std::vector<match::HeaderMatcher> headers;
  std::vector<QueryTest> query;
  bool more = false;  // anything but the path is tested

  bool path(std::string_view plain, bool connect) const {
    if (spec->kind == Path::kConnect) return connect;
    if (connect) return false;  // CONNECT has no path: rules of paths do not allow it
    const std::string_view want = spec->path;
    const auto equal = [this](std::string_view a, std::string_view b) {
      return spec->case_sensitive ? a == b : http::equalsIgnoreCase(a, b);
    };
    switch (spec->kind) {
      case Path::kPrefix: return plain.size() >= want.size() && equal(plain.substr(0, want.size()), want);
      case Path::kExact: return equal(plain, want);
      case Path::kSeparatedPrefix:
        return plain.size() >= want.size() && equal(plain.substr(0, want.size()), want) &&
               (plain.size() == want.size() || plain[want.size()] == '/');
      case Path::kRegex: return regex->fullMatch(plain);
      case Path::kConnect: return connect;
    }
    OUTRIDER_UNREACHABLE();
  }

  bool rest(const http::RequestHead& head, const MatchContext& context) const {
    if (!more) return true;
    if (spec->grpc && !isGrpc(head)) return false;
    if (!fractionHolds(context) || !tlsHolds(context)) return false;
    for (const match::HeaderMatcher& header : headers) {
      if (!header.matches(head)) return false;
    }
    for (const QueryTest& test : query) {
      if (!test.matches(head.path)) return false;
    }
    return true;
  }

  bool fractionHolds(const MatchContext& context) const {
    return !spec->fraction.has_value() || context.random % spec->fraction->denominator < spec->fraction->numerator;
  }
  bool tlsHolds(const MatchContext& context) const {
    const bool presented = context.tls != nullptr && context.tls->peer_presented;
    const bool validated = context.tls != nullptr && context.tls->peer_validated;
    return (!spec->tls_presented.has_value() || *spec->tls_presented == presented) &&
           (!spec->tls_validated.has_value() || *spec->tls_validated == validated);
  }

  // Empty: it matches.
  std::string why(const http::RequestHead& head, std::string_view plain, bool connect, const MatchContext& context) const {
    if (!path(plain, connect)) return absl::StrCat("path '", std::string(plain), "' does not match ", spec->str());
    if (spec->grpc && !isGrpc(head)) return "the request is not gRPC";
    if (!fractionHolds(context)) {
      return absl::StrCat("not in the fraction ", spec->fraction->numerator, "/", spec->fraction->denominator);
    }
    if (!tlsHolds(context)) return "the client's certificate is not as tls_context wants it";
    for (const match::HeaderMatcher& header : headers) {
      if (!header.matches(head)) return absl::StrCat(header.spec().str(), " does not hold");
    }
    for (const QueryTest& test : query) {
      if (!test.matches(head.path)) return absl::StrCat("query parameter ", test.name, " does not match");
    }
    return {};
  }
};

bool plainConnect(const http::RequestHead& head) { return head.isConnect() && head.upgrade.empty(); }

std::string_view forwardedProto(const http::RequestHead& head) {
  const std::string_view proto = head.headers.get(http::HeaderId::kForwardedProto);
  return proto.empty() ? head.scheme : proto;
}

std::string_view portless(std::string_view host) {
  const size_t colon = host.rfind(':');
  if (colon == std::string_view::npos) return host;
  const size_t bracket = host.rfind(']');
  return bracket == std::string_view::npos || bracket < colon ? host.substr(0, colon) : host;
}

}  // namespace

class VirtualHost final {
 public:
  // A straight loop is faster than an index up to here.
  static constexpr size_t kLoop = 6;

  const CompiledRoute* match(const http::RequestHead& head, const MatchContext& context) const {
    if (const CompiledRoute* redirect = tlsRedirect(head)) return redirect;
    const std::string_view plain = head.pathWithoutQuery();
    const bool connect = plainConnect(head);
    if (index == nullptr) {
      for (size_t i = 0; i < routes.size(); ++i) {
        if (predicates[i].path(plain, connect) && predicates[i].rest(head, context)) return routes[i].get();
      }
      return nullptr;
    }
    const CompiledRoute* found = nullptr;
    index->first(plain, [&](uint32_t i, bool known) {
      const Predicate& predicate = predicates[i];
      if (!((known && !connect) || predicate.path(plain, connect)) || !predicate.rest(head, context)) return false;
      found = routes[i].get();
      return true;
    });
    return found;
  }

  const CompiledRoute* tlsRedirect(const http::RequestHead& head) const {
    if (spec->require_tls == VirtualHostSpec::Tls::kNone) return nullptr;
    if (forwardedProto(head) == "https") return nullptr;
    if (spec->require_tls == VirtualHostSpec::Tls::kExternalOnly && head.headers.get(http::HeaderId::kEnvoyInternal) == "true") {
      return nullptr;
    }
    return tls_redirect.get();
  }

  const VirtualHostSpec* spec = nullptr;
  HeaderEdit request, response;
  std::vector<std::unique_ptr<CompiledRoute>> routes;
  std::vector<Predicate> predicates;
  std::unique_ptr<PathIndex> index;
  std::unique_ptr<RouteSpec> tls_redirect_spec;  // of a host with require_tls
  std::unique_ptr<CompiledRoute> tls_redirect;
};

struct RouteTable::Hosts {
  std::vector<std::unique_ptr<VirtualHost>> all;
  ViewMap<const VirtualHost*> exact;
  // By length of what must be equal, the longest first.
  std::vector<std::pair<size_t, ViewMap<const VirtualHost*>>> suffixes, prefixes;
  const VirtualHost* any = nullptr;
};

// Builds one table; reports the first problem with its place.
class RouteCompiler {
 public:
  RouteCompiler(RouteTable& table, NameTable& names) : table_(table), spec_(table.spec_), names_(names) {}

  absl::Status run() {
    table_.hosts_ = std::make_unique<RouteTable::Hosts>();
    table_.vhost_header_ = http::FieldName(spec_.vhost_header);
    for (const std::string& name : spec_.internal_only_headers) table_.internal_only_.emplace_back(name);
    edit(spec_.request, table_.request_);
    edit(spec_.response, table_.response_);
    for (const VirtualHostSpec& host : spec_.hosts) addHost(host);
    const auto longest = [](auto& list) { std::sort(list.begin(), list.end(), [](auto& a, auto& b) { return a.first > b.first; }); };
    longest(table_.hosts_->suffixes);
    longest(table_.hosts_->prefixes);
    auto& clusters = table_.clusters_;
    std::sort(clusters.begin(), clusters.end(), [](ClusterId a, ClusterId b) { return a.index() < b.index(); });
    clusters.erase(std::unique(clusters.begin(), clusters.end()), clusters.end());
    return status_;
  }

 private:
  void fail(std::string_view what) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(where_, std::string(what)));
  }
  void edit(const HeaderEditSpec& spec, HeaderEdit& out) {
    auto compiled = HeaderEdit::compile(spec);
    if (compiled.ok())
      out = *std::move(compiled);
    else
      fail(std::string(compiled.status().message()));
  }
  std::shared_ptr<const match::Regex> regex(const std::string& pattern) {
    auto compiled = match::Regex::compile(pattern);
    if (compiled.ok()) return *std::move(compiled);
    fail(std::string(compiled.status().message()));
    return nullptr;
  }
  void headers(const std::vector<match::HeaderMatchSpec>& specs, std::vector<match::HeaderMatcher>& out) {
    for (const match::HeaderMatchSpec& spec : specs) {
      auto matcher = match::HeaderMatcher::compile(spec);
      if (matcher.ok())
        out.push_back(*std::move(matcher));
      else
        fail(std::string(matcher.status().message()));
    }
  }
  ClusterId cluster(const std::string& name) {
    if (name.empty()) return {};
    const ClusterId id = names_.intern(name);
    table_.clusters_.push_back(id);
    return id;
  }

  void addHost(const VirtualHostSpec& spec) {
    where_ = absl::StrCat("virtual host ", spec.name, ": ");
    table_.hosts_->all.push_back(std::make_unique<VirtualHost>());
    VirtualHost& host = *table_.hosts_->all.back();
    host.spec = &spec;
    edit(spec.request, host.request);
    edit(spec.response, host.response);
    for (const std::string& domain : spec.domains) addDomain(domain, host);
    for (size_t i = 0; i < spec.routes.size(); ++i) {
      where_ = absl::StrCat("virtual host ", spec.name, ", route ", i, ": ");
      addRoute(host, spec.routes[i], static_cast<uint32_t>(i));
    }
    if (spec.routes.size() > VirtualHost::kLoop) index(host);
    if (spec.require_tls == VirtualHostSpec::Tls::kNone) return;  // what few hosts need takes no memory of the others
    host.tls_redirect_spec = std::make_unique<RouteSpec>();
    host.tls_redirect_spec->action = RouteSpec::Action::kRedirect;
    host.tls_redirect_spec->redirect.https = true;
    host.tls_redirect = compile(host, *host.tls_redirect_spec, UINT32_MAX);
  }

  void addDomain(const std::string& domain, VirtualHost& host) {
    auto& hosts = *table_.hosts_;
    const auto put = [&](auto& map, std::string_view key) {
      if (!map.try_emplace(std::string(key), &host).second) fail(absl::StrCat("domain ", domain, " is used twice"));
    };
    const auto mapOf = [](auto& list, size_t length) -> auto& {
      for (auto& [size, map] : list) {
        if (size == length) return map;
      }
      return list.emplace_back(length, ViewMap<const VirtualHost*>()).second;
    };
    if (domain == "*") {
      if (hosts.any != nullptr) fail("domain * is used twice");
      hosts.any = &host;
    } else if (!domain.empty() && domain.front() == '*') {
      put(mapOf(hosts.suffixes, domain.size() - 1), std::string_view(domain).substr(1));
    } else if (!domain.empty() && domain.back() == '*') {
      put(mapOf(hosts.prefixes, domain.size() - 1), std::string_view(domain).substr(0, domain.size() - 1));
    } else {
      put(hosts.exact, domain);
    }
  }

  void addRoute(VirtualHost& host, const RouteSpec& spec, uint32_t index) {
    Predicate predicate;
    predicate.spec = &spec.match;
    if (spec.match.kind == Path::kRegex) predicate.regex = regex(spec.match.path);
    headers(spec.match.headers, predicate.headers);
    for (const QueryMatchSpec& query : spec.match.query) {
      QueryTest test{query.name, std::nullopt, query.present};
      if (query.string.has_value()) {
        auto matcher = match::StringMatcher::compile(*query.string);
        if (!matcher.ok()) {
          fail(std::string(matcher.status().message()));
          continue;
        }
        test.string.emplace(*std::move(matcher));
      }
      predicate.query.push_back(std::move(test));
    }
    predicate.more = spec.match.grpc || spec.match.fraction.has_value() || spec.match.tls_presented.has_value() ||
                     spec.match.tls_validated.has_value() || !predicate.headers.empty() || !predicate.query.empty();
    host.predicates.push_back(std::move(predicate));
    host.routes.push_back(compile(host, spec, index));
  }

  std::unique_ptr<CompiledRoute> compile(VirtualHost& host, const RouteSpec& spec, uint32_t index) {
    auto route = std::make_unique<CompiledRoute>();
    CompiledRoute& out = *route;
    out.name = spec.name;
    out.virtual_host = host.spec->name;
    out.spec = &spec;
    out.host_spec = host.spec;
    out.index = index;
    edit(spec.request, out.request_);
    edit(spec.response, out.response_);
    order({&out.request_, &host.request, &table_.request_}, out.request_edits_);
    order({&out.response_, &host.response, &table_.response_}, out.response_edits_);
    for (const auto* list : {&spec.filters, &host.spec->filters, &spec_.filters}) {
      for (const FilterOverrideSpec& each : *list) out.filters_.push_back(&each);
    }
    if (spec.action == RouteSpec::Action::kRedirect && spec.redirect.regex_rewrite.has_value()) {
      out.regex_rewrite_ = regex(spec.redirect.regex_rewrite->pattern);
    }
    if (spec.action == RouteSpec::Action::kForward) forward(spec.forward, out);
    return route;
  }

  void order(std::vector<const HeaderEdit*> from, std::vector<const HeaderEdit*>& out) {
    if (spec_.most_specific_wins) std::reverse(from.begin(), from.end());
    for (const HeaderEdit* edit : from) {
      if (!edit->empty()) out.push_back(edit);
    }
  }

  void forward(const ForwardSpec& spec, CompiledRoute& out) {
    out.cluster_ = cluster(spec.cluster);
    out.cluster_header_ = http::FieldName(spec.cluster_header);
    out.weight_header_ = http::FieldName(spec.weight_header);
    out.host_rewrite_header_ = http::FieldName(spec.host_rewrite_header);
    if (spec.regex_rewrite.has_value()) out.regex_rewrite_ = regex(spec.regex_rewrite->pattern);
    if (spec.host_rewrite_path.has_value()) out.host_rewrite_path_ = regex(spec.host_rewrite_path->pattern);
    if (spec.retry.has_value()) {
      headers(spec.retry->headers, out.retry_headers_);
      headers(spec.retry->request_headers, out.retry_request_headers_);
    }
    for (const MirrorSpec& mirror : spec.mirrors) cluster(mirror.cluster);
    for (const ClusterWeightSpec& weight : spec.weighted) {
      out.total_weight_ += weight.weight;
      out.weighted_.push_back({cluster(weight.cluster), &weight, http::FieldName(weight.cluster_header), out.total_weight_, {}, {}});
      edit(weight.request, out.weighted_.back().request);
      edit(weight.response, out.weighted_.back().response);
    }
    if (!out.weighted_.empty() && out.total_weight_ == 0) fail("the sum of the weights is 0");
  }

  void index(VirtualHost& host) {
    host.index = std::make_unique<PathIndex>();
    for (uint32_t i = 0; i < host.predicates.size(); ++i) {
      const RouteMatchSpec& match = *host.predicates[i].spec;
      switch (match.kind) {
        case Path::kExact: host.index->addExact(match.path, i, match.case_sensitive); break;
        case Path::kPrefix:
        case Path::kSeparatedPrefix: host.index->addPrefix(match.path, i, match.case_sensitive); break;
        case Path::kRegex: host.index->addRegex(match.path, i); break;
        case Path::kConnect: host.index->addAlways(i); break;
      }
    }
    host.index->build();
  }

  RouteTable& table_;
  const RouteTableSpec& spec_;
  NameTable& names_;
  std::string where_;
  absl::Status status_;
};

RouteTable::RouteTable(RouteTableSpec spec) : spec_(std::move(spec)) {}
RouteTable::~RouteTable() = default;

absl::StatusOr<std::shared_ptr<const RouteTable>> RouteTable::compile(RouteTableSpec spec, NameTable& names) {
  std::shared_ptr<RouteTable> table(new RouteTable(std::move(spec)));
  if (auto status = RouteCompiler(*table, names).run(); !status.ok()) return status;
  return std::shared_ptr<const RouteTable>(std::move(table));
}

const VirtualHost* RouteTable::hostOf(const http::RequestHead& head, std::string_view* domain) const {
  const Hosts& hosts = *hosts_;
  if (!spec_.vhost_header.empty() && !vhost_header_.firstIn(head).has_value()) return nullptr;  // not even "*", as Envoy
  const auto say = [domain](std::string_view text) {
    if (domain != nullptr) *domain = text;
  };
  const bool only_any = hosts.exact.empty() && hosts.suffixes.empty() && hosts.prefixes.empty();
  if (!only_any) {
    std::string_view host = head.authority;
    if (!spec_.vhost_header.empty()) host = vhost_header_.firstIn(head).value_or(std::string_view());
    if (spec_.ignore_port) host = portless(host);
    // Domains are lower case; hosts are compared without case.
    char small[256];
    char* lower = host.size() <= sizeof small ? small : head.headers.arena().bytes(host.size());
    for (size_t i = 0; i < host.size(); ++i) lower[i] = http::lowerAscii(host[i]);
    const std::string_view name(lower, host.size());
    if (const auto it = hosts.exact.find(name); it != hosts.exact.end()) {
      say(it->first);
      return it->second;
    }
    for (const auto& [size, map] : hosts.suffixes) {
      if (size >= name.size()) continue;  // the '*' stands for one byte or more
      if (const auto it = map.find(name.substr(name.size() - size)); it != map.end()) {
        say(it->first);
        return it->second;
      }
    }
    for (const auto& [size, map] : hosts.prefixes) {
      if (size >= name.size()) continue;
      if (const auto it = map.find(name.substr(0, size)); it != map.end()) {
        say(it->first);
        return it->second;
      }
    }
  }
  if (hosts.any != nullptr) say("*");
  return hosts.any;
}

const CompiledRoute* RouteTable::match(const http::RequestHead& head, const MatchContext& context) const {
  const VirtualHost* host = hostOf(head, nullptr);
  return host == nullptr ? nullptr : host->match(head, context);
}

RouteTable::Explanation RouteTable::explain(const http::RequestHead& head, const MatchContext& context) const {
  Explanation out;
  std::string_view domain;
  const VirtualHost* host = hostOf(head, &domain);
  if (host == nullptr) return out;
  out.host = host->spec->name;
  // The map holds the text without its '*'; the spec has it.
  out.domain = domain;
  for (const std::string& each : host->spec->domains) {
    if (each == absl::StrCat("*", out.domain) || each == absl::StrCat(out.domain, "*")) out.domain = each;
  }
  if (const CompiledRoute* redirect = host->tlsRedirect(head)) {
    out.routes.push_back({redirect, {}});
    out.winner = redirect;
    return out;
  }
  const std::string_view plain = head.pathWithoutQuery();
  const bool connect = plainConnect(head);
  for (size_t i = 0; i < host->routes.size(); ++i) {
    std::string lost = host->predicates[i].why(head, plain, connect, context);
    const bool won = lost.empty();
    out.routes.push_back({host->routes[i].get(), std::move(lost)});
    if (won) {
      out.winner = host->routes[i].get();
      break;
    }
  }
  return out;
}

void RouteTable::removeInternalOnly(http::HeaderMap& headers) const {
  for (const http::FieldName& name : internal_only_) headers.remove(name.name());
}

size_t RouteTable::routeCount() const {
  size_t count = 0;
  for (const auto& host : hosts_->all) count += host->routes.size();
  return count;
}

}  // namespace outrider::config
