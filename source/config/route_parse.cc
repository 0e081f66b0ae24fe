#include "source/config/route_parse.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <deque>
#include <optional>
#include <set>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "envoy/config/route/v3/scoped_route.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "source/base/absl_compat.h"
#include "source/config/any.h"
#include "source/config/route_parse_parts.h"
#include "source/config/route_table.h"
#include "source/format/format.h"

// Deprecated fields still arrive from control planes, and must be honoured or refused like the others.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace outrider::config {

namespace core = envoy::config::core::v3;
namespace route = envoy::config::route::v3;
namespace hcm = envoy::extensions::filters::network::http_connection_manager::v3;

// ---- headers to add and remove ----

namespace {

bool isProtected(std::string_view lower_name) { return lower_name.front() == ':' || lower_name == "host"; }

HeaderAddSpec::Action actionOf(const core::HeaderValueOption& in) {
  using Action = HeaderAddSpec::Action;
  if (in.has_append()) return in.append().value() ? Action::kAppend : Action::kOverwrite;
  switch (in.append_action()) {
    case core::HeaderValueOption::ADD_IF_ABSENT: return Action::kAddIfAbsent;
    case core::HeaderValueOption::OVERWRITE_IF_EXISTS_OR_ADD: return Action::kOverwrite;
    case core::HeaderValueOption::OVERWRITE_IF_EXISTS: return Action::kOverwriteIfExists;
    default: return Action::kAppend;
  }
}

}  // namespace

void RouteParts::add(std::string_view field, const HeaderOptions& in, HeaderEditSpec& out) {
  if (in.size() > 1000) {
    problems.addAt(field, std::to_string(in.size()), "are too many headers", "at most 1000");
    return;
  }
  for (int i = 0; i < in.size(); ++i) {
    const auto at = problems.element(field, static_cast<size_t>(i));
    const core::HeaderValueOption& option = in.Get(i);
    if (option.has_append() && option.append_action() != core::HeaderValueOption::APPEND_IF_EXISTS_OR_ADD) {
      problems.addAt("append_action", {}, "stands beside append; only one of them may be set");
    }
    const auto inside = problems.field("header");
    HeaderAddSpec add;
    add.name = absl::AsciiStrToLower(option.header().key());
    add.value = option.header().value().empty() ? option.header().raw_value() : option.header().value();
    add.action = actionOf(option);
    add.keep_empty = option.keep_empty_value();
    if (!isHeaderName(add.name)) {
      problems.addAt("key", option.header().key(), "is no header name");
      continue;
    }
    if (isProtected(add.name)) {
      problems.addAt("key", option.header().key(), "may not be changed here", "host and pseudo-headers have rewrite fields of their own");
      continue;
    }
    if (add.value.find_first_of(std::string_view("\0\r\n", 3)) != std::string::npos) {
      problems.addAt("value", add.value, "has CR, LF or NUL");
      continue;
    }
    const auto format = format::Format::compile(add.value);
    if (!format.ok()) {
      problems.addAt("value", add.value, base::toStd(format.status().message()));
      continue;
    }
    if (format->printsNewline()) {
      problems.addAt("value", add.value, "prints a line break (%n), which a header cannot hold");
      continue;
    }
    if (!format->withoutData().empty()) problems.unsupported("value");
    out.add.push_back(std::move(add));
  }
}

void RouteParts::remove(std::string_view field, const Names& in, HeaderEditSpec& out) {
  for (int i = 0; i < in.size(); ++i) {
    const auto at = problems.element(field, static_cast<size_t>(i));
    std::string name = absl::AsciiStrToLower(in.Get(i));
    if (!isHeaderName(name)) {
      problems.add(in.Get(i), "is no header name");
    } else if (isProtected(name)) {
      problems.add(in.Get(i), "may not be removed");
    } else {
      out.remove.push_back(std::move(name));
    }
  }
}

// ---- filters' own configs ----

void RouteParts::filters(const FilterConfigs& in, std::vector<FilterOverrideSpec>& out) {
  const auto field = problems.field("typed_per_filter_config");
  std::set<std::string> names;  // the map's order is random
  for (const auto& [name, any] : in) names.insert(name);
  for (const std::string& name : names) {
    const auto at = problems.key(name);
    const google::protobuf::Any& outer = in.at(name);
    FilterOverrideSpec each;
    each.filter = name;
    each.type_url = outer.type_url();
    each.bytes = outer.value();
    google::protobuf::Any inner = outer;
    bool optional = false;
    if (innerType(outer) == route::FilterConfig::descriptor()->full_name()) {
      route::FilterConfig wrapper;
      if (!unpack(outer, wrapper, problems)) continue;
      each.disabled = wrapper.disabled();
      optional = wrapper.is_optional();
      inner = wrapper.config();
    }
    if (!inner.type_url().empty()) {
      const std::string type = innerType(inner);
      if (overrides) {
        const size_t before = problems.size();
        each.parsed = overrides(type, inner, problems);
        if (each.parsed == nullptr && problems.size() == before && !optional) {
          problems.add(type, "is not a filter config that Outrider has for routes");
        }
      } else if (optional) {
        problems.unsupported(type);
      } else {
        problems.add(type, "is not a filter config that Outrider has for routes");
      }
    } else if (!each.disabled) {
      problems.add("has neither a config nor disabled");
    }
    out.push_back(std::move(each));
  }
}

// ---- virtual hosts ----

namespace {

class TableParser {
 public:
  TableParser(Problems& problems, const OverrideParser& overrides) : problems_(problems), parts_{problems, overrides} {}

  // All but the virtual hosts.
  RouteTableSpec rules(const route::RouteConfiguration& in) {
    reportOthers(in,
                 {"name", "virtual_hosts", "internal_only_headers", "response_headers_to_add", "response_headers_to_remove",
                  "request_headers_to_add", "request_headers_to_remove", "validate_clusters", "most_specific_header_mutations_wins",
                  "max_direct_response_body_size_bytes", "ignore_port_in_host_matching", "vhost_header", "typed_per_filter_config"},
                 problems_, {"vhds", "ignore_path_parameters_in_path_matching"});
    RouteTableSpec out;
    out.name = in.name();
    if (in.has_max_direct_response_body_size_bytes()) parts_.most_direct_bytes = in.max_direct_response_body_size_bytes().value();
    if (in.has_validate_clusters()) out.validate_clusters = in.validate_clusters().value();
    out.most_specific_wins = in.most_specific_header_mutations_wins();
    out.ignore_port = in.ignore_port_in_host_matching();
    out.vhost_header = absl::AsciiStrToLower(in.vhost_header());
    if (!out.vhost_header.empty() && !isHeaderName(out.vhost_header))
      problems_.addAt("vhost_header", in.vhost_header(), "is no header name");
    for (int i = 0; i < in.internal_only_headers_size(); ++i) {
      const auto at = problems_.element("internal_only_headers", static_cast<size_t>(i));
      const std::string& name = in.internal_only_headers(i);
      if (!isHeaderName(name))
        problems_.add(name, "is no header name");
      else
        out.internal_only_headers.push_back(absl::AsciiStrToLower(name));
    }
    parts_.edits(in, out.request, out.response);
    parts_.filters(in.typed_per_filter_config(), out.filters);
    return out;
  }

  // At the host's path: all but its routes, which follow one by one.
  VirtualHostSpec host(const route::VirtualHost& in) {
    VirtualHostSpec out;
    host(in, out);
    return out;
  }
  RouteSpec route(const route::Route& in) {
    RouteSpec out;
    oneRoute(in, out);
    return out;
  }
  // A host that was made before, and outlives this, has its domains too.
  void take(const VirtualHost& host) {
    for (size_t i = 0; i < host.domains().size(); ++i) {
      const auto at = problems_.element("domains", i);
      own(host.domains()[i], host.domains()[i], host.name());
    }
  }
  void expect(size_t domains) { domains_.reserve(domains); }
  bool readFiles() const { return parts_.read_files; }
  void forgetFiles() { parts_.read_files = false; }

 private:
  void host(const route::VirtualHost& in, VirtualHostSpec& out) {
    reportOthers(in,
                 {"name", "domains", "routes", "require_tls", "request_headers_to_add", "request_headers_to_remove",
                  "response_headers_to_add", "response_headers_to_remove", "typed_per_filter_config", "retry_policy",
                  "include_request_attempt_count", "include_attempt_count_in_response"},
                 problems_, {"matcher", "retry_policy_typed_config"});
    out.name = in.name();
    if (out.name.empty()) problems_.addAt("name", {}, "is empty");
    if (in.domains().empty()) problems_.addAt("domains", {}, "is empty", "at least one domain, '*' for any");
    for (int i = 0; i < in.domains_size(); ++i) {
      const auto at = problems_.element("domains", static_cast<size_t>(i));
      domain(in.domains(i), out);
    }
    switch (in.require_tls()) {
      case route::VirtualHost::NONE: break;
      case route::VirtualHost::EXTERNAL_ONLY: out.require_tls = VirtualHostSpec::Tls::kExternalOnly; break;
      case route::VirtualHost::ALL: out.require_tls = VirtualHostSpec::Tls::kAll; break;
      default: problems_.addAt("require_tls", std::to_string(in.require_tls()), "is no value of this field", "NONE, EXTERNAL_ONLY or ALL");
    }
    out.request_attempt_count = in.include_request_attempt_count();
    out.response_attempt_count = in.include_attempt_count_in_response();
    parts_.edits(in, out.request, out.response);
    parts_.filters(in.typed_per_filter_config(), out.filters);
    parts_.host_retry.reset();
    if (in.has_retry_policy()) {
      const auto at = problems_.field("retry_policy");
      parts_.retry(in.retry_policy(), parts_.host_retry.emplace());
    }
  }

  void domain(const std::string& in, VirtualHostSpec& out) {
    if (in.empty()) {
      problems_.add("is empty");
      return;
    }
    if (in.find_first_of(std::string_view("\0\r\n", 3)) != std::string::npos) {
      problems_.add(in, "has CR, LF or NUL");
      return;
    }
    if (in.size() > 2 && in.find('*', 1) < in.size() - 1) {
      problems_.add(in, "has a wildcard inside", "a '*' at its start or at its end");
      return;
    }
    std::string lower = absl::AsciiStrToLower(in);
    if (lower.size() > 1 && lower.front() == '*' && lower.back() == '*') {
      problems_.add(in, "has two wildcards", "a '*' at its start or at its end");
      return;
    }
    if (own(in, texts_.emplace_back(lower), texts_.emplace_back(out.name))) out.domains.push_back(std::move(lower));
  }

  bool own(std::string_view as_given, std::string_view lower, std::string_view host) {
    const auto [it, fresh] = domains_.emplace(lower, host);
    if (!fresh) {
      problems_.add(as_given, absl::StrCat("is a domain of virtual host '", std::string(it->second),
                                           "' already; domains are unique in a route configuration"));
    }
    return fresh;
  }

  void oneRoute(const route::Route& in, RouteSpec& out) {
    reportOthers(in,
                 {"name", "match", "route", "redirect", "direct_response", "non_forwarding_action", "request_headers_to_add",
                  "request_headers_to_remove", "response_headers_to_add", "response_headers_to_remove", "typed_per_filter_config"},
                 problems_, {"filter_action"});
    out.name = in.name();
    out.stat_prefix = in.stat_prefix();
    if (in.has_match()) {
      const auto at = problems_.field("match");
      parts_.match(in.match(), out.match);
    } else {
      problems_.addAt("match", {}, "is missing");
    }
    parts_.edits(in, out.request, out.response);
    parts_.filters(in.typed_per_filter_config(), out.filters);
    switch (in.action_case()) {
      case route::Route::kRoute: {
        const auto at = problems_.field("route");
        parts_.forward(in.route(), out.forward);
        break;
      }
      case route::Route::kRedirect: {
        const auto at = problems_.field("redirect");
        out.action = RouteSpec::Action::kRedirect;
        parts_.redirect(in.redirect(), out.redirect);
        break;
      }
      case route::Route::kDirectResponse: {
        const auto at = problems_.field("direct_response");
        out.action = RouteSpec::Action::kDirect;
        parts_.direct(in.direct_response(), out.direct);
        break;
      }
      case route::Route::kNonForwardingAction: out.action = RouteSpec::Action::kNonForwarding; break;
      case route::Route::kFilterAction: break;  // refused above
      case route::Route::ACTION_NOT_SET:
        problems_.add({}, "has no action", "one of route, redirect, direct_response, non_forwarding_action");
        break;
    }
  }

  Problems& problems_;
  RouteParts parts_;
  absl::flat_hash_map<std::string_view, std::string_view> domains_;  // whose it is
  std::deque<std::string> texts_;                                    // of hosts that are not made yet
};

// The bytes of a message, those of one repeated field apart from all else.
struct Slices {
  std::vector<std::string_view> of;
  std::string rest;
};

// False: no protobuf message.
bool slice(std::string_view bytes, int field, Slices& out) {
  using google::protobuf::internal::WireFormatLite;
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
  const uint32_t wanted = WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  for (;;) {
    const auto start = static_cast<size_t>(in.CurrentPosition());
    const uint32_t tag = in.ReadTag();
    if (tag == 0) return start == bytes.size();
    if (tag == wanted) {
      uint32_t size = 0;
      if (!in.ReadVarint32(&size)) return false;
      const auto at = static_cast<size_t>(in.CurrentPosition());
      if (size > bytes.size() - at || !in.Skip(static_cast<int>(size))) return false;
      out.of.push_back(bytes.substr(at, size));
      continue;
    }
    if (!WireFormatLite::SkipField(&in, tag)) return false;
    out.rest += bytes.substr(start, static_cast<size_t>(in.CurrentPosition()) - start);
  }
}

// Finds parts of the version before by their digests. Most stand where they stood, or a few places on.
template <class DigestAt>
class Before {
 public:
  Before(size_t count, DigestAt digest_at) : count_(count), digest_at_(std::move(digest_at)) {}
  std::optional<size_t> find(const Digest& digest) {
    if (count_ == 0) return std::nullopt;
    if (next_ < count_ && digest_at_(next_) == digest) return next_++;
    if (places_.empty()) {
      places_.reserve(count_);
      for (size_t i = 0; i < count_; ++i) places_.emplace(digest_at_(i).low, i);
    }
    const auto at = places_.find(digest.low);
    if (at == places_.end() || digest_at_(at->second) != digest) {
      ++next_;  // this one changed
      return std::nullopt;
    }
    next_ = at->second + 1;
    return at->second;
  }

 private:
  const size_t count_;
  const DigestAt digest_at_;
  size_t next_ = 0;
  absl::flat_hash_map<uint64_t, size_t> places_;
};

std::shared_ptr<const RouteTable> assemble(std::shared_ptr<const TableRules> rules, RouteTable::Hosts hosts, const HostCompiler& compiler,
                                           Problems& problems) {
  if (!compiler.status().ok()) {
    problems.add(base::toStd(compiler.status().message()));
    return nullptr;
  }
  auto table = RouteTable::assemble(std::move(rules), std::move(hosts), compiler.plans());
  if (table.ok()) return *std::move(table);
  problems.add(base::toStd(table.status().message()));
  return nullptr;
}

// Reads one table's bytes, host by host.
class TableReader {
 public:
  TableReader(const Checker& checker, const RouteTable* before, ParseContext& context, const OverrideParser& overrides)
      : checker_(checker),
        before_(before),
        problems_(context.problems),
        found_(problems_.size()),
        parser_(problems_, overrides),
        compiler_(context.names) {}

  std::shared_ptr<const RouteTable> read(std::string_view bytes) {
    Slices slices;
    route::RouteConfiguration rest;
    if (!slice(bytes, route::RouteConfiguration::kVirtualHostsFieldNumber, slices) || !rest.ParseFromString(slices.rest)) {
      problems_.add("cannot be decoded");
      return nullptr;
    }
    if (!checker_.check(rest, slices.rest, problems_)) return nullptr;  // what hosts are held against is not known
    const Digest digest = Digest::of(slices.rest);
    // Hosts keep what they have of the table, so it must be equal; what it leaves without effect is reported again.
    if (before_ != nullptr && before_->rules()->digest != digest) before_ = nullptr;
    RouteTableSpec spec = parser_.rules(rest);
    rules_ = before_ != nullptr ? before_->rules() : compiler_.rules(std::move(spec), digest);
    if (before_ != nullptr) compiler_.know(before_->plans());
    static const RouteTable::Hosts none;
    const RouteTable::Hosts& known = before_ != nullptr ? before_->hosts() : none;
    Before finder(known.size(), [&known](size_t i) { return known[i]->origin().whole; });
    parser_.expect(slices.of.size());
    RouteTable::Hosts hosts;
    hosts.reserve(slices.of.size());
    for (size_t i = 0; i < slices.of.size(); ++i) {
      const auto at = problems_.element("virtual_hosts", i);
      const Digest whole = Digest::of(slices.of[i]);
      const auto place = finder.find(whole);
      if (place.has_value() && known[*place]->origin().reusable) {
        hosts.push_back(known[*place]);
        for (const std::string& path : hosts.back()->origin().unsupported) problems_.unsupported(path);
        parser_.take(*hosts.back());
      } else if (auto host = readHost(slices.of[i], whole, i)) {
        hosts.push_back(std::move(host));
      }
    }
    if (problems_.size() != found_) return nullptr;
    return assemble(std::move(rules_), std::move(hosts), compiler_, problems_);
  }

 private:
  // Routes of hosts with fewer are not worth a digest each.
  static constexpr size_t kManyRoutes = 16;

  std::shared_ptr<const VirtualHost> readHost(std::string_view bytes, const Digest& whole, size_t index) {
    Slices slices;
    if (!slice(bytes, route::VirtualHost::kRoutesFieldNumber, slices) || !host_.ParseFromString(slices.rest)) {
      problems_.add("cannot be decoded");
      return nullptr;
    }
    const size_t prefix = problems_.path().size() + 1;
    const size_t unsupported = problems_.unsupportedPaths().size();
    parser_.forgetFiles();
    const bool sound = checker_.check(host_, slices.rest, problems_);
    const VirtualHostSpec spec = sound ? parser_.host(host_) : VirtualHostSpec();
    VirtualHost::Origin origin{whole, Digest::of(slices.rest), {}, false, {}};
    const VirtualHost* former = slices.of.size() < kManyRoutes ? nullptr : formerOf(spec.name, index);
    if (former != nullptr && (former->origin().rest != origin.rest || !former->origin().reusable)) former = nullptr;
    readRoutes(slices.of, spec, former, bytes.size(), origin);
    if (problems_.size() != found_) return nullptr;
    origin.reusable = !parser_.readFiles();
    for (size_t i = unsupported; i < problems_.unsupportedPaths().size(); ++i) {
      origin.unsupported.push_back(problems_.unsupportedPaths()[i].substr(prefix));
    }
    return compiler_.finish(std::move(origin));
  }

  void readRoutes(const std::vector<std::string_view>& routes, const VirtualHostSpec& spec, const VirtualHost* former, size_t bytes,
                  VirtualHost::Origin& origin) {
    const size_t known = former == nullptr ? 0 : former->origin().routes.size();
    Before finder(known, [former](size_t i) { return former->origin().routes[i]; });
    // Names and paths are parts of the bytes, but for a path that is not said.
    compiler_.begin(spec, rules_, routes.size(), bytes + routes.size());
    if (routes.size() >= kManyRoutes) origin.routes.reserve(routes.size());
    for (size_t i = 0; i < routes.size(); ++i) {
      const auto at = problems_.element("routes", i);
      if (routes.size() >= kManyRoutes) {
        origin.routes.push_back(Digest::of(routes[i]));
        if (const auto place = finder.find(origin.routes.back())) {
          sayUnsupported(*former, *place);
          compiler_.add(former->routes()[*place]);
          continue;
        }
      }
      if (!route_.ParseFromArray(routes[i].data(), static_cast<int>(routes[i].size()))) {
        problems_.add("cannot be decoded");
        continue;
      }
      if (!checker_.check(route_, routes[i], problems_)) continue;
      RouteSpec made = parser_.route(route_);
      if (problems_.size() == found_) compiler_.add(std::move(made));
    }
  }

  // What a route of `former` has without effect, at the place that it has now.
  void sayUnsupported(const VirtualHost& former, size_t place) {
    if (former.origin().unsupported.empty()) return;
    const std::string step = absl::StrCat("routes[", place, "].");
    for (const std::string& path : former.origin().unsupported) {
      if (path.starts_with(step)) problems_.unsupported(std::string_view(path).substr(step.size()));
    }
  }

  // The host of that name in the version before; most often at the same place.
  const VirtualHost* formerOf(std::string_view name, size_t index) {
    if (before_ == nullptr) return nullptr;
    const RouteTable::Hosts& hosts = before_->hosts();
    if (index < hosts.size() && hosts[index]->name() == name) return hosts[index].get();
    if (by_name_.empty()) {
      for (const auto& host : hosts) by_name_.emplace(host->name(), host.get());
    }
    const auto at = by_name_.find(name);
    return at == by_name_.end() ? nullptr : at->second;
  }

  const Checker& checker_;
  const RouteTable* before_;
  Problems& problems_;
  const size_t found_;
  TableParser parser_;
  HostCompiler compiler_;
  std::shared_ptr<const TableRules> rules_;
  absl::flat_hash_map<std::string_view, const VirtualHost*> by_name_;
  route::VirtualHost host_;  // kept for their memory
  route::Route route_;
};

}  // namespace

RouteTableSpec parseRoutes(const route::RouteConfiguration& in, Problems& problems, const OverrideParser& overrides) {
  TableParser parser(problems, overrides);
  RouteTableSpec out = parser.rules(in);
  for (int i = 0; i < in.virtual_hosts_size(); ++i) {
    const auto at = problems.element("virtual_hosts", static_cast<size_t>(i));
    VirtualHostSpec& host = out.hosts.emplace_back(parser.host(in.virtual_hosts(i)));
    for (int j = 0; j < in.virtual_hosts(i).routes_size(); ++j) {
      const auto inside = problems.element("routes", static_cast<size_t>(j));
      host.routes.push_back(parser.route(in.virtual_hosts(i).routes(j)));
    }
  }
  return out;
}

std::shared_ptr<const RouteTable> parseRouteTable(const route::RouteConfiguration& in, ParseContext& context,
                                                  const OverrideParser& overrides) {
  const size_t found = context.problems.size();
  RouteTableSpec spec = parseRoutes(in, context.problems, overrides);
  if (context.problems.size() != found) return nullptr;
  auto table = RouteTable::compile(std::move(spec), context.names);
  if (table.ok()) return *std::move(table);
  context.problems.add(base::toStd(table.status().message()));
  return nullptr;
}

std::shared_ptr<const RouteTable> readRouteTable(std::string_view bytes, const Checker& checker, const RouteTable* before,
                                                 ParseContext& context, const OverrideParser& overrides) {
  return TableReader(checker, before, context, overrides).read(bytes);
}

// ---- scopes ----

ScopeSpec parseScope(const route::ScopedRouteConfiguration& in, Problems& problems) {
  reportOthers(in, {"name", "route_configuration_name", "route_configuration", "key"}, problems);
  ScopeSpec out;
  out.name = in.name();
  out.route_config = in.route_configuration_name();
  if (out.name.empty()) problems.addAt("name", {}, "is empty");
  if (out.route_config.empty() == !in.has_route_configuration()) {
    problems.add({}, "must have exactly one of route_configuration_name, route_configuration");
  }
  if (in.key().fragments().empty()) problems.addAt("key", {}, "has no fragments");
  for (const auto& fragment : in.key().fragments()) out.key.push_back(fragment.string_key());
  return out;
}

ScopeKeySpec parseScopeKey(const hcm::ScopedRoutes_ScopeKeyBuilder& in, Problems& problems) {
  ScopeKeySpec out;
  if (in.fragments().empty()) problems.addAt("fragments", {}, "is empty");
  for (int i = 0; i < in.fragments_size(); ++i) {
    const auto at = problems.element("fragments", static_cast<size_t>(i));
    if (!in.fragments(i).has_header_value_extractor()) {
      problems.addAt("header_value_extractor", {}, "is missing");
      continue;
    }
    const auto inside = problems.field("header_value_extractor");
    const auto& extractor = in.fragments(i).header_value_extractor();
    ScopeKeySpec::Fragment fragment;
    fragment.header = absl::AsciiStrToLower(extractor.name());
    fragment.element_separator = extractor.element_separator();
    if (!isHeaderName(fragment.header)) problems.addAt("name", extractor.name(), "is no header name");
    if (extractor.has_element()) {
      fragment.by_key = true;
      fragment.key = extractor.element().key();
      fragment.key_separator = extractor.element().separator();
      if (fragment.key.empty()) problems.addAt("element.key", {}, "is empty");
      if (fragment.key_separator.empty()) problems.addAt("element.separator", {}, "is empty");
    } else {
      fragment.index = extractor.index();
      if (fragment.element_separator.empty() && fragment.index != 0) {
        problems.addAt("index", std::to_string(fragment.index), "is past the only element", "0 without an element_separator");
      }
    }
    out.fragments.push_back(std::move(fragment));
  }
  return out;
}

}  // namespace outrider::config
