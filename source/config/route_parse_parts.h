// The parsers of a route table's parts. Only route_parse.cc, route_action_parse.cc and route_read.cc include this.
#pragma once

#include <google/protobuf/map.h>
#include <google/protobuf/repeated_field.h>

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/config/route/v3/route_components.pb.h"
#include "source/config/match_parse.h"
#include "source/config/route_parse.h"
#include "source/config/virtual_host.h"

namespace outrider::config {

struct RouteParts {
  Problems& problems;
  const OverrideParser& overrides;
  uint32_t most_direct_bytes = 4096;
  std::optional<RetrySpec> host_retry;  // of the virtual host at hand
  // What routes without mirrors of their own have: the virtual host's, else the table's.
  std::vector<MirrorSpec> host_mirrors, table_mirrors;
  bool read_files = false;  // what was read depends on more than the message

  using HeaderOptions = google::protobuf::RepeatedPtrField<envoy::config::core::v3::HeaderValueOption>;
  using Names = google::protobuf::RepeatedPtrField<std::string>;
  using FilterConfigs = google::protobuf::Map<std::string, google::protobuf::Any>;

  // Of any of the four messages that have these fields.
  template <class M>
  void edits(const M& in, HeaderEditSpec& request, HeaderEditSpec& response) {
    add("request_headers_to_add", in.request_headers_to_add(), request);
    remove("request_headers_to_remove", in.request_headers_to_remove(), request);
    add("response_headers_to_add", in.response_headers_to_add(), response);
    remove("response_headers_to_remove", in.response_headers_to_remove(), response);
  }
  void add(std::string_view field, const HeaderOptions& in, HeaderEditSpec& out);
  void remove(std::string_view field, const Names& in, HeaderEditSpec& out);
  void filters(const FilterConfigs& in, std::vector<FilterOverrideSpec>& out);

  void match(const envoy::config::route::v3::RouteMatch& in, RouteMatchSpec& out);
  void forward(const envoy::config::route::v3::RouteAction& in, ForwardSpec& out);
  void weighted(const envoy::config::route::v3::WeightedCluster& in, ForwardSpec& out);
  void retry(const envoy::config::route::v3::RetryPolicy& in, RetrySpec& out);
  void hostRewrite(const envoy::config::route::v3::RouteAction& in, ForwardSpec& out);
  void times(const envoy::config::route::v3::RouteAction& in, ForwardSpec& out);
  using Mirrors = google::protobuf::RepeatedPtrField<envoy::config::route::v3::RouteAction::RequestMirrorPolicy>;
  void mirrors(const Mirrors& in, std::vector<MirrorSpec>& out);
  void hashes(const envoy::config::route::v3::RouteAction& in, ForwardSpec& out);
  void upgrades(const envoy::config::route::v3::RouteAction& in, ForwardSpec& out);
  void redirect(const envoy::config::route::v3::RedirectAction& in, RedirectSpec& out);
  void direct(const envoy::config::route::v3::DirectResponseAction& in, DirectSpec& out);
  // A text that becomes part of a header's value.
  void plain(std::string_view field, const std::string& text);
};

// All but the virtual hosts of a table, then each host, then each of its routes; domains are unique over all hosts.
class TableParser {
 public:
  TableParser(Problems& problems, const OverrideParser& overrides) : problems_(problems), parts_{problems, overrides} {}

  RouteTableSpec rules(const envoy::config::route::v3::RouteConfiguration& in);
  // At the host's path, without its routes, which follow one by one.
  VirtualHostSpec host(const envoy::config::route::v3::VirtualHost& in);
  RouteSpec route(const envoy::config::route::v3::Route& in);
  // A host that was made before, and outlives this, has its domains too.
  void take(const VirtualHost& host);
  void expect(size_t domains) { domains_.reserve(domains); }
  bool readFiles() const { return parts_.read_files; }
  void forgetFiles() { parts_.read_files = false; }

 private:
  void domain(const std::string& in, VirtualHostSpec& out);
  bool own(std::string_view as_given, std::string_view lower, std::string_view host);

  Problems& problems_;
  RouteParts parts_;
  absl::flat_hash_map<std::string_view, std::string_view> domains_;  // whose it is
  std::deque<std::string> texts_;                                    // of hosts that are not made yet
};

}  // namespace outrider::config
