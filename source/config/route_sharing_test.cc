// A new version of a route table takes over the virtual hosts that did not change; and what a table takes of memory.
#include <fstream>
#include <random>

#include <gtest/gtest.h>

#include "envoy/config/route/v3/route.pb.h"
#include "source/base/counted_new.h"
#include "source/config/route_parse.h"
#include "source/config/route_table.h"
#include "source/stats/stats.h"

namespace outrider::config {
namespace {

namespace route = envoy::config::route::v3;

class RouteSharingTest : public testing::Test {
 protected:
  ~RouteSharingTest() override { arena_->unref(); }

  route::VirtualHost& add(const std::string& name) {
    route::VirtualHost& host = *message_.add_virtual_hosts();
    host.set_name(name);
    host.add_domains(name + ".test");
    add(host, "/", "c-" + name);
    return host;
  }
  static route::Route& add(route::VirtualHost& host, const std::string& prefix, const std::string& cluster) {
    route::Route& out = *host.add_routes();
    out.mutable_match()->set_prefix(prefix);
    out.mutable_route()->set_cluster(cluster);
    return out;
  }
  // The next version; null with what is wrong in `said_`. What the reading took is in `allocations_` and `bytes_`.
  std::shared_ptr<const RouteTable> read() { return read(message_.SerializeAsString()); }
  std::shared_ptr<const RouteTable> read(std::string_view bytes) {
    Problems problems;
    stats::Store stats;
    ParseContext context{problems, names_, stats, {}};
    const size_t allocations = base::counted::allocations;
    const int64_t held = base::counted::bytes_held;
    auto out = readRouteTable(bytes, checker_, table_.get(), context);
    allocations_ = base::counted::allocations - allocations;
    bytes_ = static_cast<size_t>(base::counted::bytes_held - held);
    said_ = problems.str();
    unsupported_ = problems.unsupportedPaths();
    if (out != nullptr) table_ = out;
    return out;
  }
  std::string clusterOf(const std::string& authority) {
    http::RequestHead head{*arena_};
    head.method = "GET";
    head.scheme = "http";
    head.authority = authority;
    head.path = "/";
    const CompiledRoute* route = table_->match(head, {});
    return route == nullptr ? "-" : std::string(route->pick(head, 0).name);
  }

  base::Arena* arena_ = base::Arena::create();
  Checker checker_;
  NameTable names_;
  route::RouteConfiguration message_;
  std::shared_ptr<const RouteTable> table_;
  std::string said_;
  std::vector<std::string> unsupported_;
  size_t allocations_ = 0, bytes_ = 0;
};

TEST_F(RouteSharingTest, OneHostThatChangesIsTheOnlyOneMadeAnew) {
  for (const char* name : {"a", "b", "c"}) add(name);
  const auto first = read();
  ASSERT_NE(first, nullptr) << said_;
  message_.mutable_virtual_hosts(1)->mutable_routes(0)->mutable_route()->set_cluster("other");
  const auto second = read();
  ASSERT_NE(second, nullptr) << said_;
  EXPECT_EQ(second->hosts()[0], first->hosts()[0]);
  EXPECT_NE(second->hosts()[1], first->hosts()[1]);
  EXPECT_EQ(second->hosts()[2], first->hosts()[2]);
  EXPECT_FALSE(second->sameAs(*first));
  EXPECT_EQ(clusterOf("a.test"), "c-a");
  EXPECT_EQ(clusterOf("b.test"), "other");
  EXPECT_EQ(clusterOf("c.test"), "c-c");
}

TEST_F(RouteSharingTest, TheSameBytesAreTheSameTable) {
  add("a");
  const auto first = read();
  EXPECT_TRUE(read()->sameAs(*first));
}

TEST_F(RouteSharingTest, HostsThatMoveComeOrGoLeaveTheOthersAsTheyAre) {
  for (const char* name : {"a", "b", "c", "d"}) add(name);
  const auto first = read();
  auto& hosts = *message_.mutable_virtual_hosts();
  hosts.SwapElements(0, 3);    // d b c a
  hosts.DeleteSubrange(1, 1);  // d c a
  add("e");                    // d c a e
  const auto second = read();
  ASSERT_NE(second, nullptr) << said_;
  EXPECT_EQ(second->hosts()[0], first->hosts()[3]);
  EXPECT_EQ(second->hosts()[1], first->hosts()[2]);
  EXPECT_EQ(second->hosts()[2], first->hosts()[0]);
  EXPECT_EQ(clusterOf("b.test"), "-");
  EXPECT_EQ(clusterOf("e.test"), "c-e");
  EXPECT_EQ(clusterOf("a.test"), "c-a");
}

TEST_F(RouteSharingTest, RulesOfTheTableThatChangeReachEveryHost) {
  auto& host = add("a");
  host.mutable_routes(0)->clear_route();
  host.mutable_routes(0)->mutable_direct_response()->set_status(200);
  host.mutable_routes(0)->mutable_direct_response()->mutable_body()->set_inline_string("0123456789");
  const auto first = read();
  ASSERT_NE(first, nullptr) << said_;
  message_.mutable_max_direct_response_body_size_bytes()->set_value(5);
  EXPECT_EQ(read(), nullptr);
  EXPECT_EQ(
      said_,
      "virtual_hosts[0].routes[0].direct_response.body: '10 bytes': is larger than max_direct_response_body_size_bytes; at most 5 bytes");
  message_.mutable_max_direct_response_body_size_bytes()->set_value(50);
  const auto second = read();
  EXPECT_NE(second->hosts()[0], first->hosts()[0]);
}

TEST_F(RouteSharingTest, ADomainOfAnUnchangedHostIsTakenForChangedOnesToo) {
  add("a");
  add("b");
  ASSERT_NE(read(), nullptr);
  message_.mutable_virtual_hosts(1)->set_domains(0, "A.test");
  EXPECT_EQ(read(), nullptr);
  EXPECT_EQ(said_,
            "virtual_hosts[1].domains[0]: 'A.test': is a domain of virtual host 'a' already; domains are unique in a route configuration");
  message_.mutable_virtual_hosts()->SwapElements(0, 1);  // and the other way round
  EXPECT_EQ(read(), nullptr);
  EXPECT_EQ(said_,
            "virtual_hosts[1].domains[0]: 'a.test': is a domain of virtual host 'b' already; domains are unique in a route configuration");
}

TEST_F(RouteSharingTest, WhatIsWithoutEffectInAnUnchangedHostIsReportedAgainWhereItStandsNow) {
  add("a");
  add("b").mutable_routes(0)->mutable_decorator()->set_operation("o");
  ASSERT_NE(read(), nullptr);
  EXPECT_EQ(unsupported_, (std::vector<std::string>{"virtual_hosts[1].routes[0].decorator"}));
  message_.mutable_virtual_hosts()->DeleteSubrange(0, 1);
  const auto before = table_;
  ASSERT_NE(read(), nullptr);
  EXPECT_EQ(table_->hosts()[0], before->hosts()[1]);
  EXPECT_EQ(unsupported_, (std::vector<std::string>{"virtual_hosts[0].routes[0].decorator"}));
}

TEST_F(RouteSharingTest, ABodyFromAFileIsReadAgainWithEachVersion) {
  const std::string path = testing::TempDir() + "body";
  std::ofstream(path) << "one";
  auto& host = add("a");
  add("b");
  host.mutable_routes(0)->clear_route();
  host.mutable_routes(0)->mutable_direct_response()->set_status(200);
  host.mutable_routes(0)->mutable_direct_response()->mutable_body()->set_filename(path);
  ASSERT_NE(read(), nullptr) << said_;
  EXPECT_EQ(table_->hosts()[0]->routes()[0].direct().body, "one");
  std::ofstream(path) << "two";
  message_.mutable_virtual_hosts(1)->add_domains("more.test");
  ASSERT_NE(read(), nullptr) << said_;
  EXPECT_EQ(table_->hosts()[0]->routes()[0].direct().body, "two");
}

TEST_F(RouteSharingTest, OfAHostWithManyRoutesOnlyThoseThatChangedAreMadeAnew) {
  auto& host = add("a");
  for (int i = 0; i < 100; ++i) {
    auto& route = add(host, "/" + std::to_string(i) + "/", "c" + std::to_string(i));
    if (i == 70) route.mutable_decorator()->set_operation("o");
    if (i % 2 == 0) route.mutable_match()->add_headers()->set_name("x-wanted");
  }
  host.mutable_routes()->SwapElements(0, 100);  // the one that matches all goes last
  ASSERT_NE(read(), nullptr) << said_;
  EXPECT_EQ(unsupported_, (std::vector<std::string>{"virtual_hosts[0].routes[71].decorator"}));
  const auto first = table_;
  host.mutable_routes()->DeleteSubrange(40, 1);
  host.mutable_routes(10)->mutable_match()->set_prefix("/changed/");
  ASSERT_NE(read(), nullptr) << said_;
  EXPECT_EQ(unsupported_, (std::vector<std::string>{"virtual_hosts[0].routes[70].decorator"}));
  const auto& before = first->hosts()[0]->routes();
  const auto& after = table_->hosts()[0]->routes();
  ASSERT_EQ(after.size(), 100u);
  const auto wins = [&](const std::string& path) {
    http::RequestHead head{*arena_};
    head.method = "GET";
    head.scheme = "http";
    head.authority = "a.test";
    head.path = path;
    head.headers.add("x-wanted", "1");
    const CompiledRoute* route = table_->match(head, {});
    EXPECT_EQ(table_->explain(head, {}).winner, route);
    return route == nullptr ? std::string("-") : std::string(route->path());
  };
  EXPECT_EQ(wins("/changed/x"), "/changed/");
  EXPECT_EQ(wins("/50/x"), "/50/");
  EXPECT_EQ(wins(std::string(before[40].path()) + "x"), "/");
  EXPECT_EQ(after[80].path(), before[81].path());
  EXPECT_EQ(&after[80].forward(), &before[81].forward());
}

TEST_F(RouteSharingTest, AChangeOfOneRouteAmongThousandsAllocatesForThatOne) {
  auto& host = add("a");
  for (int i = 0; i < 5000; ++i) add(host, "/a-path-of-some-length-with-the-number/" + std::to_string(i), "c");
  host.mutable_routes()->SwapElements(0, 5000);
  ASSERT_NE(read(), nullptr) << said_;
  host.mutable_routes(2500)->mutable_route()->set_cluster("other");
  ASSERT_NE(read(), nullptr) << said_;
  // Its index is made anew: about two pieces for each node with children.
  EXPECT_LE(allocations_, 3000u);
}

TEST_F(RouteSharingTest, ABadRuleOfTheTableIsToldAloneForHostsAreHeldAgainstTheRules) {
  auto& host = add("a");
  host.mutable_routes(0)->clear_route();
  host.mutable_routes(0)->mutable_direct_response()->set_status(200);
  host.mutable_routes(0)->mutable_direct_response()->mutable_body()->set_inline_string(std::string(5000, 'x'));
  message_.mutable_max_direct_response_body_size_bytes()->set_value(9000);
  ASSERT_NE(read(), nullptr) << said_;
  message_.add_request_headers_to_remove("a\nb");
  EXPECT_EQ(read(), nullptr);
  EXPECT_EQ(said_.find("max_direct_response_body_size_bytes"), std::string::npos) << said_;
  EXPECT_NE(said_.find("request_headers_to_remove"), std::string::npos) << said_;
}

TEST_F(RouteSharingTest, BytesThatAreNoMessageAreRefusedAndTheTableStays) {
  add("a");
  ASSERT_NE(read(), nullptr);
  const std::string whole = message_.SerializeAsString();
  for (size_t n = 1; n < whole.size(); ++n) {
    route::RouteConfiguration message;
    const auto out = read(std::string_view(whole).substr(0, n));
    EXPECT_EQ(out == nullptr, !said_.empty()) << n;
    if (message.ParseFromString(whole.substr(0, n))) continue;
    EXPECT_EQ(out, nullptr) << n;
  }
}

TEST_F(RouteSharingTest, BytesAndMessageAreReadAlikeWhateverIsWrongWithThem) {
  for (const char* name : {"a", "b"}) {
    auto& host = add(name);
    auto& route = add(host, "/x", "c");
    route.mutable_match()->add_headers()->set_name("h");
    route.add_request_headers_to_add()->mutable_header()->set_key("k");
    route.mutable_route()->mutable_retry_policy()->set_retry_on("5xx");
  }
  message_.set_name("table");
  message_.add_internal_only_headers("x-inner");
  const std::string whole = message_.SerializeAsString();
  std::mt19937 random(7);
  size_t good = 0, refused = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string bytes = whole;
    for (uint32_t n = random() % 3 + 1; n > 0; --n) bytes[random() % bytes.size()] = static_cast<char>(random());
    route::RouteConfiguration message;
    bool expected = message.ParseFromString(bytes);
    if (expected) {
      Problems problems;
      stats::Store stats;
      ParseContext context{problems, names_, stats, {}};
      expected = checker_.check(message, problems) && parseRouteTable(message, context) != nullptr;
    }
    const auto before = table_;
    table_ = i % 2 == 0 ? before : nullptr;  // with and without a version before
    const auto out = read(bytes);
    EXPECT_EQ(out != nullptr, expected) << i << ": " << said_;
    if (out != nullptr && expected) {
      EXPECT_EQ(out->hosts().size(), static_cast<size_t>(message.virtual_hosts_size())) << i;
    }
    ++(expected ? good : refused);
  }
  EXPECT_GT(good, 100u);
  EXPECT_GT(refused, 100u);
}

// ---- memory ----

TEST_F(RouteSharingTest, TenThousandHostsOfThreeRoutesTakeLittle) {
  for (int i = 0; i < 10'000; ++i) {
    route::VirtualHost& host = *message_.add_virtual_hosts();
    const std::string name = "cluster-" + std::to_string(i);
    host.set_name(name);
    host.add_domains(name + ".mesh.test");
    for (const char* prefix : {"/api/v1/", "/static/", "/"}) add(host, prefix, name);
  }
  for (int i = 0; i < 10'000; ++i) names_.intern("cluster-" + std::to_string(i));  // the clusters' own
  ASSERT_NE(read(), nullptr) << said_;
  const size_t a_host = bytes_ / 10'000;
  RecordProperty("bytes_a_host", static_cast<int>(a_host));
  EXPECT_LE(a_host, 800u);
  EXPECT_GE(a_host, 300u) << "the count is wrong";
}

TEST_F(RouteSharingTest, AChangeOfOneHostAmongThousandsAllocatesForThatOne) {
  for (int i = 0; i < 5000; ++i) add("a-host-with-a-name-of-some-length-" + std::to_string(i));
  ASSERT_NE(read(), nullptr);
  const auto first = table_;
  message_.mutable_virtual_hosts(2500)->mutable_routes(0)->mutable_route()->set_cluster("other");
  const auto second = read();
  EXPECT_LE(allocations_, 150u);
  ASSERT_NE(second, nullptr);
  size_t made = 0;
  for (size_t i = 0; i < 5000; ++i) made += second->hosts()[i] != first->hosts()[i];
  EXPECT_EQ(made, 1u);
}

TEST_F(RouteSharingTest, ARouteThatRewritesItsPathInAWayOfItsOwnTakesLittle) {
  route::VirtualHost& host = add("a");
  host.clear_routes();
  for (int i = 0; i < 10'000; ++i) {
    const std::string service = "/service-" + std::to_string(i);
    add(host, service + "/", "c").mutable_route()->set_prefix_rewrite("/api/v1" + service + "/");
  }
  ASSERT_NE(read(), nullptr) << said_;
  const size_t a_route = bytes_ / 10'000;
  RecordProperty("bytes_a_rewriting_route", static_cast<int>(a_route));
  EXPECT_LE(a_route, 480u);
  EXPECT_EQ(table_->plans().size(), 1u) << "all but the rewrite is the same";
}

TEST_F(RouteSharingTest, WhatTheCheckOfARegularExpressionCompiledServes) {
  route::VirtualHost& host = add("a");
  route::Route& out = *host.mutable_routes(0);
  out.mutable_match()->mutable_safe_regex()->set_regex("/path/.*");
  auto& header = *out.mutable_match()->add_headers();
  header.set_name("x-a");
  header.mutable_string_match()->mutable_safe_regex()->set_regex("value.*");
  auto& query = *out.mutable_match()->add_query_parameters();
  query.set_name("q");
  query.mutable_string_match()->mutable_safe_regex()->set_regex("query.*");
  auto& rewrite = *out.mutable_route()->mutable_regex_rewrite();
  rewrite.mutable_pattern()->set_regex("^/path");
  rewrite.set_substitution("/other");
  Problems problems;
  RouteTableSpec spec = parseRoutes(message_, problems, {});
  ASSERT_TRUE(problems.empty()) << problems.str();
  const RouteSpec& checked = spec.hosts.at(0).routes.at(0);
  const std::weak_ptr<const match::Regex> all[] = {
      checked.match.checked.regex, checked.match.headers.at(0).string.checked.regex, checked.match.query.at(0).string->checked.regex,
      checked.forward.regex_rewrite->checked.regex};
  const auto table = RouteTable::compile(std::move(spec), names_);
  ASSERT_TRUE(table.ok());
  spec = {};
  for (const auto& each : all) EXPECT_FALSE(each.expired()) << &each - all;
}

TEST_F(RouteSharingTest, TenThousandRoutesOfOneHostTakeLittle) {
  for (const bool exact : {false, true}) {
    message_.Clear();
    table_ = nullptr;
    route::VirtualHost& host = add("a");
    host.clear_routes();
    for (int i = 0; i < 10'000; ++i) {
      auto& match = *add(host, "/", "c").mutable_match();
      const std::string path = "/service-" + std::to_string(i) + "/api";
      exact ? match.set_path(path) : match.set_prefix(path);
    }
    ASSERT_NE(read(), nullptr) << said_;
    const size_t a_route = bytes_ / 10'000;
    RecordProperty(exact ? "bytes_an_exact_route" : "bytes_a_prefix_route", static_cast<int>(a_route));
    EXPECT_LE(a_route, 275u) << exact;
  }
}

}  // namespace
}  // namespace outrider::config
