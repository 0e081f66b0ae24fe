// A route table from its bytes, part by part: what did not change since the version before is taken over.
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"
#include "source/config/route_parse_parts.h"
#include "source/config/route_table.h"
#include "source/config/slices.h"

namespace outrider::config {

namespace route = envoy::config::route::v3;

namespace {

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

std::shared_ptr<const RouteTable> readRouteTable(std::string_view bytes, const Checker& checker, const RouteTable* before,
                                                 ParseContext& context, const OverrideParser& overrides) {
  return TableReader(checker, before, context, overrides).read(bytes);
}

}  // namespace outrider::config
