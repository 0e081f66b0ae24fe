#include "source/config/endpoint_parse.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "source/config/slices.h"
#include "source/config/usual_endpoints.h"

// Deprecated fields still arrive from control planes.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace outrider::config {
namespace {

namespace core = envoy::config::core::v3;
namespace pb = envoy::config::endpoint::v3;

HealthStatus healthStatus(core::HealthStatus in) {
  switch (in) {
    case core::HEALTHY: return HealthStatus::kHealthy;
    case core::UNHEALTHY: return HealthStatus::kUnhealthy;
    case core::DRAINING: return HealthStatus::kDraining;
    case core::TIMEOUT: return HealthStatus::kTimeout;
    case core::DEGRADED: return HealthStatus::kDegraded;
    default: return HealthStatus::kUnknown;
  }
}

// At the path of the address. `name`: what DNS has to resolve.
void parseAddress(const core::Address& in, Names names, EndpointSpec& out, std::string& name, Problems& problems) {
  if (in.has_pipe()) {
    if (const auto path = base::Address::unixPath(in.pipe().path())) {
      out.address = *path;
    } else {
      problems.addAt("pipe.path", in.pipe().path(), "is no UNIX socket path", "1 to 107 bytes");
    }
    return;
  }
  if (in.has_envoy_internal_address()) {
    problems.addAt("envoy_internal_address", {}, "is not supported yet", "socket_address or pipe");
    return;
  }
  if (!in.has_socket_address()) {
    problems.add({}, "is missing", "socket_address or pipe");
    return;
  }
  const auto at = problems.field("socket_address");
  const core::SocketAddress& socket = in.socket_address();
  if (socket.protocol() != core::SocketAddress::TCP) problems.addAt("protocol", "UDP", "is not supported", "TCP");
  if (socket.has_named_port()) problems.addAt("named_port", socket.named_port(), "is not supported", "port_value");
  if (!socket.resolver_name().empty()) problems.addAt("resolver_name", socket.resolver_name(), "is not supported: it would lead elsewhere");
  if (!socket.network_namespace_filepath().empty()) {
    problems.addAt("network_namespace_filepath", socket.network_namespace_filepath(), "is not supported: it would lead elsewhere");
  }
  if (socket.port_value() > 65535) problems.addAt("port_value", absl::StrCat(socket.port_value()), "is no port", "0 to 65535");
  out.port = static_cast<uint16_t>(socket.port_value());
  if (const auto address = base::Address::parseIp(socket.address(), out.port)) {
    out.address = *address;
    return;
  }
  name = socket.address();
  if (names == Names::kRefused) {
    problems.addAt("address", socket.address(), "malformed IP address",
                   "an IPv4 or IPv6 address; names need a STRICT_DNS or LOGICAL_DNS cluster");
  } else if (socket.address().empty()) {
    problems.addAt("address", {}, "is empty", "an address or a DNS name");
  }
}

const google::protobuf::Value* lbValue(const core::Metadata& metadata, const std::string& key) {
  const auto lb = metadata.filter_metadata().find("envoy.lb");
  if (lb == metadata.filter_metadata().end()) return nullptr;
  const auto value = lb->second.fields().find(key);
  return value == lb->second.fields().end() ? nullptr : &value->second;
}

Labels labelsUnder(const core::Metadata& metadata, const std::string& filter) {
  const auto at = metadata.filter_metadata().find(filter);
  return at == metadata.filter_metadata().end() ? Labels() : labelsOf(at->second);
}

// Parses endpoints of one assignment, and lets equal details be one object.
class EndpointParser {
 public:
  EndpointParser(Names names, Problems& problems) : names_(names), problems_(problems) {}

  EndpointSpec parse(const pb::LbEndpoint& in) {
    EndpointSpec out;
    EndpointDetails details;
    out.health = healthStatus(in.health_status());
    if (in.has_load_balancing_weight()) {
      out.weight = in.load_balancing_weight().value();
      if (out.weight == 0) problems_.addAt("load_balancing_weight", "0", "is too small", "1 or more");
    }
    if (in.has_metadata()) readMetadata(in.metadata(), details);
    if (in.has_endpoint()) {
      readEndpoint(in.endpoint(), out, details);
    } else {
      problems_.addAt("endpoint", in.endpoint_name(), in.endpoint_name().empty() ? "is missing" : "named endpoints are not supported",
                      "endpoint");
    }
    static const EndpointDetails none;
    if (details != none) out.details = shared(std::move(details));
    return out;
  }

 private:
  static void readMetadata(const core::Metadata& in, EndpointDetails& out) {
    out.metadata = stableBytes(in);
    if (const auto* key = lbValue(in, "hash_key")) out.hash_key = key->string_value();
    if (const auto* canary = lbValue(in, "canary")) out.canary = canary->bool_value();
    out.socket_labels = labelsUnder(in, "envoy.transport_socket_match");
    out.lb_labels = labelsUnder(in, "envoy.lb");
  }

  void readEndpoint(const pb::Endpoint& in, EndpointSpec& out, EndpointDetails& details) {
    const auto at = problems_.field("endpoint");
    details.hostname = in.hostname();
    {
      const auto inner = problems_.field("address");
      parseAddress(in.address(), names_, out, details.name, problems_);
    }
    if (!in.has_health_check_config()) return;
    const auto inner = problems_.field("health_check_config");
    const pb::Endpoint::HealthCheckConfig& check = in.health_check_config();
    if (check.port_value() > 65535) problems_.addAt("port_value", absl::StrCat(check.port_value()), "is no port", "0 to 65535");
    details.check_port = static_cast<uint16_t>(check.port_value());
    details.check_hostname = check.hostname();
    details.check_disabled = check.disable_active_health_check();
    if (check.has_address()) problems_.addAt("address", {}, "is not supported: another server would be asked", "port_value");
  }

  std::shared_ptr<const EndpointDetails> shared(EndpointDetails details) {
    if (last_ != nullptr && *last_ == details) return last_;
    std::string key = absl::StrCat(details.name, "\n", details.hostname, "\n", details.check_hostname, "\n", details.check_port,
                                   details.check_disabled ? "-" : "+", details.metadata);
    auto& known = known_[std::move(key)];
    if (known == nullptr || *known != details) known = std::make_shared<const EndpointDetails>(std::move(details));
    return last_ = known;
  }

  const Names names_;
  Problems& problems_;
  std::shared_ptr<const EndpointDetails> last_;
  absl::flat_hash_map<std::string, std::shared_ptr<const EndpointDetails>> known_;
};

}  // namespace

Labels labelsOf(const google::protobuf::Struct& in) {
  Labels out;
  for (const auto& [key, value] : in.fields()) out.emplace_back(key, stableBytes(value));
  std::sort(out.begin(), out.end());
  return out;
}

namespace {

// Policy and name; at the assignment.
void parseFrame(const pb::ClusterLoadAssignment& in, EndpointsSpec& out, Problems& problems) {
  out.cluster_name = in.cluster_name();
  if (in.policy().has_overprovisioning_factor()) out.overprovisioning_factor = in.policy().overprovisioning_factor().value();
  out.weighted_priority_health = in.policy().weighted_priority_health();
  if (in.policy().drop_overloads_size() > 0) {
    const auto at = problems.field("policy");
    problems.addAt("drop_overloads", {}, "is not supported yet: too much traffic would pass");
  }
}

// All but the endpoints; at the locality.
LocalityEndpoints parseLocality(const pb::LocalityLbEndpoints& in, Problems& problems) {
  LocalityEndpoints out;
  out.region = in.locality().region();
  out.zone = in.locality().zone();
  out.sub_zone = in.locality().sub_zone();
  out.priority = in.priority();
  if (out.priority > 128) {
    problems.addAt("priority", absl::StrCat(out.priority), "is too big", "0 to 128");
    out.priority = 128;
  }
  out.weight = in.load_balancing_weight().value();
  if (in.has_metadata()) out.socket_labels = labelsUnder(in.metadata(), "envoy.transport_socket_match");
  if (in.has_leds_cluster_locality_config()) problems.addAt("leds_cluster_locality_config", {}, "is not supported", "lb_endpoints");
  return out;
}

void parseListed(const pb::LocalityLbEndpoints& in, LocalityEndpoints& out, EndpointParser& parser, Problems& problems) {
  const bool listed = in.has_load_balancer_endpoints();
  out.listed = listed;
  const auto& endpoints = listed ? in.load_balancer_endpoints().lb_endpoints() : in.lb_endpoints();
  out.endpoints.reserve(static_cast<size_t>(endpoints.size()));
  for (int e = 0; e < endpoints.size(); ++e) {
    const auto inner = problems.element(listed ? "load_balancer_endpoints.lb_endpoints" : "lb_endpoints", static_cast<size_t>(e));
    out.endpoints.push_back(parser.parse(endpoints[e]));
  }
}

void checkPriorities(const EndpointsSpec& spec, Problems& problems) {
  std::vector<bool> used;
  for (const LocalityEndpoints& each : spec.localities) {
    if (used.size() <= each.priority) used.resize(each.priority + 1);
    used[each.priority] = true;
  }
  const auto gap = std::find(used.begin(), used.end(), false);
  if (gap == used.end()) return;
  problems.addAt("endpoints", absl::StrCat(used.size() - 1),
                 absl::StrCat("a priority is used, but none below it is: ", gap - used.begin(), " is missing"),
                 "priorities from 0 without a gap");
}

// An assignment from its bytes, endpoint by endpoint.
class EndpointReader {
 public:
  EndpointReader(const Checker& checker, Problems& problems)
      : checker_(checker), problems_(problems), found_(problems.size()), parser_(Names::kRefused, problems) {}

  std::shared_ptr<const EndpointsSpec> read(const std::shared_ptr<const std::string>& bytes, const EndpointsSpec* before) {
    Slices slices;
    pb::ClusterLoadAssignment frame;
    if (!cut(*bytes, pb::ClusterLoadAssignment::kEndpointsFieldNumber, slices, frame)) return nullptr;
    Slices former;
    if (before != nullptr && before->source != nullptr) slice(*before->source, pb::ClusterLoadAssignment::kEndpointsFieldNumber, former);
    const size_t unsupported = problems_.unsupportedPaths().size();
    auto out = std::make_shared<EndpointsSpec>();
    parseFrame(frame, *out, problems_);
    out->localities.reserve(slices.of.size());
    for (size_t i = 0; i < slices.of.size(); ++i) {
      const auto at = problems_.element("endpoints", i);
      const bool known = i < former.of.size();
      if (known && former.of[i] == slices.of[i]) {
        out->localities.push_back(before->localities[i]);
      } else {
        readLocality(slices.of[i], known ? former.of[i] : std::string_view(), known ? &before->localities[i] : nullptr, *out);
      }
    }
    if (problems_.size() != found_) return nullptr;
    checkPriorities(*out, problems_);
    if (problems_.size() != found_) return nullptr;
    // What has no effect is said each time, so it is looked for again each time.
    if (problems_.unsupportedPaths().size() == unsupported) out->source = bytes;
    return out;
  }

 private:
  template <class M>
  bool cut(std::string_view bytes, int field, Slices& out, M& message) {
    if (!slice(bytes, field, out) || !message.ParseFromString(out.rest)) {
      problems_.add("cannot be decoded");
      return false;
    }
    return checker_.check(message, out.rest, problems_);
  }

  void readLocality(std::string_view bytes, std::string_view former_bytes, const LocalityEndpoints* before, EndpointsSpec& out) {
    Slices slices;
    if (!cut(bytes, pb::LocalityLbEndpoints::kLbEndpointsFieldNumber, slices, locality_)) return;
    LocalityEndpoints& to = out.localities.emplace_back(parseLocality(locality_, problems_));
    if (locality_.has_load_balancer_endpoints()) {
      // Rare, and then the endpoints in the usual place must be sound, too.
      if (!locality_.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        problems_.add("cannot be decoded");
        return;
      }
      if (!checker_.check(locality_, bytes, problems_)) return;
      parseListed(locality_, to, parser_, problems_);
      return;
    }
    Slices former;
    if (before != nullptr && !before->listed) slice(former_bytes, pb::LocalityLbEndpoints::kLbEndpointsFieldNumber, former);
    to.endpoints.reserve(slices.of.size());
    // Both lists side by side, with room for one that came, went or changed.
    size_t next = 0;
    for (size_t i = 0; i < slices.of.size(); ++i) {
      const auto is = [&](size_t place) { return place < former.of.size() && former.of[place] == slices.of[i]; };
      if (is(next) || is(next + 1)) {
        if (!is(next)) ++next;
        to.endpoints.push_back(before->endpoints[next++]);
        continue;
      }
      // One that came: the next is where this one would have been.
      if (slices.of.size() <= former.of.size()) ++next;
      EndpointSpec made;
      if (usual_.read(slices.of[i], made)) {
        to.endpoints.push_back(std::move(made));
        continue;
      }
      const auto at = problems_.element("lb_endpoints", i);
      const size_t unsupported = problems_.unsupportedPaths().size();
      if (!endpoint_.ParseFromArray(slices.of[i].data(), static_cast<int>(slices.of[i].size()))) {
        problems_.add("cannot be decoded");
      } else if (checker_.check(endpoint_, slices.of[i], problems_)) {
        to.endpoints.push_back(parser_.parse(endpoint_));
        if (problems_.size() == found_ && problems_.unsupportedPaths().size() == unsupported) usual_.learn(to.endpoints.back());
      }
    }
  }

  const Checker& checker_;
  Problems& problems_;
  const size_t found_;
  EndpointParser parser_;
  UsualEndpoints usual_;
  pb::LocalityLbEndpoints locality_;  // kept for their memory
  pb::LbEndpoint endpoint_;
};

}  // namespace

EndpointsSpec parseEndpoints(const pb::ClusterLoadAssignment& in, Names names, Problems& problems) {
  EndpointsSpec out;
  parseFrame(in, out, problems);
  EndpointParser parser(names, problems);
  out.localities.reserve(static_cast<size_t>(in.endpoints_size()));
  for (int i = 0; i < in.endpoints_size(); ++i) {
    const auto at = problems.element("endpoints", static_cast<size_t>(i));
    parseListed(in.endpoints(i), out.localities.emplace_back(parseLocality(in.endpoints(i), problems)), parser, problems);
  }
  checkPriorities(out, problems);
  return out;
}

std::shared_ptr<const EndpointsSpec> readEndpoints(const std::shared_ptr<const std::string>& bytes, const Checker& checker,
                                                   const EndpointsSpec* before, Problems& problems) {
  return EndpointReader(checker, problems).read(bytes, before);
}

void declareEndpoints(Honored& honored) {
  honored.fields<pb::ClusterLoadAssignment>({"cluster_name", "endpoints", "policy"});
  honored.fields<pb::ClusterLoadAssignment::Policy>({"overprovisioning_factor", "weighted_priority_health", "drop_overloads"});
  honored.fields<pb::LocalityLbEndpoints>({"locality", "lb_endpoints", "load_balancer_endpoints", "load_balancing_weight", "priority",
                                           "leds_cluster_locality_config", "metadata"});
  honored.fields<pb::LocalityLbEndpoints::LbEndpointList>({"lb_endpoints"});
  honored.fields<pb::LbEndpoint>({"endpoint", "endpoint_name", "health_status", "metadata", "load_balancing_weight"});
  honored.fields<pb::Endpoint>({"address", "health_check_config", "hostname"});
  honored.fields<pb::Endpoint::HealthCheckConfig>({"port_value", "hostname", "address", "disable_active_health_check"});
}

}  // namespace outrider::config
