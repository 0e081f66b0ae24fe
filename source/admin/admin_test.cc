// The endpoint in process: a real socket on the loopback, a loop that the test steps, time that the test moves.
#include <gtest/gtest.h>

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <random>

#include "envoy/admin/v3/config_dump.pb.h"
#include "envoy/admin/v3/server_info.pb.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "source/admin/dump_mask.h"
#include "source/admin/endpoint.h"
#include "source/admin/json_writer.h"
#include "source/admin/process_memory.h"
#include "source/admin/sorted_names.h"
#include "source/base/log.h"
#include "source/config/json_print.h"

namespace outrider::admin {
namespace {

#define OUTRIDER_ADMIN_TEST_STATS(C, G, H) C(kTotal, "total") G(kActive, "active") H(kTime, "time_ms")
OUTRIDER_STATS(TestStat, kTestTable, OUTRIDER_ADMIN_TEST_STATS)

class World {
 public:
  explicit World(bool strict = true)
      : clusters(loop, stats, names, [](auto) {}), listeners(stats, 1, [](auto) {}), endpoint(sources(strict)) {
    const absl::Status status = endpoint.listen(*base::Address::parseIp("127.0.0.1", 0), {.reuse_port = false}, "");
    EXPECT_TRUE(status.ok()) << status;
  }

  Answer get(std::string_view target) { return ask("GET", target); }
  Answer ask(std::string_view method, std::string_view target, std::string_view host = "localhost", bool origin = false) {
    Request request;
    request.method = method;
    request.host = host;
    request.has_origin = origin;
    EXPECT_TRUE(parseTarget(target, request));
    Answer answer = endpoint.answer(request);
    if (answer.pieces != nullptr) {
      while (answer.pieces->next(answer.body)) {
      }
    }
    return answer;
  }
  std::string page(std::string_view target) { return get(target).body; }

  void turns(int n) {
    for (int i = 0; i < n; ++i) loop.turn(0);
  }

  base::FakeClock clock;
  event::Loop loop{clock};
  stats::Store stats;
  config::NameTable names;
  upstream::ClusterManager clusters;
  listener::ListenerManager listeners;
  tls::ContextCache tls;
  envoy::config::bootstrap::v3::Bootstrap bootstrap;
  std::string_view state = "LIVE";
  std::vector<std::string> done;
  std::map<std::string, std::shared_ptr<const std::string>> resources;  // of every type
  std::vector<std::string> unsupported{"bootstrap: stats_sinks"};
  Endpoint endpoint;

 private:
  Sources sources(bool strict) {
    Sources out{loop, stats, clusters, listeners, tls, bootstrap};
    out.strict = strict;
    out.state = [this] { return state; };
    out.server_info = [](envoy::admin::v3::ServerInfo& info) { info.set_version("a/1.2.3/Clean/RELEASE/OpenSSL"); };
    out.refresh = [] {};
    out.unsupported = [this]() -> const std::vector<std::string>& { return unsupported; };
    out.defaults = [] { return std::string("none\n"); };
    out.resource_names = [this](std::string_view, const std::function<void(std::string_view)>& fn) {
      for (const auto& [name, bytes] : resources) fn(name);
    };
    out.resource = [this](std::string_view, const std::string& name, const std::function<void(const config::ResourceView&)>& fn) {
      const auto at = resources.find(name);
      if (at == resources.end()) return;
      const config::ResourceView::Version accepted{at->second, "v", 0};
      fn({name, &accepted, nullptr, nullptr, nullptr});
    };
    out.version = [](std::string_view) { return std::string(); };
    out.listener_warms = [](const std::string&) { return false; };
    out.fail_health_check = [this](bool fail) { done.push_back(fail ? "fail" : "ok"); };
    out.drain_listeners = [this](bool graceful, bool inbound_only, bool skip_exit) {
      done.push_back(std::string("drain") + (graceful ? " graceful" : "") + (inbound_only ? " inbound" : "") + (skip_exit ? " stay" : ""));
    };
    out.reopen_logs = [this] { done.push_back("reopen"); };
    out.quit = [this] { done.push_back("quit"); };
    return out;
  }
};

// A client that never waits: it sends, and reads what has come.
class Client {
 public:
  explicit Client(World& world, int receive_buffer = 0)
      : world_(world), fd_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    if (receive_buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const base::Address& at = world.endpoint.local();
    (void)::connect(fd_, at.sockAddr(), at.length());
    world_.turns(2);
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(std::string_view bytes) {
    EXPECT_EQ(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    world_.turns(3);
  }
  // Everything that has come; `closed` tells whether the end came too.
  const std::string& read() {
    char buffer[16384];
    ssize_t n;
    while ((n = ::recv(fd_, buffer, sizeof buffer, 0)) > 0) text.append(buffer, static_cast<size_t>(n));
    closed |= n == 0 || (n < 0 && errno != EAGAIN);
    return text;
  }

  std::string text;
  bool closed = false;

 private:
  World& world_;
  const int fd_;
};

// ---- what keeps turns short ----

// A millisecond has gone by every third time somebody looks.
class HastyClock final : public base::Clock {
 public:
  base::Nanos mono() const override { return looks_++ * base::kMilli / 2; }
  base::Nanos wall() const override { return 0; }

 private:
  mutable base::Nanos looks_ = 0;
};

TEST(SortedNames, AreSortedSomeAtATime) {
  const HastyClock clock;
  std::vector<std::string> expected;
  for (int i = 0; i < 10'000; ++i) expected.push_back("cluster-" + std::to_string(i));
  std::vector<std::string> mixed = expected;
  std::shuffle(mixed.begin(), mixed.end(), std::mt19937(3));
  std::sort(expected.begin(), expected.end());
  SortedNames names;
  for (const std::string& name : mixed) names.add(name);
  for (int i = 0; i < 100; ++i) names.add(mixed[static_cast<size_t>(i)]);  // what two sources have
  int turns = 1;
  while (names.sort(Slice(clock))) ++turns;
  EXPECT_GT(turns, 50) << "a turn had more than its share";
  ASSERT_EQ(names.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(names[i], expected[i]);
  EXPECT_FALSE(names.sort(Slice(clock)));
}

TEST(SortedNames, NoneAndOneAreInOrder) {
  const HastyClock clock;
  SortedNames names;
  EXPECT_FALSE(names.sort(Slice(clock)));
  SortedNames one;
  one.add("a");
  EXPECT_FALSE(one.sort(Slice(clock)));
  EXPECT_EQ(one.size(), 1u);
}

TEST(ProcessMemory, IsWhatTheKernelCounts) {
  const ProcessMemory some = ProcessMemory::of("765 445 416 5 0 123 0\n", 4096);
  EXPECT_EQ(some.resident, 445u * 4096);
  EXPECT_EQ(some.own, 29u * 4096);
  EXPECT_EQ(some.reserved, 123u * 4096);
  EXPECT_EQ(ProcessMemory::of("765 445", 4096).resident, 0u);
  const ProcessMemory before = ProcessMemory::now();
  EXPECT_GT(before.own, 0u);
  EXPECT_GE(before.reserved, before.own / 2);
  const std::vector<char> much(64 << 20, 'x');
  EXPECT_GE(ProcessMemory::now().own, before.own + (32u << 20) + static_cast<unsigned>(much[0] != 'x'));
}

// ---- requests ----

TEST(Request, PathsAreNormalised) {
  const auto path = [](std::string_view target) {
    Request request;
    return parseTarget(target, request) ? request.path : "none";
  };
  EXPECT_EQ(path("/ready"), "/ready");
  EXPECT_EQ(path("//stats"), "/stats");
  EXPECT_EQ(path("/rea%64y?x"), "/ready");
  EXPECT_EQ(path("/ready/../quitquitquit"), "/quitquitquit");
  EXPECT_EQ(path("/../../ready"), "/ready");
  EXPECT_EQ(path("/ready/"), "/ready/");
  EXPECT_EQ(path("/"), "/");
  EXPECT_EQ(path("*"), "none");
  EXPECT_EQ(path("/a%00b"), "none");
}

TEST(Request, QueriesAreDecoded) {
  Request request;
  ASSERT_TRUE(parseTarget("/stats?usedonly&filter=%5Ea%7Cb%3D&&x=1=2", request));
  EXPECT_TRUE(request.has("usedonly"));
  EXPECT_EQ(*request.param("filter"), "^a|b=");
  EXPECT_EQ(*request.param("x"), "1=2");
  EXPECT_EQ(request.param("none"), nullptr);
}

TEST(Request, OnlyAddressesAndLocalhostAreLocalNames) {
  for (const char* host : {"", "localhost", "LOCALHOST:9901", "127.0.0.1", "10.1.2.3:15000", "[::1]:1", "[::1]", "a.localhost"}) {
    EXPECT_TRUE(isLocalName(host)) << host;
  }
  for (const char* host : {"evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost"}) {
    EXPECT_FALSE(isLocalName(host)) << host;
  }
}

// ---- pages ----

TEST(Pages, ReadyTellsTheState) {
  World world;
  EXPECT_EQ(world.get("/ready").status, 200);
  EXPECT_EQ(world.page("/ready"), "LIVE\n");
  world.state = "PRE_INITIALIZING";
  EXPECT_EQ(world.get("/ready").status, 503);
  EXPECT_EQ(world.page("/ready"), "PRE_INITIALIZING\n");
}

TEST(Pages, AnUnknownPathIsAnsweredWithWhatThereIs) {
  World world;
  for (const char* path : {"/nosuch", "/ready/", "/stats/x"}) {
    const Answer answer = world.get(path);
    EXPECT_EQ(answer.status, 404) << path;
    EXPECT_EQ(answer.body.substr(0, 39), "invalid path. admin commands are:\n  /: ") << path;
    EXPECT_NE(answer.body.find("\n  /quitquitquit (POST): exit the server\n"), std::string::npos);
  }
}

TEST(Pages, WhatChangesSomethingNeedsPost) {
  World world;
  for (const char* path : {"/quitquitquit", "/healthcheck/fail", "/healthcheck/ok", "/drain_listeners", "/logging", "/reopen_logs",
                           "/reset_counters", "/ready/../quitquitquit"}) {
    const Answer answer = world.get(path);
    EXPECT_EQ(answer.status, 405) << path;
    EXPECT_EQ(answer.body, "Method GET not allowed, POST required.");
  }
  EXPECT_TRUE(world.done.empty());
  for (const char* path : {"/healthcheck/fail", "/healthcheck/ok", "/reopen_logs", "/drain_listeners",
                           "/drain_listeners?graceful&inboundonly&skip_exit", "/quitquitquit"}) {
    const Answer answer = world.ask("POST", path);
    EXPECT_EQ(answer.status, 200) << path;
    EXPECT_EQ(answer.body, "OK\n");
  }
  EXPECT_EQ(world.done, (std::vector<std::string>{"fail", "ok", "reopen", "drain", "drain graceful inbound stay", "quit"}));
}

TEST(Pages, SkipExitIsPartOfAGracefulDrain) {
  World world;
  const Answer answer = world.ask("POST", "/drain_listeners?skip_exit");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.body, "skip_exit requires graceful\n");
  EXPECT_TRUE(world.done.empty());
}

TEST(Pages, OtherMethodsAreRefusedOnReadOnlyPagesUnlessItIsToBeLikeEnvoy) {
  World strict(true), envoy(false);
  for (const char* method : {"PUT", "DELETE", "PATCH"}) {
    EXPECT_EQ(strict.ask(method, "/ready").status, 405);
    EXPECT_EQ(envoy.ask(method, "/ready").status, 200);
  }
  EXPECT_EQ(strict.ask("POST", "/ready").status, 200);
}

TEST(Pages, AForeignNameGetsNothingButProbes) {
  World strict(true), envoy(false);
  EXPECT_EQ(strict.ask("GET", "/config_dump", "evil.example").status, 403);
  EXPECT_EQ(strict.ask("POST", "/quitquitquit", "evil.example").status, 403);
  EXPECT_EQ(strict.ask("POST", "/quitquitquit", "localhost", true).status, 403) << "a form of another site";
  EXPECT_TRUE(strict.done.empty());
  EXPECT_EQ(strict.ask("GET", "/ready", "pod.example").status, 200);
  EXPECT_EQ(strict.ask("GET", "/stats/prometheus", "pod.example").status, 200);
  EXPECT_EQ(envoy.ask("GET", "/config_dump", "evil.example").status, 200);
}

TEST(Pages, LevelsOfTheLogAreChangedAllOrNone) {
  World world;
  const base::LogLevel before = base::Log::level(base::LogId::kHttp);
  EXPECT_EQ(world.ask("POST", "/logging?paths=http:trace,nosuch:debug").status, 400);
  EXPECT_EQ(base::Log::level(base::LogId::kHttp), before);
  EXPECT_EQ(world.ask("POST", "/logging?level=loud").status, 400);
  EXPECT_EQ(world.ask("POST", "/logging?http=trace&pool=trace").status, 400);
  const Answer answer = world.ask("POST", "/logging?paths=http:trace,pool:error");
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.body.find("active loggers:\n"), std::string::npos);
  EXPECT_NE(answer.body.find("  http: trace\n"), std::string::npos);
  EXPECT_EQ(base::Log::level(base::LogId::kPool), base::LogLevel::kError);
  base::Log::setAll(before);
}

TEST(Pages, TellWhatIsSetWithoutEffect) {
  World world;
  EXPECT_EQ(world.page("/unsupported"), "bootstrap: stats_sinks\n");
  EXPECT_EQ(world.page("/outrider/defaults"), "none\n");
}

// ---- statistics ----

class Statistics : public ::testing::Test {
 protected:
  Statistics()
      : a(world.stats.scope("cluster.a.", kTestTable)),
        b(world.stats.scope("cluster.b.", kTestTable)),
        codes(world.stats.series("cluster.a.upstream_rq_")) {
    a.inc(TestStat::kTotal, 3);
    a.set(TestStat::kActive, 0);
    a.record(TestStat::kTime, 7);
    codes->inc("200", 2);
    world.stats.text("cluster_manager.cds.version_text", [] { return std::string("v\"1"); });
  }
  World world;
  const stats::Set<TestStat> a, b;
  const stats::SeriesRef codes;
};

TEST_F(Statistics, AsText) {
  EXPECT_EQ(world.page("/stats?filter=^cluster(_manager|\\.[ab])\\."),
            "cluster_manager.cds.version_text: \"v\"1\"\n"
            "cluster.a.active: 0\ncluster.a.total: 3\ncluster.a.upstream_rq_200: 2\ncluster.b.active: 0\ncluster.b.total: 0\n"
            "cluster_manager.active_clusters: 0\ncluster_manager.cluster_added: 0\ncluster_manager.cluster_modified: 0\n"
            "cluster_manager.cluster_removed: 0\ncluster_manager.cluster_updated: 0\ncluster_manager.cluster_updated_via_merge: 0\n"
            "cluster_manager.update_merge_cancelled: 0\ncluster_manager.update_out_of_merge_window: 0\n"
            "cluster_manager.warming_clusters: 0\n"
            "cluster.a.time_ms: P0(nan,7.05) P25(nan,7.05) P50(nan,7.05) P75(nan,7.05) P90(nan,7.05) P95(nan,7.05) P99(nan,7.05) "
            "P99.5(nan,7.05) P99.9(nan,7.05) P100(nan,7.05)\n"
            "cluster.b.time_ms: No recorded values\n");
}

TEST_F(Statistics, OnlyThoseThatWereEverWritten) {
  EXPECT_EQ(world.page("/stats?usedonly&filter=^cluster\\.&type=Gauges"), "cluster.a.active: 0\n");
  EXPECT_EQ(world.page("/stats?usedonly&filter=^cluster\\.&type=Counters"), "cluster.a.total: 3\ncluster.a.upstream_rq_200: 2\n");
}

TEST_F(Statistics, AsJson) {
  EXPECT_EQ(world.page("/stats?format=json&usedonly&filter=^cluster\\.a\\.(total|active)"),
            R"({"stats":[{"name":"cluster.a.active","value":0},{"name":"cluster.a.total","value":3}]})");
  EXPECT_EQ(world.page("/stats?format=json&filter=nosuch"), R"({"stats":[]})");
  EXPECT_EQ(world.page("/stats?format=json&type=TextReadouts"),
            R"({"stats":[{"name":"cluster_manager.cds.version_text","value":"v\"1"}]})");
  EXPECT_EQ(
      world.page("/stats?format=json&filter=cluster.a.time&histogram_buckets=disjoint").substr(0, 160),
      R"({"stats":[{"histograms":[{"name":"cluster.a.time_ms","buckets":[{"upper_bound":0.5,"interval":0,"cumulative":0},{"upper_bound":1,"interval":0,"cumulative":0},{")");
}

TEST_F(Statistics, ForPrometheus) {
  EXPECT_EQ(world.page("/stats/prometheus?filter=^cluster\\.[ab]\\.(total|upstream_rq|active)"),
            "# TYPE envoy_cluster_total counter\nenvoy_cluster_total{envoy_cluster_name=\"a\"} "
            "3\nenvoy_cluster_total{envoy_cluster_name=\"b\"} 0\n"
            "# TYPE envoy_cluster_upstream_rq counter\nenvoy_cluster_upstream_rq{envoy_response_code=\"200\",envoy_cluster_name=\"a\"} 2\n"
            "# TYPE envoy_cluster_active gauge\nenvoy_cluster_active{envoy_cluster_name=\"a\"} "
            "0\nenvoy_cluster_active{envoy_cluster_name=\"b\"} 0\n");
  const std::string time = world.page("/stats?format=prometheus&usedonly&filter=cluster.*time");
  EXPECT_EQ(time.substr(0, time.find("le=\"1\"")),
            "# TYPE envoy_cluster_time_ms histogram\nenvoy_cluster_time_ms_bucket{envoy_cluster_name=\"a\",le=\"0.5\"} 0\n"
            "envoy_cluster_time_ms_bucket{envoy_cluster_name=\"a\",");
  EXPECT_NE(time.find("{envoy_cluster_name=\"a\",le=\"+Inf\"} 1\nenvoy_cluster_time_ms_sum{envoy_cluster_name=\"a\"} 7\n"
                      "envoy_cluster_time_ms_count{envoy_cluster_name=\"a\"} 1\n"),
            std::string::npos);
  EXPECT_EQ(time.find("envoy_cluster_name=\"b\""), std::string::npos);
  EXPECT_EQ(world.page("/stats/prometheus?text_readouts&filter=version_text"),
            "# TYPE envoy_cluster_manager_cds_version_text gauge\nenvoy_cluster_manager_cds_version_text{text_value=\"v\\\"1\"} 0\n");
}

TEST_F(Statistics, WrongQueriesAreSaid) {
  EXPECT_EQ(world.get("/stats?filter=(").status, 400);
  EXPECT_EQ(world.page("/stats?filter=("), "Invalid re2 regex: missing ): (");
  EXPECT_EQ(world.page("/stats?type=bad"), "invalid &type= param");
  EXPECT_EQ(world.get("/stats?format=bad").status, 400);
  EXPECT_EQ(world.get("/stats?histogram_buckets=bad").status, 400);
  EXPECT_EQ(world.get("/stats?filter=((((a+)+)+)+)$").status, 200);
}

TEST_F(Statistics, CountersAreReset) {
  EXPECT_EQ(world.ask("POST", "/reset_counters").status, 200);
  EXPECT_EQ(world.page("/stats?filter=^cluster\\.a\\.total"), "cluster.a.total: 0\n");
}

// ---- the dump ----

TEST(ConfigDump, NeverShowsAKey) {
  World world;
  auto& secret = *world.bootstrap.mutable_static_resources()->add_secrets();
  secret.set_name("s");
  secret.mutable_tls_certificate()->mutable_private_key()->set_inline_string("PRIVATE-BYTES");
  auto& ads = *world.bootstrap.mutable_dynamic_resources()->mutable_ads_config()->add_grpc_services();
  auto& token = *ads.add_initial_metadata();
  token.set_key("x-token");
  token.set_value("TOKEN-BYTES");
  for (const char* page :
       {"/config_dump", "/config_dump?include_eds", "/config_dump?mask=bootstrap", "/config_dump?resource=static_secrets"}) {
    const Answer answer = world.get(page);
    EXPECT_EQ(answer.status, 200) << page;
    EXPECT_EQ(answer.body.find("PRIVATE-BYTES"), std::string::npos) << page;
    EXPECT_EQ(answer.body.find("TOKEN-BYTES"), std::string::npos) << page;
    EXPECT_NE(answer.body.find("[redacted]"), std::string::npos) << page;
  }
}

TEST(ConfigDump, InPiecesReadsAsInOneGo) {
  World world;
  world.bootstrap.mutable_node()->set_id("n");
  for (int i = 0; i < 3; ++i) world.bootstrap.mutable_static_resources()->add_clusters()->set_name("c" + std::to_string(i));
  world.bootstrap.mutable_admin()->mutable_address()->mutable_pipe()->set_path("/x");
  envoy::admin::v3::ConfigDump whole;
  envoy::admin::v3::BootstrapConfigDump bootstrap;
  *bootstrap.mutable_bootstrap() = world.bootstrap;
  bootstrap.mutable_last_updated();
  whole.add_configs()->PackFrom(bootstrap);
  envoy::admin::v3::ClustersConfigDump clusters;
  for (const auto& cluster : world.bootstrap.static_resources().clusters()) {
    auto& one = *clusters.add_static_clusters();
    one.mutable_cluster()->PackFrom(cluster);
    one.mutable_last_updated();
  }
  whole.add_configs()->PackFrom(clusters);
  whole.add_configs()->PackFrom(envoy::admin::v3::ListenersConfigDump());
  whole.add_configs()->PackFrom(envoy::admin::v3::ScopedRoutesConfigDump());
  whole.add_configs()->PackFrom(envoy::admin::v3::RoutesConfigDump());
  whole.add_configs()->PackFrom(envoy::admin::v3::SecretsConfigDump());
  EXPECT_EQ(world.page("/config_dump"), config::toJson(whole) + "\n");
}

TEST(ConfigDump, WhatAControlPlaneSentIsInOrderOfNames) {
  World world;
  for (const char* name : {"b", "c", "a"}) {
    envoy::config::cluster::v3::Cluster cluster;
    cluster.set_name(name);
    world.resources[name] = std::make_shared<const std::string>(cluster.SerializeAsString());
  }
  const auto order = [](const std::string& page) {
    std::string out;
    for (size_t at = 0; (at = page.find("\"name\": \"", at)) != std::string::npos; ++at) out += page[at + 9];
    return out;
  };
  EXPECT_EQ(order(world.page("/config_dump?resource=dynamic_active_clusters")), "abc");
  EXPECT_EQ(order(world.page("/config_dump?resource=dynamic_active_clusters&mask=cluster.name&name_regex=[bc]")), "bc");
  EXPECT_EQ(world.get("/config_dump?resource=dynamic_active_clusters&mask=cluster.nosuch").status, 400);
  EXPECT_EQ(world.page("/config_dump?resource=dynamic_warming_clusters"), "{}\n");
}

TEST(ConfigDump, AMaskLeavesWholeListsOfThePartsThatHaveThem) {
  World world;
  world.bootstrap.mutable_static_resources()->add_clusters()->set_name("fixed");
  world.resources["sent"] = std::make_shared<const std::string>();
  envoy::admin::v3::ConfigDump expected;
  envoy::admin::v3::ClustersConfigDump clusters;
  auto& one = *clusters.add_static_clusters();
  one.mutable_cluster()->PackFrom(world.bootstrap.static_resources().clusters(0));
  one.mutable_last_updated();
  expected.add_configs()->PackFrom(clusters);
  EXPECT_EQ(world.page("/config_dump?mask=static_clusters"), config::toJson(expected) + "\n");
  expected.Clear();
  expected.add_configs()->PackFrom(envoy::admin::v3::ListenersConfigDump());
  EXPECT_EQ(world.page("/config_dump?mask=static_listeners"), config::toJson(expected) + "\n");
}

TEST(ConfigDump, ResourcesMasksAndNames) {
  World world;
  for (const char* name : {"a", "b"}) {
    auto& cluster = *world.bootstrap.mutable_static_resources()->add_clusters();
    cluster.set_name(name);
    cluster.mutable_connect_timeout()->set_seconds(1);
  }
  const std::string only = world.page("/config_dump?resource=static_clusters&mask=cluster.name&name_regex=b");
  EXPECT_EQ(only,
            "{\n \"configs\": [\n  {\n   \"@type\": \"type.googleapis.com/envoy.admin.v3.ClustersConfigDump.StaticCluster\",\n"
            "   \"cluster\": {\n    \"@type\": \"type.googleapis.com/envoy.config.cluster.v3.Cluster\",\n    \"name\": \"b\"\n   }\n  }\n "
            "]\n}\n");
  EXPECT_EQ(world.get("/config_dump?resource=nosuch").status, 404);
  EXPECT_EQ(world.get("/config_dump?resource=bootstrap").status, 400);
  EXPECT_EQ(world.get("/config_dump?resource=static_clusters&mask=nosuch").status, 400);
  EXPECT_EQ(world.get("/config_dump?resource=static_clusters&mask=cluster.nosuch").status, 400);
  EXPECT_EQ(world.get("/config_dump?mask=nosuch").status, 400);
  EXPECT_EQ(world.get("/config_dump?name_regex=(").status, 400);
  EXPECT_EQ(world.page("/config_dump?resource=dynamic_active_clusters"), "{}\n");
}

// ---- connections ----

TEST(Connections, AnswerAndKeepAlive) {
  World world;
  Client client(world);
  client.send("GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(client.read().substr(0, 17), "HTTP/1.1 200 OK\r\n");
  EXPECT_NE(client.text.find("cache-control: no-cache, max-age=0\r\nx-content-type-options: nosniff\r\n"), std::string::npos);
  EXPECT_NE(client.text.find("\r\n\r\n5\r\nLIVE\n\r\n0\r\n\r\n"), std::string::npos);
  client.text.clear();
  client.send("HEAD /ready HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(client.read().find("LIVE"), std::string::npos);
  EXPECT_EQ(client.text.substr(client.text.size() - 4), "\r\n\r\n");
  client.text.clear();
  client.send("POST /healthcheck/fail HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nab");
  EXPECT_EQ(client.read(), "");
  client.send("c");
  EXPECT_NE(client.read().find("OK\n"), std::string::npos) << client.text;
  EXPECT_FALSE(client.closed);
}

TEST(Connections, TakeHttp10WithoutHost) {
  World world;
  Client client(world);
  client.send("GET /ready HTTP/1.0\r\n\r\n");
  EXPECT_NE(client.read().find("LIVE"), std::string::npos);
  world.turns(3);
  client.read();
  EXPECT_TRUE(client.closed);
}

TEST(Connections, RefuseLongHeadsAndLongBodies) {
  World world;
  Client head(world);
  head.send("GET /ready HTTP/1.1\r\nHost: a\r\nX: " + std::string(61 * 1024, 'x'));
  EXPECT_EQ(head.read().substr(0, 12), "HTTP/1.1 431");
  Client body(world);
  body.send("POST /quitquitquit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n" +
            std::string(Connection::kMostBody + 1, 'x'));
  world.turns(10);
  EXPECT_EQ(body.read().substr(0, 12), "HTTP/1.1 413");
  EXPECT_TRUE(world.done.empty());
}

TEST(Connections, AClientThatDoesNotFinishItsRequestIsCut) {
  World world;
  Client client(world);
  client.send("GET /ready HTT");
  world.clock.advance(Connection::kRequestTime - base::kSecond);
  world.turns(2);
  client.read();
  EXPECT_FALSE(client.closed);
  for (int i = 0; i < 3; ++i) {
    world.clock.advance(base::kSecond);
    world.turns(2);
  }
  client.read();
  EXPECT_TRUE(client.closed);
  EXPECT_EQ(world.endpoint.connections(), 0u);
}

TEST(Connections, ASlowReaderCostsLittleAndIsCutInTheEnd) {
  World world;
  std::vector<stats::ScopeRef> scopes;
  for (int i = 0; i < 30000; ++i)
    scopes.push_back(world.stats.scope("cluster.some_rather_long_name_" + std::to_string(i) + ".", kTestTable));
  const size_t blocks = base::Block::liveOnThisThread();
  Client slow(world, 4096);
  slow.send("GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n");
  world.turns(2000);
  EXPECT_LT(base::Block::liveOnThisThread() - blocks, 32u);  // half a MiB of an answer of several
  // Others are served meanwhile.
  Client other(world);
  other.send("GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_NE(other.read().find("LIVE"), std::string::npos);
  // One that reads on gets all of it.
  for (int i = 0; i < 20000 && slow.read().find("\r\n0\r\n\r\n") == std::string::npos; ++i) world.turns(1);
  EXPECT_NE(slow.text.find("some_rather_long_name_9999.total: 0\n"), std::string::npos);
  EXPECT_NE(slow.text.find("\r\n0\r\n\r\n"), std::string::npos);
  // One that does not is cut.
  slow.text.clear();
  slow.send("GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n");
  world.turns(2000);
  for (int i = 0; i < 40; ++i) {
    world.clock.advance(base::kSecond);
    world.turns(2);
  }
  slow.read();
  EXPECT_TRUE(slow.closed);
}

TEST(Connections, ManyIdleOnesDoNotKeepANewOneOut) {
  World world;
  std::vector<std::unique_ptr<Client>> idle;
  for (size_t i = 0; i < Endpoint::kMostConnections + 20; ++i) {
    idle.push_back(std::make_unique<Client>(world));
    world.clock.advance(base::kMilli);
    world.turns(1);
  }
  EXPECT_EQ(world.endpoint.connections(), Endpoint::kMostConnections);
  Client client(world);
  client.send("GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_NE(client.read().find("LIVE"), std::string::npos);
  idle.front()->read();
  EXPECT_TRUE(idle.front()->closed);
  idle.back()->read();
  EXPECT_FALSE(idle.back()->closed);
}

// ---- parts ----

TEST(JsonWriter, LaysOutAsMessagesArePrinted) {
  std::string out;
  JsonWriter writer;
  writer.openObject(out);
  writer.member("a", "1", out);
  writer.openList("l", out);
  writer.element("{\n \"x\": {}\n}", out);
  writer.openObject(out);
  writer.members("{\n \"y\": [\n  1\n ]\n}", out);
  writer.members("{}", out);
  writer.close(out);
  writer.close(out);
  writer.openObject("e", out);
  writer.close(out);
  writer.close(out);
  EXPECT_EQ(out, "{\n \"a\": 1,\n \"l\": [\n  {\n   \"x\": {}\n  },\n  {\n   \"y\": [\n    1\n   ]\n  }\n ],\n \"e\": {}\n}");
}

TEST(DumpMask, KeepsWhatItNames) {
  envoy::config::bootstrap::v3::Bootstrap message;
  message.mutable_node()->set_id("n");
  message.mutable_node()->set_cluster("c");
  message.mutable_admin()->mutable_address()->mutable_pipe()->set_path("/x");
  auto copy = message;
  EXPECT_TRUE(DumpMask("node.id").apply(copy));
  EXPECT_EQ(copy.node().id(), "n");
  EXPECT_EQ(copy.node().cluster(), "");
  EXPECT_FALSE(copy.has_admin());
  copy = message;
  EXPECT_TRUE(DumpMask("node,node.id,admin").apply(copy));
  EXPECT_EQ(copy.SerializeAsString(), message.SerializeAsString());
  copy = message;
  EXPECT_FALSE(DumpMask("node.nosuch").apply(copy));
  copy = message;
  EXPECT_FALSE(DumpMask("static_resources.clusters.name").apply(copy)) << "below a list";
}

}  // namespace
}  // namespace outrider::admin
