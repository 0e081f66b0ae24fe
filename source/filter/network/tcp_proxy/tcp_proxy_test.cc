#include "source/filter/network/tcp_proxy/tcp_proxy.h"

#include "source/event/io.h"
#include "source/filter/network/tcp_proxy/harness.h"
#include "source/tls/test_peers.h"
#include "source/upstream/tls_transport_source.h"

namespace outrider::filter::network::tcp_proxy {
namespace {

TEST_F(TcpProxyTest, CarriesBytesBothWays) {
  App client = connect();
  client.say("before there is a server");
  App server = acceptBackend();
  server.say("hello");
  EXPECT_TRUE(until([&] {
    client.hear();
    server.hear();
    return client.text == "hello" && server.text == "before there is a server";
  }));
  EXPECT_EQ(count(TcpStat::kCxTotal), 1u);
  EXPECT_EQ(count(TcpStat::kCxRxBytesTotal), 24u);
  EXPECT_EQ(count(TcpStat::kCxTxBytesTotal), 5u);
  EXPECT_EQ(countUp(ClusterStat::kUpstreamCxActive), 1u);
}

TEST_F(TcpProxyTest, TheAnswerComesAfterTheClientsEnd) {
  App client = connect();
  client.say("question");
  client.finish();
  App server = acceptBackend();
  EXPECT_TRUE(until([&] {
    server.hear();
    return server.eof;
  }));
  EXPECT_EQ(server.text, "question");
  server.say("answer");
  server.close();
  EXPECT_TRUE(until([&] {
    client.hear();
    return client.eof;
  }));
  EXPECT_EQ(client.text, "answer");
  EXPECT_FALSE(client.reset);
  EXPECT_TRUE(until([&] { return closed_ == 1 && countUp(ClusterStat::kUpstreamCxActive) == 0; }));
  EXPECT_EQ(log_->lines, std::vector<std::string>{"- 8 6 127.0.0.1:" + std::to_string(backend_port_) + " "});
  EXPECT_EQ(world_.cluster("a").part().breakers->of[0].connections.used(), 0u);
}

TEST_F(TcpProxyTest, TheClientMayGoOnAfterTheServersEnd) {
  App client = connect();
  App server = acceptBackend();
  server.say("greeting");
  server.finish();
  EXPECT_TRUE(until([&] {
    client.hear();
    return client.eof;
  }));
  EXPECT_EQ(client.text, "greeting");
  client.say("still talking");
  EXPECT_TRUE(until([&] {
    server.hear();
    return server.text == "still talking";
  }));
  EXPECT_FALSE(server.eof);
  client.close();
  EXPECT_TRUE(until([&] {
    server.hear();
    return server.eof && closed_ == 1;
  }));
}

TEST_F(TcpProxyTest, AServersResetReachesTheClientAfterTheBytesBeforeIt) {
  App client = connect();
  App server = acceptBackend();
  server.say("last words");
  EXPECT_TRUE(until([&] { return count(TcpStat::kCxTxBytesTotal) == 10; }));
  server.closeReset();
  EXPECT_TRUE(until([&] {
    client.hear();
    return client.reset;
  }));
  EXPECT_EQ(client.text, "last words");
  EXPECT_FALSE(client.eof);
  EXPECT_EQ(closed_, 1);
  ASSERT_EQ(log_->lines.size(), 1u);
  EXPECT_EQ(log_->lines[0], "UR 0 10 127.0.0.1:" + std::to_string(backend_port_) + " upstream_reset");
  EXPECT_EQ(countUp(ClusterStat::kUpstreamCxDestroyRemoteWithActiveRq), 1u);
}

TEST_F(TcpProxyTest, AClientsResetReachesTheServerAfterTheBytesBeforeIt) {
  App client = connect();
  App server = acceptBackend();
  client.say("half a requ");
  EXPECT_TRUE(until([&] { return count(TcpStat::kCxRxBytesTotal) == 11; }));
  client.closeReset();
  EXPECT_TRUE(until([&] {
    server.hear();
    return server.reset;
  }));
  EXPECT_EQ(server.text, "half a requ");
  EXPECT_FALSE(server.eof);
  EXPECT_TRUE(until([&] { return countUp(ClusterStat::kUpstreamCxActive) == 0; }));
}

TEST_F(TcpProxyTest, ADeadServerResetsTheClientAfterItsAttempts) {
  world_.serve(upstream::World::spec("a", {deadAddress()}));
  in_.mutable_max_connect_attempts()->set_value(3);
  App client = connect();
  EXPECT_TRUE(until([&] {
    client.hear();
    return client.reset;
  }));
  EXPECT_EQ(countUp(ClusterStat::kUpstreamCxConnectFail), 3u);
  EXPECT_EQ(countUp(ClusterStat::kUpstreamCxConnectAttemptsExceeded), 1u);
  EXPECT_EQ(countUp(ClusterStat::kUpstreamCxActive), 0u);
  ASSERT_EQ(log_->lines.size(), 1u);
  EXPECT_EQ(log_->lines[0].substr(0, 6), "UF,URX") << log_->lines[0];
}

TEST_F(TcpProxyTest, ASecondAttemptMayFindALivingHost) {
  world_.serve(upstream::World::spec("a", {deadAddress(), backendAddress()}));
  in_.mutable_max_connect_attempts()->set_value(2);
  for (int i = 0; i < 2; ++i) {  // round robin: one of the two meets the dead host first
    App client = connect();
    client.say("x");
    App server = acceptBackend();
    EXPECT_TRUE(until([&] {
      server.hear();
      return server.text == "x";
    }));
    client.closeReset();
  }
  EXPECT_GE(countUp(ClusterStat::kUpstreamCxConnectFail), 1u);
}

TEST_F(TcpProxyTest, NobodyToTalkTo) {
  in_.set_cluster("unknown");
  App lost = connect();
  EXPECT_TRUE(until([&] {
    lost.hear();
    return lost.reset;
  }));
  EXPECT_EQ(count(TcpStat::kCxNoRoute), 1u);
  part_ = nullptr;
  in_.set_cluster("empty");
  world_.serve(upstream::World::spec("empty", {}));
  App alone = connect();
  EXPECT_TRUE(until([&] {
    alone.hear();
    return alone.reset;
  }));
  EXPECT_EQ(world_.count("empty", ClusterStat::kUpstreamCxNoneHealthy), 1u);
  EXPECT_EQ(log_->lines[0], "NC 0 0 - cluster_not_found");
  EXPECT_EQ(log_->lines[1], "UH 0 0 - no_healthy_upstream");
}

TEST_F(TcpProxyTest, TheConnectionBreakerHolds) {
  auto spec = upstream::World::spec("a", {backendAddress()});
  spec->breakers[0].connections = 1;
  world_.serve(spec);
  App first = connect();
  App server = acceptBackend();
  App second = connect();
  EXPECT_TRUE(until([&] {
    second.hear();
    return second.reset;
  }));
  EXPECT_EQ(countUp(ClusterStat::kUpstreamCxOverflow), 1u);
  EXPECT_EQ(log_->lines[0].substr(0, 2), "UO");
  first.closeReset();
  EXPECT_TRUE(until([&] { return countUp(ClusterStat::kUpstreamCxActive) == 0; }));
  App third = connect();
  App again = acceptBackend();
  again.say("room");
  EXPECT_TRUE(until([&] {
    third.hear();
    return third.text == "room";
  }));
}

TEST_F(TcpProxyTest, ManyBytesBothWaysThroughSmallBuffers) {
  constexpr size_t kBytes = 8 * 1024 * 1024;
  buffer_limit_ = 32 * 1024;
  auto spec = upstream::World::spec("a", {backendAddress()});
  spec->buffer_limit = 32 * 1024;
  world_.serve(spec);
  App client = connect();
  App server = acceptBackend();
  std::string words;
  for (size_t i = 0; i < 200'003; ++i) words += static_cast<char>('a' + i % 23);
  size_t up = 0, down = 0, most = 0;
  const auto step = [&](App& app, size_t& sent) {
    if (sent < kBytes) {
      const size_t at = sent % words.size();
      sent += app.push(std::string_view(words).substr(at, std::min(kBytes - sent, words.size() - at)));
      if (sent == kBytes) app.finish();
    }
    app.hear();
  };
  EXPECT_TRUE(until([&] {
    step(client, up);
    step(server, down);
    chains_.forEach([&](NetworkChain& each) { most = std::max(most, each.connection().out().size()); });
    return client.eof && server.eof;
  }));
  const auto whole = [&](const std::string& got) {
    if (got.size() != kBytes) return false;
    for (size_t at = 0; at < kBytes; at += words.size()) {
      if (got.compare(at, words.size(), words, 0, std::min(words.size(), kBytes - at)) != 0) return false;
    }
    return true;
  };
  EXPECT_TRUE(whole(client.text));
  EXPECT_TRUE(whole(server.text));
  EXPECT_LE(most, 32u * 1024 + 64 * 1024);
}

TEST_F(TcpProxyTest, ASmallMessageIsOneReadAndOneWriteEachWay) {
  App client = connect();
  App server = acceptBackend();
  const auto exchange = [&] {
    client.text.clear();
    server.text.clear();
    client.say("question");
    EXPECT_TRUE(until([&] {
      server.hear();
      return server.text == "question";
    }));
    server.say("answer");
    EXPECT_TRUE(until([&] {
      client.hear();
      return client.text == "answer";
    }));
  };
  exchange();
  world_.turns(2);
  const uint64_t before = event::io::calls.data(), controls = event::io::calls.controls;
  for (int i = 0; i < 100; ++i) exchange();
  EXPECT_EQ(event::io::calls.data() - before, 400u);
  EXPECT_EQ(event::io::calls.controls, controls);
}

TEST_F(TcpProxyTest, ASlowReaderPausesTheSender) {
  App client = connect();
  App server = acceptBackend();
  // The server says more than every buffer on the way holds; the client does not read.
  const std::string block(64 * 1024, 'x');
  size_t sent = 0;
  int stuck = 0;
  while (stuck < 50 && sent < 64u * 1024 * 1024) {
    const size_t n = server.push(block);
    sent += n;
    stuck = n == 0 ? stuck + 1 : 0;
    world_.turns(2);
  }
  ASSERT_LT(sent, 64u * 1024 * 1024);
  size_t held = 0;
  chains_.forEach([&](NetworkChain& each) { held = each.connection().out().size(); });
  EXPECT_LE(held, 64u * 1024 + 64 * 1024);
  EXPECT_GE(countUp(ClusterStat::kUpstreamFlowControlPausedReadingTotal), 1u);
  server.close();
  EXPECT_TRUE(until([&] {
    client.hear();
    return client.eof;
  }));
  EXPECT_EQ(client.text.size(), sent);
  EXPECT_GE(countUp(ClusterStat::kUpstreamFlowControlResumedReadingTotal), 1u);
}

TEST_F(TcpProxyTest, SilenceEndsAConnection) {
  in_.mutable_idle_timeout()->set_nanos(250'000'000);
  App client = connect();
  App server = acceptBackend();
  const base::Nanos begin = base::SystemClock::instance().mono();
  // Talk keeps it.
  while (base::SystemClock::instance().mono() < begin + 300 * base::kMilli) {
    client.push("x");
    world_.turns(1);
  }
  EXPECT_EQ(count(TcpStat::kIdleTimeout), 0u);
  EXPECT_TRUE(until([&] { return closed_ == 1; }));
  EXPECT_EQ(count(TcpStat::kIdleTimeout), 1u);
  EXPECT_TRUE(until([&] {
    client.hear();
    server.hear();
    return (client.eof || client.reset) && (server.eof || server.reset);
  }));
  EXPECT_EQ(log_->lines[0].substr(0, 2), "SI");
}

TEST_F(TcpProxyTest, NoConnectionOutlivesItsTime) {
  in_.mutable_max_downstream_connection_duration()->set_nanos(50'000'000);
  App client = connect();
  App server = acceptBackend();
  EXPECT_TRUE(until([&] {
    client.push("x");
    return closed_ == 1;
  }));
  EXPECT_EQ(count(TcpStat::kMaxDuration), 1u);
  EXPECT_EQ(log_->lines[0].substr(0, 2), "DT");
}

TEST_F(TcpProxyTest, WeightsShareTheConnections) {
  uint16_t other_port = 0;
  const int other = listenAnywhere(other_port);
  world_.serve(upstream::World::spec("b", {*base::Address::parseIp("127.0.0.1", other_port)}));
  in_.clear_cluster();
  auto* a = in_.mutable_weighted_clusters()->add_clusters();
  a->set_name("a");
  a->set_weight(90);
  auto* b = in_.mutable_weighted_clusters()->add_clusters();
  b->set_name("b");
  b->set_weight(10);
  const auto config = std::static_pointer_cast<const TcpProxyConfig>(parse());
  Random random(7);
  int of_b = 0;
  for (int i = 0; i < 10'000; ++i) of_b += config->choose(random) == world_.names.find("b");
  EXPECT_NEAR(of_b, 1000, 150);
  ::close(other);
}

TEST_F(TcpProxyTest, AConnectionIsCutWhenTheListenerEndsIt) {
  App client = connect();
  App server = acceptBackend();
  EXPECT_TRUE(until([&] { return countUp(ClusterStat::kUpstreamRqActive) == 1; }));
  chains_.front().closeNow("listener_closed");
  EXPECT_TRUE(until([&] {
    client.hear();
    server.hear();
    return client.eof && server.eof;
  }));
  EXPECT_EQ(countUp(ClusterStat::kUpstreamCxActive), 0u);
  EXPECT_EQ(countUp(ClusterStat::kUpstreamRqActive), 0u);
}

TEST_F(TcpProxyTest, WhoeverIsToldToStopWhileConnectingStops) {
  App client = connect();
  world_.turns(1);
  ASSERT_FALSE(chains_.empty());
  chains_.front().closeNow("listener_closed");
  EXPECT_TRUE(until([&] {
    client.hear();
    return client.eof;
  }));
  EXPECT_EQ(countUp(ClusterStat::kUpstreamCxActive), 0u);
}

// A client and a server that speak TLS, the proxy between them ends both.
TEST_F(TcpProxyTest, TlsOnBothSides) {
  const tls::testing::Authority authority;
  const auto pair = authority.issue({.common_name = "server", .sans = "DNS:server.test"});
  config::DownstreamTlsSpec server_spec;
  server_spec.common.certificates.push_back(tls::certificateOf(pair));
  config::UpstreamTlsSpec client_spec;
  client_spec.common.params.max = config::TlsVersion::kTls13;
  client_spec.common.validation.emplace();
  client_spec.common.validation->trusted_ca = tls::inlined(authority.pem());
  client_spec.sni = "server.test";
  const auto contexts = std::make_shared<tls::ContextCache>();
  const auto down_stats = tls::SslStats::make(world_.stats, "listener.a.", tls::SslSide::kServer);
  const auto up_stats = tls::SslStats::make(world_.stats, "cluster.a.", tls::SslSide::kClient);
  config::Problems problems;
  const auto server_context = contexts->server(server_spec, problems);
  const auto client_context = contexts->client(client_spec, problems);
  const auto live = std::make_shared<tls::LiveClientContext>(client_spec, contexts, up_stats);
  tls::Secrets secrets;
  ASSERT_TRUE(secrets.adopt(live, problems)) << problems.str();
  // The cluster with TLS, as a change of its part.
  auto part = std::make_shared<upstream::ClusterPart>(world_.cluster("a").part());
  part->transport = std::make_shared<const upstream::TlsTransportSource>(live);
  upstream::ClusterChange change;
  change.id = part->id;
  change.part = part;
  world_.view.apply({change});

  App raw_client = connect(tls::makeServerTransport(server_context, down_stats));
  tls::Peer client(world_.loop, ::dup(raw_client.fd()), tls::makeClientTransport(client_context, up_stats, {}));
  client.say("hello");
  App raw_server = acceptBackend();
  auto server = std::make_unique<tls::Peer>(world_.loop, ::dup(raw_server.fd()), tls::makeServerTransport(server_context, down_stats));
  EXPECT_TRUE(until([&] { return server->text == "hello"; })) << server->failure << client.failure;
  server->say("welcome");
  server->connection().finishWriting();
  EXPECT_TRUE(until([&] { return client.eof; }));
  EXPECT_EQ(client.text, "welcome");
  client.connection().finishWriting();
  EXPECT_TRUE(until([&] { return server->eof && closed_ == 1 && countUp(ClusterStat::kUpstreamCxActive) == 0; }));
  EXPECT_EQ(server->closed, net::CloseReason::kNone);

  // A server that ends without close_notify: the client must see that something is missing.
  App second = connect(tls::makeServerTransport(server_context, down_stats));
  tls::Peer cut(world_.loop, ::dup(second.fd()), tls::makeClientTransport(client_context, up_stats, {}));
  cut.say("hello");
  App second_server = acceptBackend();
  server = std::make_unique<tls::Peer>(world_.loop, ::dup(second_server.fd()), tls::makeServerTransport(server_context, down_stats));
  EXPECT_TRUE(until([&] { return server->text == "hello"; }));
  server->say("half");
  EXPECT_TRUE(until([&] { return cut.text == "half"; }));
  second_server.finish();
  EXPECT_TRUE(until([&] { return cut.closed == net::CloseReason::kRemoteReset; }));
  EXPECT_FALSE(cut.eof);
}

TEST_F(TcpProxyTest, ConfigProblemsAreNamed) {
  std::string said;
  pb::TcpProxy bad;
  in_ = bad;
  EXPECT_EQ(parse(&said), nullptr);
  EXPECT_NE(said.find("stat_prefix: must not be empty"), std::string::npos) << said;
  EXPECT_NE(said.find("cluster: is required"), std::string::npos) << said;
  in_.set_stat_prefix("t");
  in_.mutable_weighted_clusters()->add_clusters()->set_name("a");
  in_.mutable_max_connect_attempts()->set_value(0);
  in_.mutable_tunneling_config()->set_hostname("x:1");
  EXPECT_EQ(parse(&said), nullptr);
  EXPECT_NE(said.find("weighted_clusters.clusters[0].weight: '0': must be at least 1"), std::string::npos) << said;
  EXPECT_NE(said.find("max_connect_attempts: '0'"), std::string::npos) << said;
  EXPECT_NE(said.find("tunneling_config: is not supported"), std::string::npos) << said;
  in_ = bad;
  in_.set_stat_prefix("t");
  in_.set_cluster("a");
  in_.add_hash_policy()->mutable_source_ip();
  EXPECT_NE(parse(&said), nullptr);
  EXPECT_EQ(said, "unsupported hash_policy\n");
}

}  // namespace
}  // namespace outrider::filter::network::tcp_proxy
