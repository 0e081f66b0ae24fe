#include <map>
#include <random>

#include <netinet/in.h>

#include "source/upstream/harness.h"

namespace outrider::upstream {
namespace {

std::shared_ptr<const config::EndpointsSpec> shared(config::EndpointsSpec endpoints) {
  return std::make_shared<const config::EndpointsSpec>(std::move(endpoints));
}

config::EndpointsSpec endpointsAt(const std::vector<base::Address>& at) { return World::spec("", at)->endpoints; }

std::shared_ptr<config::ClusterSpec> edsSpec(const std::string& name) {
  auto spec = World::spec(name, {});
  spec->discovery = config::Discovery::kEds;
  return spec;
}

base::Address addressOf(int n) { return *base::Address::parseIp("10.0.0.1", static_cast<uint16_t>(n)); }

TEST(ClusterManager, AnEqualClusterIsNoUpdate) {
  World world;
  world.serve(World::spec("a", {addressOf(1)}));
  const size_t letters = world.letters.size();
  const auto put = world.manager.put(World::spec("a", {addressOf(1)}), true);
  world.manager.flush();
  EXPECT_EQ(*put, ClusterManager::Put::kSame);
  EXPECT_EQ(world.letters.size(), letters);
  EXPECT_EQ(world.manager.stats().read(ClusterManagerStat::kClusterAdded), 1u);
  EXPECT_EQ(world.manager.stats().read(ClusterManagerStat::kClusterModified), 0u);
  EXPECT_EQ(world.manager.updateCost().read(UpdateCostStat::kPartsRebuilt), 1u);
}

TEST(ClusterManager, ARemovedClusterIsUnknownToWorkers) {
  World world;
  world.serve(World::spec("a", {addressOf(1)}));
  EXPECT_TRUE(world.manager.remove("a"));
  EXPECT_FALSE(world.manager.remove("a"));
  world.manager.flush();
  EXPECT_EQ(world.view.find("a"), nullptr);
  EXPECT_EQ(world.manager.stats().read(ClusterManagerStat::kActiveClusters), 0u);
}

TEST(ClusterManager, StaticClustersStay) {
  World world;
  ASSERT_TRUE(world.manager.put(World::spec("a", {addressOf(1)}), false).ok());
  world.manager.flush();
  EXPECT_FALSE(world.manager.remove("a"));
  EXPECT_EQ(*world.manager.put(World::spec("a", {addressOf(2)}), true), ClusterManager::Put::kSame);
}

TEST(ClusterManager, ANewClusterWarmsUntilItsEndpointsCome) {
  World world;
  world.serve(edsSpec("a"));
  bool warm = false;
  world.manager.whenWarm([&] { warm = true; });
  world.turns(2);
  EXPECT_EQ(world.view.find("a"), nullptr);
  EXPECT_FALSE(warm);
  EXPECT_EQ(world.manager.find("a").warming->waitsFor(), "endpoints");
  EXPECT_TRUE(world.manager.updateEndpoints("a", shared(endpointsAt({addressOf(1)}))));
  world.turns(2);
  EXPECT_TRUE(warm);
  EXPECT_EQ(world.cluster("a").hosts()->hosts.size(), 1u);
}

TEST(ClusterManager, AVersionThatIsReplacedBeforeItServedLeavesItsEndpointsToTheNext) {
  World world;
  world.serve(edsSpec("a"));
  ASSERT_TRUE(world.manager.updateEndpoints("a", shared(endpointsAt({addressOf(1), addressOf(2)}))));
  ASSERT_EQ(world.manager.find("a").active, nullptr);  // no turn since
  const auto next = edsSpec("a");
  next->connect_timeout = 7 * base::kSecond;
  world.serve(next);
  world.turns(2);
  EXPECT_EQ(world.cluster("a").part().spec->connect_timeout, 7 * base::kSecond);
  EXPECT_EQ(world.cluster("a").hosts()->hosts.size(), 2u);
}

TEST(ClusterManager, TheOldVersionServesWhileTheNewOneWarms) {
  World world;
  world.serve(World::spec("a", {addressOf(1)}));
  world.serve(edsSpec("a"));
  EXPECT_EQ(world.cluster("a").part().spec->discovery, config::Discovery::kStatic);
  world.manager.endpointsTimedOut("a");
  world.manager.flush();
  EXPECT_EQ(world.cluster("a").part().spec->discovery, config::Discovery::kEds);
  EXPECT_EQ(world.cluster("a").hosts()->hosts.size(), 0u);
}

TEST(Eds, HostsThatStayAreTheSameObjects) {
  World world;
  world.serve(edsSpec("a"));
  world.manager.updateEndpoints("a", shared(endpointsAt({addressOf(1), addressOf(2)})));
  world.manager.flush();
  const HostRef second = world.cluster("a").hosts()->hosts[1];
  world.manager.updateEndpoints("a", shared(endpointsAt({addressOf(2), addressOf(3)})));
  world.manager.flush();
  EXPECT_EQ(world.cluster("a").hosts()->hosts[0], second);
  ASSERT_EQ(world.letters.back()->size(), 1u);
  EXPECT_EQ(world.letters.back()->at(0).removed.size(), 1u);
  EXPECT_EQ(world.letters.back()->at(0).part, nullptr);
}

// Lists that grow, shrink, are exchanged in places, turned round, shuffled, and name addresses twice.
TEST(Eds, HoweverTheListMovesAnAddressKeepsItsHostAndStandsOnce) {
  World world;
  world.serve(edsSpec("a"));
  std::mt19937 random(7);
  std::vector<int> list;
  std::map<std::string, HostRef> had;
  for (int round = 0; round < 300; ++round) {
    const size_t at = list.empty() ? 0 : random() % list.size();
    switch (random() % 6) {
      case 0: list.insert(list.begin() + static_cast<ptrdiff_t>(at), static_cast<int>(1 + random() % 60)); break;
      case 1:
        if (!list.empty()) list.erase(list.begin() + static_cast<ptrdiff_t>(at));
        break;
      case 2:
        if (!list.empty()) list[at] = static_cast<int>(1 + random() % 60);
        break;
      case 3: std::reverse(list.begin(), list.end()); break;
      case 4: std::shuffle(list.begin(), list.end(), random); break;
      case 5:
        for (int i = 0; i < 5; ++i) list.push_back(static_cast<int>(1 + random() % 60));
        break;
    }
    config::EndpointsSpec endpoints;
    endpoints.localities.emplace_back();
    std::vector<std::string> want;  // the first of an address holds
    std::map<std::string, uint32_t> weight;
    for (const int n : list) {
      config::EndpointSpec endpoint = endpointAt(addressOf(n));
      endpoint.weight = 1 + static_cast<uint32_t>(random() % 9);
      const std::string text = addressOf(n).str();
      if (weight.emplace(text, endpoint.weight).second) want.push_back(text);
      endpoints.localities[0].endpoints.push_back(std::move(endpoint));
    }
    world.manager.updateEndpoints("a", shared(endpoints));
    world.manager.flush();
    const HostSet& set = *world.cluster("a").hosts();
    ASSERT_EQ(set.hosts.size(), want.size()) << round;
    std::map<std::string, HostRef> has;
    for (size_t i = 0; i < want.size(); ++i) {
      const HostRef& host = set.hosts[i];
      ASSERT_EQ(host->address.str(), want[i]) << round;
      ASSERT_EQ(host->weight.load(), weight[want[i]]) << round;
      if (const auto it = had.find(want[i]); it != had.end()) {
        ASSERT_EQ(it->second, host) << round;
      }
      has.emplace(want[i], host);
    }
    had = std::move(has);
  }
}

TEST(Eds, AHostThatStaysShowsItsNewWeight) {
  World world;
  world.serve(edsSpec("a"));
  config::EndpointsSpec endpoints = endpointsAt({addressOf(1), addressOf(2)});
  endpoints.localities[0].endpoints[1].weight = 3;
  world.manager.updateEndpoints("a", shared(endpoints));
  world.manager.flush();
  const HostRef second = world.cluster("a").hosts()->hosts[1];
  EXPECT_EQ(second->weight.load(), 3u);
  endpoints.localities[0].endpoints[1].weight = 7;
  world.manager.updateEndpoints("a", shared(endpoints));
  world.manager.flush();
  EXPECT_EQ(world.cluster("a").hosts()->hosts[1], second);
  EXPECT_EQ(second->weight.load(), 7u);
}

TEST(Eds, AChangedClusterTakesOverWhatIsKnownOfItsEndpoints) {
  World world;
  world.serve(edsSpec("a"));
  world.manager.updateEndpoints("a", shared(endpointsAt({addressOf(1)})));
  world.manager.flush();
  const HostRef host = world.cluster("a").hosts()->hosts[0];
  auto changed = edsSpec("a");
  changed->connect_timeout = base::kSecond;
  world.serve(changed);
  EXPECT_EQ(world.manager.warmingCount(), 0u);
  EXPECT_EQ(world.cluster("a").part().spec->connect_timeout, base::kSecond);
  EXPECT_EQ(world.cluster("a").hosts()->hosts.at(0), host);
  // The next answer is for both, once.
  world.manager.updateEndpoints("a", shared(endpointsAt({addressOf(2)})));
  world.manager.flush();
  EXPECT_EQ(world.cluster("a").hosts()->hosts.at(0)->address.str(), "10.0.0.1:2");
}

TEST(Eds, NamesAreAskedForAsLongAsAClusterWantsThem) {
  World world;
  world.serve(edsSpec("a"));
  auto other = edsSpec("b");
  other->eds_name = "a";
  world.serve(other);
  EXPECT_EQ(world.manager.edsNames(), (std::vector<std::string>{"a"}));
  world.manager.remove("a");
  EXPECT_EQ(world.manager.edsNames(), (std::vector<std::string>{"a"}));
  world.manager.remove("b");
  EXPECT_TRUE(world.manager.edsNames().empty());
}

TEST(Breaker, GaugesTellWhatIsOpen) {
  World world;
  auto spec = World::spec("a", {addressOf(1)});
  spec->breakers[0].retries = 1;
  spec->breakers[0].track_remaining = true;
  world.serve(spec);
  const ClusterPart& part = world.cluster("a").part();
  world.manager.refreshGauges();
  EXPECT_EQ(part.main_stats.read(ClusterMainStat::kDefaultRqRetryOpen), 0u);
  EXPECT_EQ(part.main_stats.read(ClusterMainStat::kDefaultRemainingRetries), 1u);
  bool counted = false;
  ASSERT_TRUE(world.cluster("a").tryRetry(false, counted));
  world.manager.refreshGauges();
  EXPECT_EQ(part.main_stats.read(ClusterMainStat::kDefaultRqRetryOpen), 1u);
  EXPECT_EQ(part.main_stats.read(ClusterMainStat::kDefaultRemainingRetries), 0u);
  world.cluster("a").endRetry(false, counted);
}

TEST(Breaker, GaugesAreBroughtUpToDateSomeClustersAtATime) {
  World world;
  for (int i = 0; i < 10; ++i) {
    auto spec = World::spec("c" + std::to_string(i), {addressOf(1)});
    spec->breakers[0].track_remaining = true;
    spec->breakers[0].requests = 7;
    world.serve(spec);
  }
  ASSERT_TRUE(world.manager.remove("c0"));
  world.manager.flush();
  const auto done = [&](int i) {
    return world.cluster("c" + std::to_string(i)).part().main_stats.read(ClusterMainStat::kDefaultRemainingRq) == 7;
  };
  size_t at = 0;
  EXPECT_TRUE(world.manager.refreshGauges(at, 4));
  EXPECT_TRUE(done(1) && done(3));
  EXPECT_FALSE(done(4) || done(9));
  EXPECT_TRUE(world.manager.refreshGauges(at, 4));
  EXPECT_FALSE(world.manager.refreshGauges(at, 4));
  EXPECT_TRUE(done(4) && done(9));
}

TEST(View, HostsThatChangedBeforeAClusterIsFirstUsedAreThoseItHas) {
  World world;
  world.serve(World::spec("a", {addressOf(1)}));
  world.serve(World::spec("a", {addressOf(2), addressOf(3)}));
  EXPECT_EQ(world.cluster("a").hosts()->hosts.size(), 2u);
  ASSERT_TRUE(world.manager.remove("a"));
  world.manager.flush();
  EXPECT_EQ(world.view.find("a"), nullptr);
}

TEST(View, AClusterThatLeavesUnusedIsFoundNoMore) {
  World world;
  world.serve(World::spec("a", {addressOf(1)}));
  world.serve(World::spec("b", {addressOf(1)}));
  ASSERT_TRUE(world.manager.remove("b"));
  world.manager.flush();
  EXPECT_EQ(world.view.find("b"), nullptr);
  EXPECT_NE(world.view.find("a"), nullptr);
  world.serve(World::spec("b", {addressOf(2)}));
  EXPECT_EQ(world.cluster("b").hosts()->hosts.size(), 1u);
}

TEST(ClusterStats, CodesCountedByAVersionStayWithTheNext) {
  World world;
  world.serve(World::spec("a", {addressOf(1)}));
  const auto count = [&] {
    uint64_t out = 0;
    stats::Store::Visitor visitor;
    visitor.number = [&](const std::string& name, stats::Kind, const stats::Scope::Reading& reading) {
      if (name == "cluster.a.upstream_rq_503") out += reading.value;
    };
    world.stats.visit(visitor);
    return out;
  };
  EXPECT_FALSE(world.cluster("a").part().codes->made());
  world.cluster("a").part().codes->inc("503");
  EXPECT_EQ(count(), 1u);
  auto changed = World::spec("a", {addressOf(1)});
  changed->connect_timeout = base::kSecond;
  world.serve(changed);
  world.letters.clear();
  world.turns(3);
  ASSERT_EQ(world.cluster("a").part().spec->connect_timeout, base::kSecond);
  world.cluster("a").part().codes->inc("503");
  EXPECT_EQ(count(), 2u);
}

TEST(Eds, OneLetterCarriesABatch) {
  World world;
  for (const char* name : {"a", "b", "c"}) {
    world.serve(edsSpec(name));
    world.manager.updateEndpoints(name, shared(endpointsAt({addressOf(1)})));
  }
  world.manager.flush();
  const size_t letters = world.letters.size();
  for (const char* name : {"a", "b", "c"}) world.manager.updateEndpoints(name, shared(endpointsAt({addressOf(2)})));
  world.manager.flush();
  EXPECT_EQ(world.letters.size(), letters + 1);
  EXPECT_EQ(world.letters.back()->size(), 3u);
}

TEST(Eds, RequestsUnderWayFinishOnARemovedHost) {
  World world;
  Peer peer(world.loop);
  peer.answer = [](const std::string&) { return std::string(); };
  world.serve(edsSpec("a"));
  world.manager.updateEndpoints("a", shared(endpointsAt({peer.address()})));
  world.manager.flush();
  Call call(world, "a");
  ASSERT_TRUE(world.until([&] { return peer.heads.size() == 1; }));
  world.manager.updateEndpoints("a", shared(endpointsAt({})));
  world.manager.flush();
  peer.sayAll("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
  ASSERT_TRUE(world.until([&] { return call.done(); }));
  EXPECT_EQ(call.status(), 200);
  EXPECT_EQ(call.body(), "ok");
  ASSERT_TRUE(world.until([&] { return peer.open() == 0; }));
  EXPECT_EQ(world.manager.updateCost().read(UpdateCostStat::kPoolsDrained), 1u);
}

TEST(ClusterManager, AChangeThatDoesNotConcernConnectionsKeepsThem) {
  World world;
  Peer peer(world.loop);
  world.serve(World::spec("a", {peer.address()}));
  {
    Call call(world, "a");
    ASSERT_TRUE(world.until([&] { return call.done(); }));
  }
  auto changed = World::spec("a", {peer.address()});
  changed->breakers[0].requests = 7;
  world.serve(changed);
  EXPECT_EQ(world.cluster("a").breaker(false).requests.limit(), 7u);
  Call call(world, "a");
  ASSERT_TRUE(world.until([&] { return call.done(); }));
  EXPECT_EQ(peer.accepted, 1);
  EXPECT_EQ(world.manager.updateCost().read(UpdateCostStat::kPoolsDrained), 0u);
  auto reconnects = World::spec("a", {peer.address()});
  reconnects->http.max_headers_count = 50;
  world.serve(reconnects);
  Call other(world, "a");
  ASSERT_TRUE(world.until([&] { return other.done(); }));
  EXPECT_EQ(peer.accepted, 2);
}

std::shared_ptr<config::ClusterSpec> checkedSpec(const std::string& name, const std::vector<base::Address>& at) {
  auto spec = World::spec(name, at);
  config::HealthCheckSpec check;
  check.timeout = 200 * base::kMilli;
  check.interval = check.no_traffic_interval = 5 * base::kMilli;
  check.unhealthy_threshold = 2;
  check.healthy_threshold = 2;
  check.path = "/health";
  spec->health_checks.push_back(check);
  return spec;
}

TEST(HealthCheck, AClusterIsWarmAfterTheFirstRound) {
  World world;
  Peer peer(world.loop);
  world.serve(checkedSpec("a", {peer.address()}));
  EXPECT_EQ(world.view.find("a"), nullptr);
  ASSERT_TRUE(world.until([&] { return world.view.find("a") != nullptr; }));
  EXPECT_EQ(world.cluster("a").hosts()->healthy, 1u);
  EXPECT_NE(peer.heads.at(0).find("GET /health HTTP/1.1\r\nhost: a\r\n"), std::string::npos) << peer.heads.at(0);
  EXPECT_NE(peer.heads.at(0).find("user-agent: Envoy/HC\r\n"), std::string::npos);
  ASSERT_TRUE(world.until([&] { return peer.heads.size() > 4; }));
  EXPECT_EQ(peer.accepted, 1);  // the connection is used again
}

TEST(HealthCheck, AWrongStatusFailsAtOnceAndTwoGoodOnesHeal) {
  World world;
  Peer peer(world.loop), other(world.loop);
  world.serve(checkedSpec("a", {peer.address(), other.address()}));
  ASSERT_TRUE(world.until([&] { return world.view.find("a") != nullptr && world.cluster("a").hosts()->healthy == 2; }));
  peer.answer = [](const std::string&) { return std::string("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"); };
  ASSERT_TRUE(world.until([&] { return world.cluster("a").hosts()->healthy == 1; }));
  EXPECT_EQ(healthText(world.cluster("a").hosts()->hosts[0]->load.health), "/failed_active_hc");
  peer.answer = [](const std::string&) { return std::string("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"); };
  ASSERT_TRUE(world.until([&] { return world.cluster("a").hosts()->healthy == 2; }));
}

TEST(HealthCheck, ASilentHostTimesOut) {
  World world;
  Peer peer(world.loop);
  peer.answer = [](const std::string&) { return std::string(); };
  auto spec = checkedSpec("a", {peer.address()});
  spec->health_checks[0].timeout = 20 * base::kMilli;
  world.serve(spec);
  ASSERT_TRUE(world.until([&] { return world.view.find("a") != nullptr; }));
  EXPECT_EQ(world.cluster("a").hosts()->healthy, 0u);
}

TEST(HealthCheck, TcpComparesWhatTheHostSays) {
  World world;
  Peer peer(world.loop);
  peer.answer = [](const std::string& head) { return head == "PING\r\n\r\n" ? std::string("x PONG") : std::string("no"); };
  auto spec = checkedSpec("a", {peer.address()});
  spec->health_checks[0].kind = config::HealthCheckSpec::Kind::kTcp;
  spec->health_checks[0].send = "PING\r\n\r\n";
  spec->health_checks[0].receive = {"PO", "NG"};
  world.serve(spec);
  ASSERT_TRUE(world.until([&] { return world.view.find("a") != nullptr; }));
  EXPECT_EQ(world.cluster("a").hosts()->healthy, 1u);
}

TEST(HealthCheck, AHostThatDiscoveryGaveUpStaysWhileItIsHealthy) {
  World world;
  Peer peer(world.loop);
  auto spec = checkedSpec("a", {});
  spec->discovery = config::Discovery::kEds;
  world.serve(spec);
  world.manager.updateEndpoints("a", shared(endpointsAt({peer.address()})));
  ASSERT_TRUE(world.until([&] { return world.view.find("a") != nullptr && world.cluster("a").hosts()->healthy == 1; }));
  world.manager.updateEndpoints("a", shared(endpointsAt({})));
  world.manager.flush();
  EXPECT_EQ(world.cluster("a").hosts()->hosts.size(), 1u);
  peer.answer = [](const std::string&) { return std::string("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"); };
  ASSERT_TRUE(world.until([&] { return world.cluster("a").hosts()->hosts.empty(); }));
}

// A DNS server on the loopback that knows one name.
class DnsPeer final : public event::IoHandler {
 public:
  explicit DnsPeer(event::Loop& loop) : loop_(loop), fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    socklen_t size = sizeof at;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    address = *base::Address::parseIp("127.0.0.1", ntohs(at.sin_port));
    loop_.add(fd_, *this, event::kReadable);
  }
  ~DnsPeer() {
    loop_.remove(fd_, *this);
    ::close(fd_);
  }
  void onReady(uint32_t) override {
    char in[512];
    sockaddr_in from{};
    socklen_t size = sizeof from;
    ssize_t n;
    while ((n = ::recvfrom(fd_, in, sizeof in, 0, reinterpret_cast<sockaddr*>(&from), &size)) > 12) {
      ++asked;
      if (silent) continue;
      size_t end = 12;
      while (end < static_cast<size_t>(n) && in[end] != 0) end += static_cast<size_t>(in[end]) + 1;
      end += 5;  // the root's zero, type, class
      const bool a = in[end - 3] == 1;
      std::string out(in, end);
      out[2] = static_cast<char>(0x84);
      out[3] = static_cast<char>(addresses.empty() ? 3 : 0);
      out[7] = static_cast<char>(a ? addresses.size() : 0);
      out[9] = out[11] = 0;
      if (a) {
        for (const char last : addresses) {
          out.append("\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x7f\0\0", 15);
          out += last;
        }
      }
      ::sendto(fd_, out.data(), out.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
  }
  base::Address address;
  std::string addresses;  // the last byte of 127.0.0.x each
  int asked = 0;
  bool silent = false;

 private:
  event::Loop& loop_;
  const int fd_;
};

std::shared_ptr<config::ClusterSpec> dnsSpec(DnsPeer& dns, config::Discovery discovery) {
  auto spec = World::spec("a", {});
  spec->discovery = discovery;
  config::EndpointSpec endpoint;
  auto details = std::make_shared<config::EndpointDetails>();
  details->name = "service.test";
  endpoint.details = details;
  endpoint.port = 80;
  spec->endpoints.localities[0].endpoints.push_back(endpoint);
  spec->dns.resolvers.push_back(dns.address);
  spec->dns.refresh = 5 * base::kMilli;
  spec->dns.failure_base = spec->dns.failure_max = 5 * base::kMilli;
  spec->dns.no_search = true;
  return spec;
}

TEST(StrictDns, FollowsTheAddressesOfAName) {
  World world;
  DnsPeer dns(world.loop);
  dns.addresses = "\2\1";
  world.serve(dnsSpec(dns, config::Discovery::kStrictDns));
  EXPECT_EQ(world.view.find("a"), nullptr);
  ASSERT_TRUE(world.until([&] { return world.view.find("a") != nullptr; }));
  ASSERT_EQ(world.cluster("a").hosts()->hosts.size(), 2u);
  const HostRef first = world.cluster("a").hosts()->hosts[0];
  EXPECT_EQ(first->address.str(), "127.0.0.1:80");
  dns.addresses = "\1\3\4";
  ASSERT_TRUE(world.until([&] { return world.cluster("a").hosts()->hosts.size() == 3; }));
  EXPECT_EQ(world.cluster("a").hosts()->hosts[0], first);
  dns.addresses = "";
  ASSERT_TRUE(world.until([&] { return world.cluster("a").hosts()->hosts.empty(); }));
}

// What a sanitizer watches: the query, its lookup and the resolver end in the right order.
TEST(StrictDns, AClusterMayLeaveWhileItsNameIsAskedFor) {
  World world;
  DnsPeer dns(world.loop);
  dns.silent = true;
  world.serve(dnsSpec(dns, config::Discovery::kStrictDns));
  ASSERT_TRUE(world.until([&] { return dns.asked > 0; }));
  EXPECT_TRUE(world.manager.remove("a"));
  EXPECT_EQ(world.view.find("a"), nullptr);
}

TEST(LogicalDns, UsesOneAddressAtATime) {
  World world;
  DnsPeer dns(world.loop);
  dns.addresses = "\2\1";
  world.serve(dnsSpec(dns, config::Discovery::kLogicalDns));
  ASSERT_TRUE(world.until([&] { return world.view.find("a") != nullptr; }));
  EXPECT_EQ(world.cluster("a").hosts()->hosts.size(), 1u);
}

// What an update costs does not depend on how many clusters there are.
TEST(Budget, OneEndpointChangeAmongTenThousandClustersTakesAtMostThreeMilliseconds) {
  World world;
  for (int i = 0; i < 10000; ++i) {
    ASSERT_TRUE(world.manager.put(edsSpec("cluster-" + std::to_string(i)), true).ok());
    world.manager.updateEndpoints("cluster-" + std::to_string(i), shared(endpointsAt({addressOf(1), addressOf(2)})));
  }
  world.manager.flush();
  ASSERT_EQ(world.manager.warmingCount(), 0u);
  timespec before{}, after{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  constexpr int kTimes = 10;
  for (int i = 0; i < kTimes; ++i) {
    world.manager.updateEndpoints("cluster-5000", shared(endpointsAt({addressOf(1), addressOf(3 + i)})));
    world.manager.flush();
  }
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  const double ms =
      (static_cast<double>(after.tv_sec - before.tv_sec) * 1e3 + static_cast<double>(after.tv_nsec - before.tv_nsec) / 1e6) / kTimes;
  EXPECT_LE(ms, 3.0);
  EXPECT_EQ(world.letters.back()->size(), 1u);
  RecordProperty("ms_per_change", std::to_string(ms));
}

}  // namespace
}  // namespace outrider::upstream
