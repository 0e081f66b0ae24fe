// State-of-the-world streams: what leaves and what is applied.
#include "source/xds/test_fixture.h"

namespace outrider::xds {
namespace {

std::vector<std::string> namesOf(const Request& request) { return {request.resource_names().begin(), request.resource_names().end()}; }

class SotwStream : public XdsTest {
 protected:
  SotwStream() {
    useAds(false);
    hub_->watch(ads(), kClusterType, "", clusters_);
  }
  Recorder clusters_;
};

TEST_F(SotwStream, OpensWithTheFirstWatchAndTellsTheNodeOnce) {
  const auto first = sotw();
  ASSERT_EQ(server_.calls.size(), 1u);
  EXPECT_EQ(server_.last()->method, "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources");
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].type_url(), kClusterType);
  EXPECT_EQ(first[0].node().id(), "proxy-1");
  EXPECT_EQ(first[0].version_info(), "");
  EXPECT_EQ(first[0].response_nonce(), "");
  EXPECT_TRUE(namesOf(first[0]).empty());

  serve(response<Cluster>(kClusterType, "v1", "n1", {cluster("a"), cluster("b")}));
  const auto ack = sotw();
  ASSERT_EQ(ack.size(), 1u);
  EXPECT_FALSE(ack[0].has_node());
  EXPECT_EQ(ack[0].version_info(), "v1");
  EXPECT_EQ(ack[0].response_nonce(), "n1");
  EXPECT_FALSE(ack[0].has_error_detail());
  EXPECT_EQ(clusters_.seen, Lines({"v1: +a +b"}));
  EXPECT_EQ(stat("cluster_manager.cds.update_success"), 1u);
  EXPECT_EQ(stat("control_plane.connected_state"), 1u);
  EXPECT_EQ(textStat("cluster_manager.cds.version_text"), "v1");
}

TEST_F(SotwStream, DeliversOnlyWhatChangedAndWhatIsGone) {
  (void)sotw();
  serve(response<Cluster>(kClusterType, "v1", "n1", {cluster("a"), cluster("b"), cluster("c")}));
  serve(response<Cluster>(kClusterType, "v2", "n2", {cluster("a"), cluster("b", "other")}));
  serve(response<Cluster>(kClusterType, "v3", "n3", {cluster("a"), cluster("b", "other")}));
  EXPECT_EQ(clusters_.seen, Lines({"v1: +a +b +c", "v2: +b -c"}));
  const auto acks = sotw();
  ASSERT_EQ(acks.size(), 3u);  // the third changed nothing and is acknowledged all the same
  EXPECT_EQ(acks[2].version_info(), "v3");
  EXPECT_EQ(acks[2].response_nonce(), "n3");
}

TEST_F(SotwStream, AnEmptyFirstResponseIsDeliveredAndAnEmptyLaterOneRemovesAll) {
  (void)sotw();
  serve(response<Cluster>(kClusterType, "v1", "n1", {}));
  serve(response<Cluster>(kClusterType, "v2", "n2", {cluster("a")}));
  serve(response<Cluster>(kClusterType, "v3", "n3", {}));
  EXPECT_EQ(clusters_.seen, Lines({"v1:", "v2: +a", "v3: -a"}));
}

TEST_F(SotwStream, PartialApplicationIsRefusedWithTheLastGoodVersionAndTheGoodPartStays) {
  (void)sotw();
  serve(response<Cluster>(kClusterType, "v1", "n1", {cluster("a")}));
  (void)sotw();
  clusters_.verdict = Verdict::nack("Error adding/updating cluster(s) bad: no type", {"bad"});
  serve(response<Cluster>(kClusterType, "v2", "n2", {cluster("a", "x"), cluster("bad")}));
  auto nack = sotw();
  ASSERT_EQ(nack.size(), 1u);
  EXPECT_EQ(nack[0].version_info(), "v1");
  EXPECT_EQ(nack[0].response_nonce(), "n2");
  EXPECT_EQ(nack[0].error_detail().code(), 13);
  EXPECT_EQ(nack[0].error_detail().message(), "Error adding/updating cluster(s) bad: no type");
  EXPECT_EQ(stat("cluster_manager.cds.update_rejected"), 1u);

  // The same again: what was accepted is no news, what was refused is tried once more.
  serve(response<Cluster>(kClusterType, "v2", "n3", {cluster("a", "x"), cluster("bad")}));
  nack = sotw();
  ASSERT_EQ(nack.size(), 1u);
  EXPECT_EQ(nack[0].version_info(), "v1");

  clusters_.verdict = Verdict::ok();
  serve(response<Cluster>(kClusterType, "v3", "n4", {cluster("a", "x"), cluster("bad", "now good")}));
  const auto ack = sotw();
  ASSERT_EQ(ack.size(), 1u);
  EXPECT_EQ(ack[0].version_info(), "v3");
  EXPECT_FALSE(ack[0].has_error_detail());
  EXPECT_EQ(clusters_.seen, Lines({"v1: +a", "v2: +a +bad", "v2: +bad", "v3: +bad"}));
}

TEST_F(SotwStream, DuplicateNamesAreRefusedWithoutAnyEffect) {
  (void)sotw();
  serve(response<Cluster>(kClusterType, "v1", "n1", {cluster("a")}));
  (void)sotw();
  serve(response<Cluster>(kClusterType, "v2", "n2", {cluster("b"), cluster("b")}));
  const auto nack = sotw();
  ASSERT_EQ(nack.size(), 1u);
  EXPECT_EQ(nack[0].error_detail().message(), "duplicate cluster b found");
  EXPECT_EQ(nack[0].version_info(), "v1");
  EXPECT_EQ(clusters_.seen, Lines({"v1: +a"}));
}

TEST_F(SotwStream, ResourcesOfAnotherTypeThanTheResponseSaysAreRefused) {
  (void)sotw();
  Response mixed = response<Cluster>(kClusterType, "v1", "n1", {cluster("a")});
  mixed.add_resources()->PackFrom(endpoints("e"));
  serve(mixed);
  const auto nack = sotw();
  ASSERT_EQ(nack.size(), 1u);
  EXPECT_NE(nack[0].error_detail().message().find("does not match the message-wide type URL"), std::string::npos);
  EXPECT_TRUE(clusters_.seen.empty());
}

TEST_F(SotwStream, AResponseThatNobodyAskedForIsIgnored) {
  (void)sotw();
  serve(response<envoy::config::listener::v3::Listener>(kListenerType, "v1", "n1", {{}}));
  EXPECT_TRUE(sotw().empty());
}

TEST_F(SotwStream, LongErrorsAreBounded) {
  (void)sotw();
  clusters_.verdict = Verdict::nack(std::string(100'000, 'x'), {"a"});
  serve(response<Cluster>(kClusterType, "v1", "n1", {cluster("a")}));
  const auto nack = sotw();
  ASSERT_EQ(nack.size(), 1u);
  EXPECT_LT(nack[0].error_detail().message().size(), 5000u);
}

TEST_F(SotwStream, TheAnswerWaitsForTheWatcherAndResponsesQueueUpBehindIt) {
  (void)sotw();
  clusters_.patient = true;
  serve(response<Cluster>(kClusterType, "v1", "n1", {cluster("a")}));
  serve(response<Cluster>(kClusterType, "v2", "n2", {cluster("b")}));
  EXPECT_TRUE(sotw().empty());
  EXPECT_EQ(clusters_.seen.size(), 1u);
  clusters_.kept[0].done(Verdict::ok());
  auto acks = sotw();
  ASSERT_EQ(acks.size(), 1u);
  EXPECT_EQ(acks[0].response_nonce(), "n1");
  ASSERT_EQ(clusters_.seen, Lines({"v1: +a", "v2: +b -a"}));
  clusters_.kept[1].done(Verdict::nack("no", {"b"}));
  acks = sotw();
  ASSERT_EQ(acks.size(), 1u);
  EXPECT_EQ(acks[0].response_nonce(), "n2");
  EXPECT_EQ(acks[0].version_info(), "v1");
}

TEST_F(SotwStream, NamesOfOneTurnLeaveAsOneRequestAndAgainWithEveryAnswer) {
  (void)sotw();
  Recorder a, b;
  hub_->watch(ads(), kEndpointType, "a", a);
  hub_->watch(ads(), kEndpointType, "b", b);
  auto asked = sotw();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(namesOf(asked[0]), Lines({"a", "b"}));

  serve(response<envoy::config::endpoint::v3::ClusterLoadAssignment>(kEndpointType, "v1", "n1", {endpoints("a"), endpoints("stray")}));
  EXPECT_EQ(a.seen, Lines({"v1: +a"}));
  EXPECT_TRUE(b.seen.empty());
  asked = sotw();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(namesOf(asked[0]), Lines({"a", "b"}));

  // An absent name is unchanged.
  serve(response<envoy::config::endpoint::v3::ClusterLoadAssignment>(kEndpointType, "v2", "n2", {endpoints("b")}));
  EXPECT_EQ(a.seen.size(), 1u);
  EXPECT_EQ(b.seen, Lines({"v2: +b"}));
  EXPECT_EQ(stat("cluster.a.update_success"), 1u);
}

TEST_F(SotwStream, UnwatchingShrinksTheListAndTheLastOneEmptiesIt) {
  Recorder a, b;
  const WatchId first = hub_->watch(ads(), kEndpointType, "a", a);
  const WatchId second = hub_->watch(ads(), kEndpointType, "b", b);
  (void)sotw();
  hub_->unwatch(first);
  auto asked = sotw();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(namesOf(asked[0]), Lines({"b"}));
  hub_->unwatch(second);
  asked = sotw();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_TRUE(namesOf(asked[0]).empty());
}

TEST_F(SotwStream, WatchersOfOneNameShareItAndALateOneGetsWhatIsHeld) {
  Recorder a, again;
  hub_->watch(ads(), kSecretType, "cert", a);
  (void)sotw();
  envoy::extensions::transport_sockets::tls::v3::Secret secret;
  secret.set_name("cert");
  serve(response<envoy::extensions::transport_sockets::tls::v3::Secret>(kSecretType, "v1", "n1", {secret}));
  (void)sotw();
  hub_->watch(ads(), kSecretType, "cert", again);
  EXPECT_TRUE(again.seen.empty());  // never from within watch()
  EXPECT_TRUE(sotw().empty());      // and the server is not asked
  EXPECT_EQ(again.seen, Lines({"v1: +cert"}));
}

TEST_F(SotwStream, ANewWatchOfANameInTheTurnInWhichTheOldOneEndsGetsWhatIsHeld) {
  Recorder old, fresh;
  const WatchId id = hub_->watch(ads(), kEndpointType, "a", old);
  (void)sotw();
  serve(response<envoy::config::endpoint::v3::ClusterLoadAssignment>(kEndpointType, "v1", "n1", {endpoints("a")}));
  (void)sotw();
  hub_->unwatch(id);
  hub_->watch(ads(), kEndpointType, "a", fresh);
  EXPECT_TRUE(sotw().empty());
  EXPECT_EQ(fresh.seen, Lines({"v1: +a"}));
}

TEST_F(SotwStream, AfterABreakItComesBackWithTheAcceptedVersionAndTheNodeButNoNonce) {
  Recorder a;
  hub_->watch(ads(), kEndpointType, "a", a);
  (void)sotw();
  serve(response<Cluster>(kClusterType, "v1", "n1", {cluster("a")}));
  (void)sotw();
  server_.breakStream(14, "gone");
  EXPECT_EQ(stat("control_plane.connected_state"), 0u);
  EXPECT_EQ(stat("cluster_manager.cds.update_failure"), 1u);
  turns();
  EXPECT_EQ(server_.calls.size(), 1u);
  advance(500 * base::kMilli);
  ASSERT_EQ(server_.calls.size(), 2u);
  const auto asked = sotw();
  ASSERT_EQ(asked.size(), 2u);  // CDS first
  EXPECT_EQ(asked[0].type_url(), kClusterType);
  EXPECT_EQ(asked[0].version_info(), "v1");
  EXPECT_EQ(asked[0].response_nonce(), "");
  EXPECT_EQ(asked[0].node().id(), "proxy-1");
  EXPECT_EQ(asked[1].type_url(), kEndpointType);
  EXPECT_FALSE(asked[1].has_node());
  serve(response<Cluster>(kClusterType, "v1", "m1", {cluster("a")}));
  EXPECT_EQ(clusters_.seen.size(), 1u);  // nothing new
  EXPECT_EQ(sotw().size(), 1u);          // but answered
}

TEST_F(SotwStream, AnAnswerForABrokenStreamIsNotSentOnTheNextOne) {
  (void)sotw();
  clusters_.patient = true;
  serve(response<Cluster>(kClusterType, "v1", "n1", {cluster("a")}));
  server_.breakStream(14, "gone");
  advance(base::kSecond);
  ASSERT_EQ(sotw().size(), 1u);
  clusters_.kept[0].done(Verdict::ok());
  EXPECT_TRUE(sotw().empty());
}

TEST_F(SotwStream, TriesAgainEverMoreSlowlyButNeverLessThanEveryThirtySeconds) {
  (void)sotw();
  base::Nanos longest = 0;
  for (int i = 0; i < 12; ++i) {
    server_.breakStream(14, "refused");
    const size_t before = server_.calls.size();
    base::Nanos waited = 0;
    while (server_.calls.size() == before) {
      advance(10 * base::kMilli);
      waited += 10 * base::kMilli;
      ASSERT_LE(waited, 31 * base::kSecond);
    }
    EXPECT_GE(waited, 250 * base::kMilli);
    longest = std::max(longest, waited);
  }
  EXPECT_GE(longest, 15 * base::kSecond);
}

TEST_F(SotwStream, ResourcesInTheWrapperCarryTheirOwnVersionAndExpire) {
  (void)sotw();
  Response wrapped;
  wrapped.set_type_url(std::string(kClusterType));
  wrapped.set_version_info("v1");
  wrapped.set_nonce("n1");
  envoy::service::discovery::v3::Resource resource;
  resource.set_name("a");
  resource.set_version("7");
  resource.mutable_ttl()->set_seconds(10);
  resource.mutable_resource()->PackFrom(cluster("a"));
  wrapped.add_resources()->PackFrom(resource);
  serve(wrapped);
  EXPECT_EQ(clusters_.seen, Lines({"v1: +a"}));

  advance(8 * base::kSecond);
  resource.clear_resource();  // a heartbeat
  wrapped.set_nonce("n2");
  wrapped.mutable_resources(0)->PackFrom(resource);
  serve(wrapped);
  advance(8 * base::kSecond);
  EXPECT_EQ(clusters_.seen.size(), 1u);
  advance(3 * base::kSecond);
  EXPECT_EQ(clusters_.seen, Lines({"v1: +a", "v1: -a"}));
}

TEST_F(SotwStream, TenThousandResourcesAreComparedAndTakenUpInManyTurnsAndAnsweredOnce) {
  constexpr size_t kMany = 10000;
  (void)sotw();
  std::vector<Cluster> all;
  for (size_t i = 0; i < kMany; ++i) all.push_back(cluster("c" + std::to_string(i)));
  server_.last()->sink->onStreamMessage(response<Cluster>(kClusterType, "v1", "n1", all).SerializeAsString());
  turns(1);
  EXPECT_TRUE(clusters_.seen.empty());  // some thousands are compared
  turns(1);
  EXPECT_EQ(clusters_.seen.size(), 1u);
  EXPECT_TRUE(server_.last()->requests.empty());  // some thousands are taken up
  const auto answers = sotw();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].version_info(), "v1");
  EXPECT_EQ(answers[0].response_nonce(), "n1");

  // The next one finds each of them: what is equal is not news, and what is not there is gone.
  all[5].set_alt_stat_name("other");
  all.pop_back();
  serve(response<Cluster>(kClusterType, "v2", "n2", all));
  turns(10);
  ASSERT_EQ(clusters_.seen.size(), 2u);
  EXPECT_EQ(clusters_.seen[1], "v2: +c5 -c9999");
}

TEST_F(SotwStream, BytesThatAreNoResponseEndTheStream) {
  (void)sotw();
  server_.last()->sink->onStreamMessage("\xff\xff\xff");
  EXPECT_EQ(server_.open(), 0u);
  advance(base::kSecond);
  EXPECT_EQ(server_.calls.size(), 2u);
}

}  // namespace
}  // namespace outrider::xds
