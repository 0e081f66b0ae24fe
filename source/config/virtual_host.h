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
  RouteTableSpec spec;                        // `hosts` is empty
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

  // What a host was made from, to take it or its routes over into the next version of its table.
  struct Origin {
    Digest whole;                          // of its bytes
    Digest rest;                           // without its routes
    std::vector<Digest> routes;            // empty: few routes, made anew together
    bool reusable = false;                 // no: it holds what a file said
    std::vector<std::string> unsupported;  // paths, from the host, of fields that are not acted on
  };
  const Origin& origin() const { return origin_; }

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
  Origin origin_;
  AttemptHeaders attempts_;
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

  // A host at a time: begin, its routes in order, finish. `most_text`: bytes that names and paths of its routes take at most.
  void begin(const VirtualHostSpec& but_routes, std::shared_ptr<const TableRules> rules, size_t routes, size_t most_text);
  void add(RouteSpec spec);
  void add(const CompiledRoute& same);  // of an earlier version of this host
  std::shared_ptr<const VirtualHost> finish(VirtualHost::Origin origin = {});
  // All of it.
  std::shared_ptr<const VirtualHost> host(VirtualHostSpec spec, std::shared_ptr<const TableRules> rules);
  // The first problem with its place.
  const absl::Status& status() const { return status_; }

 private:
  static constexpr size_t kMostPlans = 16;

  void fail(std::string_view what);
  void edit(const HeaderEditSpec& spec, HeaderEdit& out);
  std::unique_ptr<const RouteExtras> extras(const HeaderEditSpec& request, const HeaderEditSpec& response,
                                            std::vector<FilterOverrideSpec> filters);
  std::shared_ptr<const match::Regex> regex(const std::string& pattern, const match::CheckedRegex& checked);
  std::shared_ptr<const match::Regex> regex(const RegexRewriteSpec& rewrite) { return regex(rewrite.pattern, rewrite.checked); }
  std::unique_ptr<const PathRewrite> pathRewrite(ForwardSpec& spec);
  void headers(const std::vector<match::HeaderMatchSpec>& specs, std::vector<match::HeaderMatcher>& out);
  ClusterId cluster(const std::string& name) { return name.empty() ? ClusterId() : names_.intern(name); }
  std::unique_ptr<const RouteTests> tests(const RouteMatchSpec& spec);
  std::shared_ptr<const ForwardPlan> forward(ForwardSpec spec);
  std::shared_ptr<const void> redirect(RedirectSpec spec);
  void route(RouteSpec& spec, CompiledRoute& out);
  std::unique_ptr<const PathIndex> index(const std::vector<CompiledRoute>& routes);
  std::string_view text(std::string_view from);
  void fitTexts();

  NameTable& names_;
  Plans plans_;                        // the latest used last
  std::shared_ptr<VirtualHost> host_;  // the one at hand
  size_t text_size_ = 0, text_most_ = 0;
  absl::Status status_;
};

}  // namespace outrider::config
