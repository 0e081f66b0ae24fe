#include "source/config/route_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace outrider::config {
namespace {

std::string_view portless(std::string_view host) {
  const size_t colon = host.rfind(':');
  if (colon == std::string_view::npos) return host;
  const size_t bracket = host.rfind(']');
  return bracket == std::string_view::npos || bracket < colon ? host.substr(0, colon) : host;
}

}  // namespace

RouteTable::RouteTable(std::shared_ptr<const TableRules> rules, Hosts hosts, HostCompiler::Plans plans)
    : rules_(std::move(rules)), hosts_(std::move(hosts)), plans_(std::move(plans)) {}

absl::StatusOr<std::shared_ptr<const RouteTable>> RouteTable::compile(RouteTableSpec spec, NameTable& names) {
  HostCompiler compiler(names);
  std::vector<VirtualHostSpec> specs;
  specs.swap(spec.hosts);
  const auto rules = compiler.rules(std::move(spec));
  Hosts hosts;
  hosts.reserve(specs.size());
  for (VirtualHostSpec& host : specs) hosts.push_back(compiler.host(std::move(host), rules));
  if (!compiler.status().ok()) return compiler.status();
  return assemble(rules, std::move(hosts), compiler.plans());
}

absl::StatusOr<std::shared_ptr<const RouteTable>> RouteTable::assemble(std::shared_ptr<const TableRules> rules, Hosts hosts,
                                                                       HostCompiler::Plans plans) {
  std::shared_ptr<RouteTable> table(new RouteTable(std::move(rules), std::move(hosts), std::move(plans)));
  table->exact_.reserve(table->hosts_.size());
  for (const auto& host : table->hosts_) {
    for (const std::string_view domain : host->domains()) {
      if (table->addDomain(domain, *host)) continue;
      return absl::InvalidArgumentError(absl::StrCat("domain ", std::string(domain), " is used twice"));
    }
  }
  const auto longest = [](auto& list) { std::sort(list.begin(), list.end(), [](auto& a, auto& b) { return a.first > b.first; }); };
  longest(table->suffixes_);
  longest(table->prefixes_);
  return std::shared_ptr<const RouteTable>(std::move(table));
}

bool RouteTable::addDomain(std::string_view domain, const VirtualHost& host) {
  const auto mapOf = [](auto& list, size_t length) -> Domains& {
    for (auto& [size, map] : list) {
      if (size == length) return map;
    }
    return list.emplace_back(length, Domains()).second;
  };
  if (domain == "*") return std::exchange(any_, &host) == nullptr;
  const size_t length = domain.empty() ? 0 : domain.size() - 1;
  if (domain.starts_with('*')) return mapOf(suffixes_, length).try_emplace(domain.substr(1), &host).second;
  if (domain.ends_with('*')) return mapOf(prefixes_, length).try_emplace(domain.substr(0, length), &host).second;
  return exact_.try_emplace(domain, &host).second;
}

std::vector<ClusterId> RouteTable::clusters() const {
  std::vector<ClusterId> out;
  for (const auto& host : hosts_) {
    for (const CompiledRoute& route : host->routes()) route.forEachCluster([&out](ClusterId id) { out.push_back(id); });
  }
  std::sort(out.begin(), out.end(), [](ClusterId a, ClusterId b) { return a.index() < b.index(); });
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

const VirtualHost* RouteTable::hostOf(const http::RequestHead& head, std::string_view* domain) const {
  if (!rules_->spec.vhost_header.empty() && !rules_->vhost_header.firstIn(head).has_value()) return nullptr;  // not even "*", as Envoy
  const auto say = [domain](std::string_view text) {
    if (domain != nullptr) *domain = text;
  };
  const bool only_any = exact_.empty() && suffixes_.empty() && prefixes_.empty();
  if (!only_any) {
    std::string_view host = head.authority;
    if (!rules_->spec.vhost_header.empty()) host = rules_->vhost_header.firstIn(head).value_or(std::string_view());
    if (rules_->spec.ignore_port) host = portless(host);
    // Domains are lower case; hosts are compared without case.
    char small[256];
    char* lower = host.size() <= sizeof small ? small : head.headers.arena().bytes(host.size());
    for (size_t i = 0; i < host.size(); ++i) lower[i] = http::lowerAscii(host[i]);
    const std::string_view name(lower, host.size());
    if (const auto it = exact_.find(name); it != exact_.end()) {
      say(it->first);
      return it->second;
    }
    for (const auto& [size, map] : suffixes_) {
      if (size >= name.size()) continue;  // the '*' stands for one byte or more
      if (const auto it = map.find(name.substr(name.size() - size)); it != map.end()) {
        say(it->first);
        return it->second;
      }
    }
    for (const auto& [size, map] : prefixes_) {
      if (size >= name.size()) continue;
      if (const auto it = map.find(name.substr(0, size)); it != map.end()) {
        say(it->first);
        return it->second;
      }
    }
  }
  if (any_ != nullptr) say("*");
  return any_;
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
  out.host = host->name();
  // The map holds the text without its '*'; the spec has it.
  out.domain = domain;
  for (const std::string_view each : host->domains()) {
    const std::string_view text = domain;
    if (each.size() == text.size() + 1 &&
        ((each.front() == '*' && each.ends_with(text)) || (each.back() == '*' && each.starts_with(text)))) {
      out.domain = each;
    }
  }
  if (const CompiledRoute* redirect = host->tlsRedirect(head)) {
    out.routes.push_back({redirect, {}});
    out.winner = redirect;
    return out;
  }
  const std::string_view plain = head.pathWithoutQuery();
  const bool connect = isPlainConnect(head);
  for (const CompiledRoute& route : host->routes()) {
    std::string lost = route.why(head, plain, connect, context);
    const bool won = lost.empty();
    out.routes.push_back({&route, std::move(lost)});
    if (won) {
      out.winner = &route;
      break;
    }
  }
  return out;
}

void RouteTable::removeInternalOnly(http::HeaderMap& headers) const {
  for (const http::FieldName& name : rules_->internal_only) headers.remove(name.name());
}

size_t RouteTable::routeCount() const {
  size_t count = 0;
  for (const auto& host : hosts_) count += host->routes().size();
  return count;
}

}  // namespace outrider::config
