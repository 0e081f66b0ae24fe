// A virtual host, compiled, and what its table adds to all of them. Built off the workers; tables of several versions share the
// hosts that did not change, so a host knows nothing of the tables that hold it.
//
// Routes: the first that matches wins. Up to six are tried in order; more are found through an index (exact paths by hash,
// prefixes by trie, regular expressions under their literal prefix) that yields candidates in order.
// Thread: immutable, any. Lifetime: shared_ptr. Source: config.route.v3.VirtualHost.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "source/config/compiled_route.h"
#include "source/config/path_index.h"

namespace outrider::config {

// 128 bits of the serialized bytes; equal bytes have equal digests, others do not by all odds. Of this process only.
struct Digest {
  uint64_t low = 0, high = 0;
  bool operator==(const Digest&) const = default;
  static Digest of(std::string_view bytes);
};

// A route configuration without its virtual hosts.
struct TableRules {
  RouteTableSpec spec;  // `hosts` is empty
  std::unique_ptr<const RouteExtras> extras;  // null: neither edits nor filters' configs
  std::vector<http::FieldName> internal_only;
  http::FieldName vhost_header;
  Digest digest;
};

class VirtualHost final {
 public:
  // A straight loop is faster than an index up to here.
  static constexpr size_t kLoop = 6;

  std::string_view name() const { return name_; }
  const std::vector<std::string_view>& domains() const { return domains_; }  // lower case
  const std::vector<CompiledRoute>& routes() const { return routes_; }
  const TableRules& rules() const { return *rules_; }
  const AttemptHeaders& attempts() const { return attempts_; }
  // Null: no route.
  const CompiledRoute* match(const http::RequestHead& head, const MatchContext& context) const;
  // Not null: the request must come by https, and does not.
  const CompiledRoute* tlsRedirect(const http::RequestHead& head) const;

  const RouteExtras* extras() const { return extras_.get(); }  // null: neither edits nor filters' configs

  // What it was made from, to take it over into the next version of its table. Not `reusable`: it holds what a file said.
  const Digest& digest() const { return digest_; }
  bool reusable() const { return reusable_; }
  // Paths in it, from it, of fields that are not acted on.
  const std::vector<std::string>& unsupported() const;

 private:
  friend class HostCompiler;
  std::shared_ptr<const TableRules> rules_;
  std::unique_ptr<char[]> texts_;  // what the views are of
  std::string_view name_;
  std::vector<std::string_view> domains_;
  std::vector<CompiledRoute> routes_;
  std::unique_ptr<const PathIndex> index_;
  std::unique_ptr<const RouteExtras> extras_;
  std::unique_ptr<const CompiledRoute> tls_redirect_;  // of a host with require_tls
  std::unique_ptr<const std::vector<std::string>> unsupported_;
  Digest digest_;
  AttemptHeaders attempts_;
  bool reusable_ = false;
  VirtualHostSpec::Tls require_tls_ = VirtualHostSpec::Tls::kNone;
};

// CONNECT without a protocol: it has no path, so that rules of paths do not allow it.
inline bool isPlainConnect(const http::RequestHead& head) { return head.isConnect() && head.upgrade.empty(); }

// Compiles virtual hosts of one table, one after the other; what they have in common is made once.
// Thread: one, off the workers.
class HostCompiler final {
 public:
  using Plans = std::vector<std::shared_ptr<const ForwardPlan>>;

  explicit HostCompiler(NameTable& names) : names_(names) {}
  std::shared_ptr<const TableRules> rules(RouteTableSpec spec, const Digest& digest = {});
  // Plans that an earlier table knew, to share them.
  void know(const Plans& plans) { plans_ = plans; }
  const Plans& plans() const { return plans_; }

  struct Origin {
    Digest digest;
    bool reusable = false;
    std::vector<std::string> unsupported;
  };
  std::shared_ptr<const VirtualHost> host(VirtualHostSpec spec, std::shared_ptr<const TableRules> rules, Origin origin);
  // The first problem with its place.
  const absl::Status& status() const { return status_; }

 private:
  static constexpr size_t kMostPlans = 16;

  void fail(std::string_view what);
  void edit(const HeaderEditSpec& spec, HeaderEdit& out);
  std::unique_ptr<const RouteExtras> extras(const HeaderEditSpec& request, const HeaderEditSpec& response,
                                            std::vector<FilterOverrideSpec> filters);
  std::shared_ptr<const match::Regex> regex(const std::string& pattern);
  void headers(const std::vector<match::HeaderMatchSpec>& specs, std::vector<match::HeaderMatcher>& out);
  ClusterId cluster(const std::string& name) { return name.empty() ? ClusterId() : names_.intern(name); }
  std::unique_ptr<const RouteTests> tests(const RouteMatchSpec& spec);
  std::shared_ptr<const ForwardPlan> forward(ForwardSpec spec);
  std::shared_ptr<const void> redirect(RedirectSpec spec);
  void route(RouteSpec& spec, const VirtualHost& host, CompiledRoute& out);
  std::unique_ptr<const PathIndex> index(const std::vector<CompiledRoute>& routes);
  std::string_view text(std::string_view from);

  NameTable& names_;
  Plans plans_;  // the latest used last
  char* text_ = nullptr;
  std::string where_;
  absl::Status status_;
};

}  // namespace outrider::config
