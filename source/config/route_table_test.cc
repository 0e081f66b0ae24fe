#include "source/config/route_table.h"

#include <deque>

#include <gtest/gtest.h>

#include "source/config/path_index.h"

namespace outrider::config {
namespace {

using Path = RouteMatchSpec::Path;

class RouteTableTest : public testing::Test {
 protected:
  ~RouteTableTest() override { arena_->unref(); }

  static RouteSpec to(std::string cluster, Path kind = Path::kPrefix, std::string path = "/") {
    RouteSpec out;
    out.name = cluster;
    out.match.kind = kind;
    out.match.path = std::move(path);
    out.forward.cluster = std::move(cluster);
    return out;
  }
  VirtualHostSpec& host(std::vector<std::string> domains) {
    VirtualHostSpec& out = spec_.hosts.emplace_back();
    out.name = "h" + std::to_string(spec_.hosts.size());
    out.domains = std::move(domains);
    return out;
  }
  void compile() {
    auto table = RouteTable::compile(spec_, names_);
    ASSERT_TRUE(table.ok()) << table.status();
    table_ = *table;
  }
  // The name of the route that wins; "-": none.
  std::string at(std::string_view authority, std::string_view path) {
    head_.authority = authority;
    head_.path = path;
    head_.scheme = "http";
    if (head_.method.empty()) head_.method = "GET";
    const CompiledRoute* route = table_->match(head_, context_);
    const auto why = table_->explain(head_, context_);
    EXPECT_EQ(why.winner, route) << authority << path;  // one truth
    return route == nullptr ? "-" : std::string(route->name);
  }
  // The only route of the table, as request edit.
  void apply(std::string_view path) {
    compile();
    ASSERT_NE(at("h.test", path), "-");
    const CompiledRoute* route = table_->match(head_, context_);
    route->applyRequest(head_, route->pick(head_, context_.random), {&head_, nullptr, nullptr, info_});
  }
  std::string location(std::string_view authority, std::string_view path) {
    compile();
    EXPECT_NE(at(authority, path), "-");
    return std::string(table_->match(head_, context_)->location(head_));
  }

  base::Arena* arena_ = base::Arena::create();
  http::RequestHead head_{*arena_};
  stream::StreamInfo info_;
  MatchContext context_;
  NameTable names_;
  RouteTableSpec spec_;
  std::shared_ptr<const RouteTable> table_;
};

TEST_F(RouteTableTest, TheMostSpecificDomainWins) {
  host({"*"}).routes = {to("any")};
  host({"a.test"}).routes = {to("exact")};
  host({"*.test"}).routes = {to("suffix")};
  host({"*.b.test"}).routes = {to("longer-suffix")};
  host({"www.*"}).routes = {to("prefix")};
  compile();
  EXPECT_EQ(at("a.test", "/"), "exact");
  EXPECT_EQ(at("A.Test", "/"), "exact");
  EXPECT_EQ(at("x.test", "/"), "suffix");
  EXPECT_EQ(at("x.b.test", "/"), "longer-suffix");
  EXPECT_EQ(at("www.test", "/"), "suffix");  // suffixes before prefixes
  EXPECT_EQ(at("www.org", "/"), "prefix");
  EXPECT_EQ(at(".test", "/"), "any");      // the '*' stands for at least one byte
  EXPECT_EQ(at("a.test:80", "/"), "any");  // a port is part of the name
  EXPECT_EQ(at("", "/"), "any");
}

TEST_F(RouteTableTest, PortsAreIgnoredWhenTheTableSaysSo) {
  spec_.ignore_port = true;
  host({"a.test", "[::1]"}).routes = {to("a")};
  compile();
  EXPECT_EQ(at("a.test:8080", "/"), "a");
  EXPECT_EQ(at("[::1]:80", "/"), "a");
  EXPECT_EQ(at("[::1]", "/"), "a");
}

TEST_F(RouteTableTest, NoVirtualHostMeansNoRoute) {
  host({"a.test"}).routes = {to("a")};
  compile();
  EXPECT_EQ(at("b.test", "/"), "-");
}

TEST_F(RouteTableTest, TheFirstRouteThatMatchesWins) {
  host({"*"}).routes = {to("exact", Path::kExact, "/a"), to("regex", Path::kRegex, "/a/[0-9]+"),
                        to("separated", Path::kSeparatedPrefix, "/api"), to("prefix", Path::kPrefix, "/a")};
  compile();
  EXPECT_EQ(at("h", "/a"), "exact");
  EXPECT_EQ(at("h", "/a?x=/b"), "exact");  // the query is not the path
  EXPECT_EQ(at("h", "/a/12"), "regex");
  EXPECT_EQ(at("h", "/a/12x"), "prefix");
  EXPECT_EQ(at("h", "/api"), "separated");
  EXPECT_EQ(at("h", "/api/x"), "separated");
  EXPECT_EQ(at("h", "/apix"), "prefix");
  EXPECT_EQ(at("h", "/A"), "-");  // E135
}

TEST_F(RouteTableTest, CaseIsIgnoredOnRequest) {
  auto& routes = host({"*"}).routes;
  routes = {to("p", Path::kPrefix, "/Pre"), to("e", Path::kExact, "/Exact")};
  for (RouteSpec& route : routes) route.match.case_sensitive = false;
  compile();
  EXPECT_EQ(at("h", "/pREfix"), "p");
  EXPECT_EQ(at("h", "/exacT"), "e");
}

TEST_F(RouteTableTest, ConnectMatchesOnlyItsOwnRoutes) {
  host({"*"}).routes = {to("any"), to("tunnel", Path::kConnect)};
  compile();
  head_.method = "CONNECT";
  EXPECT_EQ(at("h:443", ""), "tunnel");  // E145: no rule of paths admits what has no path
  head_.method = "GET";
  EXPECT_EQ(at("h", "/"), "any");
}

TEST_F(RouteTableTest, HeadersQueriesAndGrpcNarrowAMatch) {
  auto& routes = host({"*"}).routes;
  routes = {to("header"), to("query"), to("grpc"), to("rest")};
  match::HeaderMatchSpec header;
  header.name = "x-kind";
  header.kind = match::HeaderMatchSpec::Kind::kString;
  header.string.value = "blue";
  routes[0].match.headers = {header};
  routes[1].match.query = {{"debug", match::StringMatchSpec{match::StringMatchSpec::Kind::kExact, "1", false}, true}};
  routes[2].match.grpc = true;
  compile();
  EXPECT_EQ(at("h", "/"), "rest");
  EXPECT_EQ(at("h", "/?a=b&debug=1"), "query");
  EXPECT_EQ(at("h", "/?debug=2&debug=1"), "rest");  // the first value counts
  head_.headers.add(http::HeaderId::kContentType, "application/grpc+proto");
  EXPECT_EQ(at("h", "/"), "grpc");
  head_.headers.add("x-kind", "blue");
  EXPECT_EQ(at("h", "/"), "header");
  head_.headers.add("x-kind", "red");  // one of several fields is enough, in either order (matrix: 140)
  EXPECT_EQ(at("h", "/"), "header");
}

TEST_F(RouteTableTest, AFractionOfRequestsGoesElsewhere) {
  auto& routes = host({"*"}).routes;
  routes = {to("some"), to("rest")};
  routes[0].match.fraction = FractionSpec{30, 100, ""};
  compile();
  int some = 0;
  for (context_.random = 0; context_.random < 1000; ++context_.random) some += at("h", "/") == "some";
  EXPECT_EQ(some, 300);
}

TEST_F(RouteTableTest, WeightsShareTheRequests) {
  RouteSpec route = to("w");
  route.forward.cluster.clear();
  route.forward.weighted.resize(3);
  route.forward.weighted[0].cluster = "a";
  route.forward.weighted[0].weight = 1;
  route.forward.weighted[1].cluster = "never";
  route.forward.weighted[2].cluster = "b";
  route.forward.weighted[2].weight = 3;
  host({"*"}).routes = {route};
  compile();
  ASSERT_EQ(at("h", "/"), "w");
  const CompiledRoute* compiled = table_->match(head_, context_);
  int a = 0, b = 0;
  for (uint64_t i = 0; i < 400; ++i) {
    const ClusterPick pick = compiled->pick(head_, i);
    EXPECT_EQ(names_.name(pick.id), pick.name);
    a += pick.name == "a";
    b += pick.name == "b";
  }
  EXPECT_EQ(a, 100);
  EXPECT_EQ(b, 300);
}

TEST_F(RouteTableTest, AHeaderMayNameTheCluster) {
  RouteSpec route = to("c");
  route.forward.cluster.clear();
  route.forward.cluster_header = "x-to";
  host({"*"}).routes = {route};
  compile();
  ASSERT_EQ(at("h", "/"), "c");
  EXPECT_EQ(table_->match(head_, context_)->pick(head_, 0).name, "");
  head_.headers.add("x-to", "blue");
  EXPECT_EQ(table_->match(head_, context_)->pick(head_, 0).name, "blue");
}

// The index must give what a straight loop gives.
TEST_F(RouteTableTest, ManyRoutesMatchAsFewDo) {
  auto& routes = host({"*"}).routes;
  const std::string_view words[] = {"a", "ab", "abc", "b", "ba", "a/b", "a/b/c", "x", "", "A", "Ab", "aBC", "%41", "\xc3\x84"};
  uint64_t seed = 42;
  const auto next = [&](uint64_t n) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (seed >> 33) % n;
  };
  const auto word = [&] { return std::string(words[next(std::size(words))]); };
  for (int table = 0; table < 4; ++table) {
    routes.clear();
    for (int i = 0; i < 200; ++i) {
      const std::string path = "/" + word() + (next(2) != 0 ? "/" + word() : "");
      const Path kinds[] = {Path::kPrefix, Path::kExact, Path::kSeparatedPrefix, Path::kRegex, Path::kConnect};
      RouteSpec route = to("r" + std::to_string(i), kinds[next(20) == 0 ? 4 : next(4)], path);
      if (route.match.kind == Path::kRegex) route.match.path += next(2) != 0 ? ".*" : "[a-c]+";
      if (route.match.kind == Path::kRegex && next(2) == 0) route.match.path = "/[^/]*" + path;  // these share one set
      if (route.match.kind == Path::kPrefix && path.size() < 4) route.match.kind = Path::kExact;
      if (next(3) == 0 && route.match.kind != Path::kRegex) route.match.case_sensitive = false;
      if (next(3) == 0) route.match.query = {{"q", std::nullopt, true}};
      routes.push_back(route);
    }
    compile();
    // at() compares match() with explain(), which walks all routes in order.
    for (int i = 0; i < 2000; ++i) at("h", "/" + word() + "/" + word() + word() + (next(2) != 0 ? "?q=1" : ""));
    for (const std::string& odd :
         {std::string(), std::string("/"), std::string("//"), std::string("a"), std::string("?"), std::string("?q"), std::string("/a?"),
          std::string("/?/a"), std::string("/a/"), std::string("/a\0b", 4), std::string("*"), std::string("/\xff\xfe"), std::string("/A#x"),
          std::string(70000, '/'), std::string(300, 'a')}) {
      at("h", odd);
    }
  }
}

TEST_F(RouteTableTest, PrefixesNestedDeeperThanTheIndexFollowsMatchAllTheSame) {
  auto& routes = host({"*"}).routes;
  for (size_t i = 100; i > 0; --i) {
    routes.push_back(to("r" + std::to_string(i), Path::kPrefix, "/" + std::string(i, 'a')));
    routes.back().match.case_sensitive = i % 2 == 0;
  }
  compile();
  EXPECT_EQ(at("h", "/" + std::string(100, 'a')), "r100");
  EXPECT_EQ(at("h", "/" + std::string(99, 'A')), "r99");
  EXPECT_EQ(at("h", "/a"), "r1");
}

// The price of a match, counted in candidates that are tried: lost at once if a kind of route is looked through one by one.
TEST(PathIndex, TheLastOfManyRoutesIsTheFirstCandidate) {
  constexpr uint32_t kRoutes = 10000;
  const auto tries = [](const PathIndex& index, std::string_view path, uint32_t wanted) {
    uint32_t count = 0;
    EXPECT_TRUE(index.first(path, [&](uint32_t route, bool) {
      ++count;
      return route == wanted;
    })) << path;
    return count;
  };
  const auto path = [](uint32_t i) { return "/Service/" + std::to_string(i) + "/api"; };
  std::deque<std::string> texts;  // an index keeps views
  const auto text = [&texts](std::string of) -> const std::string& { return texts.emplace_back(std::move(of)); };
  for (const bool sensitive : {true, false}) {
    PathIndex exact, prefix;
    for (uint32_t i = 0; i < kRoutes; ++i) {
      exact.addExact(text(path(i)), i, sensitive);
      prefix.addPrefix(text(path(i) + "/"), i, sensitive);
    }
    exact.build();
    prefix.build();
    const std::string asked = sensitive ? path(kRoutes - 1) : "/sERVICE/9999/API";
    EXPECT_EQ(tries(exact, asked, kRoutes - 1), 1u);
    EXPECT_EQ(tries(prefix, asked + "/x", kRoutes - 1), 1u);
  }
  PathIndex own, shared;  // a literal prefix each; all behind one prefix
  for (uint32_t i = 0; i < kRoutes; ++i) own.addRegex(text(path(i) + "/[a-z]+"), i);
  for (uint32_t i = 0; i < 1000; ++i) shared.addRegex(text("/[^/]+" + path(i)), i);
  own.build();
  shared.build();
  EXPECT_EQ(tries(own, path(kRoutes - 1) + "/x", kRoutes - 1), 1u);
  EXPECT_EQ(tries(shared, "/x" + path(999), 999), 1u);
}

TEST_F(RouteTableTest, APlainRequestIsSentToTlsWhereTheHostWantsIt) {
  VirtualHostSpec& all = host({"all.test"});
  all.require_tls = VirtualHostSpec::Tls::kAll;
  all.routes = {to("all")};
  VirtualHostSpec& external = host({"ext.test"});
  external.require_tls = VirtualHostSpec::Tls::kExternalOnly;
  external.routes = {to("ext")};
  compile();
  EXPECT_EQ(at("all.test", "/x?y"), "");
  const CompiledRoute* redirect = table_->match(head_, context_);
  EXPECT_EQ(redirect->action(), RouteSpec::Action::kRedirect);
  EXPECT_EQ(redirect->redirect().code, 301);
  EXPECT_EQ(redirect->location(head_), "https://all.test/x?y");
  EXPECT_EQ(at("ext.test", "/"), "");
  head_.headers.set(http::HeaderId::kEnvoyInternal, "true");
  EXPECT_EQ(at("ext.test", "/"), "ext");
  head_.headers.set(http::HeaderId::kForwardedProto, "https");
  EXPECT_EQ(at("all.test", "/"), "all");
}

TEST_F(RouteTableTest, APrefixIsReplacedAndTheOriginalPathLeftBehind) {
  RouteSpec route = to("r", Path::kPrefix, "/old");
  route.forward.prefix_rewrite = "/new";
  host({"*"}).routes = {route};
  head_.headers.add(http::HeaderId::kEnvoyOriginalPath, "/forged");
  apply("/old/x?old=1");
  EXPECT_EQ(head_.path, "/new/x?old=1");
  EXPECT_EQ(head_.headers.get(http::HeaderId::kEnvoyOriginalPath), "/old/x?old=1");  // E139
}

TEST_F(RouteTableTest, ARegexRewritesThePathAlone) {
  RouteSpec route = to("r", Path::kPrefix, "/");
  route.forward.regex_rewrite = RegexRewriteSpec{"^/service/([^/]+)(/.*)$", "\\2/instance/\\1"};
  host({"*"}).routes = {route};
  apply("/service/foo/v1/api?service=1");
  EXPECT_EQ(head_.path, "/v1/api/instance/foo?service=1");
}

TEST_F(RouteTableTest, ARewriteToNothingIsStillAPath) {
  RouteSpec route = to("r", Path::kPrefix, "/");
  route.forward.regex_rewrite = RegexRewriteSpec{"^.*$", ""};
  host({"*"}).routes = {route};
  apply("/service?q");
  EXPECT_EQ(head_.path.front(), '/');
}

TEST_F(RouteTableTest, TheHostIsRewrittenByTextOrByHeader) {
  RouteSpec route = to("r");
  route.forward.host_rewrite_literal = "up.test";
  route.forward.append_forwarded_host = true;
  host({"*"}).routes = {route};
  apply("/");
  EXPECT_EQ(head_.authority, "up.test");
  EXPECT_EQ(head_.headers.get(http::HeaderId::kForwardedHost), "h.test");
  spec_.hosts[0].routes[0].forward.host_rewrite_literal.clear();
  spec_.hosts[0].routes[0].forward.host_rewrite_header = "x-host";
  head_.headers.add("x-host", "other.test");
  apply("/");
  EXPECT_EQ(head_.authority, "other.test");
}

TEST_F(RouteTableTest, HeaderEditsGoFromTheMostSpecificToTheLeast) {
  using Action = HeaderAddSpec::Action;
  const auto set = [](std::string value, Action action = Action::kAppend) { return HeaderAddSpec{"x", std::move(value), action, false}; };
  RouteSpec route = to("");
  route.forward.weighted.resize(1);
  route.forward.weighted[0].cluster = "c";
  route.forward.weighted[0].weight = 1;
  route.forward.weighted[0].request.add = {set("weight")};
  route.request.add = {set("route")};
  VirtualHostSpec& vhost = host({"*"});
  vhost.request.add = {set("host")};
  vhost.routes = {route};
  vhost.routes[0].name = "r";
  spec_.request.add = {set("table")};
  const auto all = [&] {
    bool present = false;
    return std::string(head_.headers.getAll("x", present));
  };
  apply("/");
  EXPECT_EQ(all(), "weight,route,host,table");
  head_.headers.remove("x");
  spec_.most_specific_wins = true;
  apply("/");
  EXPECT_EQ(all(), "weight,table,host,route");  // the cluster's come first in either order, as in Envoy
}

TEST_F(RouteTableTest, HeadersAreAddedReplacedAndRemovedAsAsked) {
  using Action = HeaderAddSpec::Action;
  RouteSpec route = to("r");
  route.request.add = {{"x-add", "2", Action::kAppend, false},
                       {"x-absent", "new", Action::kAddIfAbsent, false},
                       {"x-there", "new", Action::kAddIfAbsent, false},
                       {"x-over", "new", Action::kOverwrite, false},
                       {"x-only", "new", Action::kOverwriteIfExists, false},
                       {"x-none", "%REQ(x-nothing)%", Action::kAppend, false},
                       {"x-path", "%REQ(:path)% %REQ(x-nothing)%.", Action::kAppend, false},
                       {"x-empty", "", Action::kAppend, false},
                       {"x-kept", "", Action::kAppend, true}};
  route.request.remove = {"x-gone"};
  host({"*"}).routes = {route};
  for (const auto& [name, value] : {std::pair{"x-add", "1"}, {"x-there", "old"}, {"x-over", "old"}, {"x-gone", "1"}}) {
    head_.headers.add(name, value);
  }
  apply("/p");
  bool present = false;
  EXPECT_EQ(head_.headers.getAll("x-add", present), "1,2");
  EXPECT_EQ(head_.headers.get("x-absent"), "new");
  EXPECT_EQ(head_.headers.get("x-there"), "old");
  EXPECT_EQ(head_.headers.get("x-over"), "new");
  EXPECT_EQ(head_.headers.find("x-only"), nullptr);
  EXPECT_EQ(head_.headers.get("x-path"), "/p .");  // what is missing prints as nothing
  EXPECT_EQ(head_.headers.find("x-none"), nullptr);
  EXPECT_EQ(head_.headers.find("x-empty"), nullptr);
  EXPECT_NE(head_.headers.find("x-kept"), nullptr);
  EXPECT_EQ(head_.headers.find("x-gone"), nullptr);
}

TEST_F(RouteTableTest, ALocationKeepsWhatTheRedirectDoesNotChange) {
  RouteSpec route = to("r", Path::kPrefix, "/a");
  route.action = RouteSpec::Action::kRedirect;
  const auto with = [&](RedirectSpec redirect) {
    spec_.hosts.clear();
    route.redirect = std::move(redirect);
    host({"*"}).routes = {route};
  };
  RedirectSpec spec;
  spec.https = true;
  with(spec);
  EXPECT_EQ(location("h.test", "/a?b"), "https://h.test/a?b");
  EXPECT_EQ(location("h.test:80", "/a"), "https://h.test/a");  // the plain port goes with the plain scheme
  EXPECT_EQ(location("h.test:8080", "/a"), "https://h.test:8080/a");
  EXPECT_EQ(location("[::1]:80", "/a"), "https://[::1]/a");
  spec.port = 8443;
  with(spec);
  EXPECT_EQ(location("h.test:80", "/a"), "https://h.test:8443/a");
  with({.path = "/new"});
  EXPECT_EQ(location("h.test", "/a?q=1"), "http://h.test/new?q=1");
  with({.path = "/new", .strip_query = true});
  EXPECT_EQ(location("h.test", "/a?q=1"), "http://h.test/new");
  with({.path = "/new?own=1"});
  EXPECT_EQ(location("h.test", "/a?q=1"), "http://h.test/new?own=1");
  with({.host = "other.test", .prefix_rewrite = "/b"});
  EXPECT_EQ(location("h.test", "/a/x?q"), "http://other.test/b/x?q");
}

TEST_F(RouteTableTest, AFiltersOwnConfigIsTheMostSpecificOne) {
  const auto one = std::make_shared<const int>(1);
  const auto two = std::make_shared<const int>(2);
  RouteSpec route = to("r");
  VirtualHostSpec& vhost = host({"*"});
  vhost.filters = {{"f", "t", "", false, one}, {"g", "t", "", true, nullptr}};
  route.filters = {{"f", "t", "x", false, two}};
  vhost.routes = {route};
  compile();
  ASSERT_EQ(at("h", "/"), "r");
  const CompiledRoute* compiled = table_->match(head_, context_);
  EXPECT_EQ(compiled->filterConfig("f"), two.get());
  EXPECT_TRUE(compiled->overrideOf("g").disabled);
  EXPECT_EQ(compiled->filterConfig("other"), nullptr);
}

TEST_F(RouteTableTest, WhatCannotBeCompiledIsSaidWithItsPlace) {
  host({"*"}).routes = {to("ok"), to("bad", Path::kRegex, "a(")};
  const auto table = RouteTable::compile(spec_, names_);
  ASSERT_FALSE(table.ok());
  EXPECT_NE(std::string(table.status().message()).find("virtual host h1, route 1"), std::string::npos) << table.status();
}

}  // namespace
}  // namespace outrider::config
