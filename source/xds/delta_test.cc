// Incremental streams.
#include <algorithm>

#include "source/xds/test_fixture.h"

namespace outrider::xds {
namespace {

using Cla = envoy::config::endpoint::v3::ClusterLoadAssignment;

std::vector<std::string> subscribes(const DeltaRequest& request) {
  return {request.resource_names_subscribe().begin(), request.resource_names_subscribe().end()};
}
std::vector<std::string> unsubscribes(const DeltaRequest& request) {
  return {request.resource_names_unsubscribe().begin(), request.resource_names_unsubscribe().end()};
}

class DeltaStream : public XdsTest {
 protected:
  DeltaStream() {
    useAds(true);
    hub_->watch(ads(), kClusterType, "", clusters_);
  }
  Recorder clusters_;
};

TEST_F(DeltaStream, TheFirstRequestIsTheOldWildcardAndAnswersCarryTheNonceAlone) {
  auto asked = delta();
  EXPECT_EQ(server_.last()->method, "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources");
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_TRUE(subscribes(asked[0]).empty());
  EXPECT_EQ(asked[0].node().id(), "proxy-1");

  serve(deltaResponse<Cluster>(kClusterType, "n1", {{cluster("a"), "1"}, {cluster("b"), "1"}}));
  asked = delta();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].response_nonce(), "n1");
  EXPECT_FALSE(asked[0].has_error_detail());
  EXPECT_FALSE(asked[0].has_node());

  serve(deltaResponse<Cluster>(kClusterType, "n2", {{cluster("c"), "1"}}, {"a"}));
  EXPECT_EQ(clusters_.seen, Lines({": +a +b", ": +c -a"}));
}

TEST_F(DeltaStream, RefusesWithTheNonceAndKeepsTheGoodOnes) {
  (void)delta();
  clusters_.verdict = Verdict::nack("Error adding/updating cluster(s) b: why", {"b"});
  serve(deltaResponse<Cluster>(kClusterType, "n1", {{cluster("a"), "1"}, {cluster("b"), "1"}}));
  const auto asked = delta();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].response_nonce(), "n1");
  EXPECT_EQ(asked[0].error_detail().message(), "Error adding/updating cluster(s) b: why");

  // On the next stream it says what it holds: a, not b.
  server_.breakStream(14, "gone");
  advance(base::kSecond);
  const auto again = delta();
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].initial_resource_versions().size(), 1u);
  EXPECT_EQ(again[0].initial_resource_versions().at("a"), "1");
  EXPECT_EQ(again[0].response_nonce(), "");
  EXPECT_TRUE(subscribes(again[0]).empty());
}

TEST_F(DeltaStream, NamesComeAndGoInOneRequest) {
  Recorder a, b, c;
  const WatchId first = hub_->watch(ads(), kEndpointType, "a", a);
  hub_->watch(ads(), kEndpointType, "b", b);
  auto asked = delta();
  ASSERT_EQ(asked.size(), 2u);
  EXPECT_EQ(subscribes(asked[1]), Lines({"a", "b"}));
  hub_->unwatch(first);
  hub_->watch(ads(), kEndpointType, "c", c);
  asked = delta();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(subscribes(asked[0]), Lines({"c"}));
  EXPECT_EQ(unsubscribes(asked[0]), Lines({"a"}));
  EXPECT_EQ(asked[0].response_nonce(), "");
}

TEST_F(DeltaStream, AWatchThatComesAndGoesWithinATurnIsNotTold) {
  (void)delta();
  Recorder a;
  hub_->unwatch(hub_->watch(ads(), kEndpointType, "a", a));
  EXPECT_TRUE(delta().empty());
}

TEST_F(DeltaStream, RemovalOfAWatchedNameIsDeliveredAndAfterABreakItIsAskedForAgain) {
  Recorder a;
  hub_->watch(ads(), kEndpointType, "a", a);
  (void)delta();
  serve(deltaResponse<Cla>(kEndpointType, "n1", {{endpoints("a"), "5"}}));
  serve(deltaResponse<Cla>(kEndpointType, "n2", {}, {"a"}));
  EXPECT_EQ(a.seen, Lines({": +a", ": -a"}));
  (void)delta();
  server_.breakStream(14, "gone");
  advance(base::kSecond);
  const auto asked = delta();
  ASSERT_EQ(asked.size(), 2u);
  EXPECT_EQ(subscribes(asked[1]), Lines({"a"}));
  EXPECT_TRUE(asked[1].initial_resource_versions().empty());
}

TEST_F(DeltaStream, FollowUpNamesOfAPausedTypeLeaveAsOneRequestWhenItResumes) {
  (void)delta();
  std::vector<std::unique_ptr<Recorder>> users;
  clusters_.patient = true;
  serve(deltaResponse<Cluster>(kClusterType, "n1", {{cluster("a"), "1"}, {cluster("b"), "1"}}));
  {
    Hub::Pause pause = hub_->pause(kEndpointType);
    for (const std::string name : {"a", "b"}) {
      users.push_back(std::make_unique<Recorder>());
      hub_->watch(ads(), kEndpointType, name, *users.back());
      EXPECT_TRUE(delta().empty());  // also over several turns
    }
    clusters_.kept[0].done(Verdict::ok());
    const auto ack = delta();
    ASSERT_EQ(ack.size(), 1u);  // the other type is not held back
    EXPECT_EQ(ack[0].type_url(), kClusterType);
    EXPECT_EQ(stat("control_plane.pending_requests"), 1u);
  }
  const auto asked = delta();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(subscribes(asked[0]), Lines({"a", "b"}));
  EXPECT_EQ(stat("control_plane.pending_requests"), 0u);
}

TEST_F(DeltaStream, ANewNameTravelsWithTheAnswerOfItsType) {
  Recorder a, b;
  hub_->watch(ads(), kEndpointType, "a", a);
  (void)delta();
  a.before_answer = [&] { hub_->watch(ads(), kEndpointType, "b", b); };
  serve(deltaResponse<Cla>(kEndpointType, "n1", {{endpoints("a"), "5"}}));
  const auto asked = delta();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].response_nonce(), "n1");
  EXPECT_EQ(subscribes(asked[0]), Lines({"b"}));
}

TEST_F(DeltaStream, DuplicatesAreRefused) {
  (void)delta();
  serve(deltaResponse<Cluster>(kClusterType, "n1", {{cluster("a"), "1"}, {cluster("a"), "2"}}));
  serve(deltaResponse<Cluster>(kClusterType, "n2", {{cluster("a"), "1"}}, {"a"}));
  const auto asked = delta();
  ASSERT_EQ(asked.size(), 2u);
  EXPECT_EQ(asked[0].error_detail().message(), "duplicate name a found among added/updated resources");
  EXPECT_EQ(asked[1].error_detail().message(), "duplicate name a found in the union of added+removed resources");
  EXPECT_TRUE(clusters_.seen.empty());
}

TEST_F(DeltaStream, TheErrorsOfAllWatchersOfAResponseAreInItsOneAnswer) {
  Recorder a, b, c;
  hub_->watch(ads(), kEndpointType, "a", a);
  hub_->watch(ads(), kEndpointType, "b", b);
  hub_->watch(ads(), kEndpointType, "c", c);
  (void)delta();
  a.verdict = Verdict::nack("a: why");
  c.verdict = Verdict::nack("c: why");
  serve(deltaResponse<Cla>(kEndpointType, "n1", {{endpoints("a"), "1"}, {endpoints("b"), "1"}, {endpoints("c"), "1"}}));
  const auto asked = delta();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].error_detail().message(), "a: why\nc: why");
  EXPECT_EQ(stat("cluster.a.update_rejected"), 1u);
  EXPECT_EQ(stat("cluster.b.update_success"), 1u);
}

TEST_F(DeltaStream, AWatcherThatGoesAwayWhileItOwesAnAnswerObjectsToNothing) {
  Recorder a;
  const WatchId id = hub_->watch(ads(), kEndpointType, "a", a);
  (void)delta();
  a.patient = true;
  serve(deltaResponse<Cla>(kEndpointType, "n1", {{endpoints("a"), "1"}}));
  EXPECT_TRUE(delta().empty());
  hub_->unwatch(id);
  a.kept.clear();
  bool answered = false;
  for (const DeltaRequest& request : delta()) answered = answered || (request.response_nonce() == "n1" && !request.has_error_detail());
  EXPECT_TRUE(answered);
}

TEST_F(DeltaStream, NamesAndTheWildcardTogetherAreExplicit) {
  Recorder one;
  hub_->watch(ads(), kClusterType, "extra", one);
  const auto asked = delta();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(subscribes(asked[0]), Lines({"*", "extra"}));
}

TEST_F(DeltaStream, AResponseOfThousandsOfNamesIsHandedOverInManyTurnsAndAnsweredOnce) {
  useAds(true);
  constexpr size_t kNames = 1000;
  std::vector<Recorder> watchers(kNames);
  std::vector<std::pair<envoy::config::endpoint::v3::ClusterLoadAssignment, std::string>> all;
  for (size_t i = 0; i < kNames; ++i) {
    const std::string name = "c" + std::to_string(i);
    hub_->watch(ads(), kEndpointType, name, watchers[i], "cluster." + name + ".");
    all.emplace_back(endpoints(name), "1");
  }
  (void)delta();
  watchers[7].verdict = Verdict::nack("no");
  server_.last()->sink->onStreamMessage(deltaResponse(kEndpointType, "n1", all).SerializeAsString());
  const auto reached = [&] {
    return static_cast<size_t>(std::count_if(watchers.begin(), watchers.end(), [](const Recorder& each) { return !each.seen.empty(); }));
  };
  EXPECT_GT(reached(), 0u);
  EXPECT_LT(reached(), kNames / 2);
  turns(1);
  EXPECT_LT(reached(), kNames / 2);
  turns(20);
  EXPECT_EQ(reached(), kNames);
  const auto answers = delta();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].response_nonce(), "n1");
  EXPECT_EQ(answers[0].error_detail().message(), "no");
}

TEST_F(DeltaStream, TheHubMayGoWhileAResponseOfManyNamesIsHandedOver) {
  useAds(true);
  std::vector<Recorder> watchers(500);
  std::vector<std::pair<envoy::config::endpoint::v3::ClusterLoadAssignment, std::string>> all;
  for (size_t i = 0; i < watchers.size(); ++i) {
    hub_->watch(ads(), kEndpointType, "c" + std::to_string(i), watchers[i]);
    all.emplace_back(endpoints("c" + std::to_string(i)), "1");
  }
  (void)delta();
  server_.last()->sink->onStreamMessage(deltaResponse(kEndpointType, "n1", all).SerializeAsString());
  hub_.reset();
  turns();
  EXPECT_TRUE(watchers.back().seen.empty());
}

// A large response is read by a job that the hub hands out; the stream reads on when it was taken.
class ReadElsewhere : public XdsTest {
 protected:
  ReadElsewhere() {
    HubOptions options;
    options.node.set_id("proxy-1");
    options.elsewhere = [this](std::function<void()> job) { jobs_.push_back(std::move(job)); };
    hub_.emplace(
        loop_, store_, [this](const Target&) { return std::make_unique<FakeTransport>(server_); }, std::move(options));
    useAds(true);
    hub_->watch(ads(), kClusterType, "", clusters_);
    (void)delta();
  }
  std::string large() {
    return deltaResponse<Cluster>(kClusterType, "n1", {{cluster("a", std::string(100 * 1024, 'x')), "1"}}).SerializeAsString();
  }
  Recorder clusters_;
  std::vector<std::function<void()>> jobs_;
};

TEST_F(ReadElsewhere, ALargeResponseIsTakenWhenItsJobHasRun) {
  server_.last()->sink->onStreamMessage(large());
  turns();
  EXPECT_TRUE(clusters_.seen.empty());
  EXPECT_EQ(server_.last()->taken, 0u);  // no further message is asked for meanwhile
  ASSERT_EQ(jobs_.size(), 1u);
  jobs_[0]();
  turns();
  EXPECT_EQ(clusters_.seen, Lines({": +a"}));
  EXPECT_EQ(server_.last()->taken, 1u);
  const auto asked = delta();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].response_nonce(), "n1");
}

TEST_F(ReadElsewhere, ASmallOneIsTakenAtOnce) {
  serve(deltaResponse<Cluster>(kClusterType, "n1", {{cluster("a"), "1"}}));
  EXPECT_TRUE(jobs_.empty());
  EXPECT_EQ(clusters_.seen, Lines({": +a"}));
}

TEST_F(ReadElsewhere, WhatWasReadForAStreamThatBrokeMeanwhileIsDropped) {
  server_.last()->sink->onStreamMessage(large());
  server_.breakStream(14, "gone");
  advance(base::kSecond);
  ASSERT_EQ(server_.calls.size(), 2u);
  jobs_.at(0)();
  turns();
  EXPECT_TRUE(clusters_.seen.empty());
  for (const DeltaRequest& request : delta()) EXPECT_TRUE(request.response_nonce().empty());
}

TEST_F(ReadElsewhere, TheHubMayGoBeforeTheJobRuns) {
  server_.last()->sink->onStreamMessage(large());
  hub_.reset();
  jobs_.at(0)();
  turns();
  EXPECT_TRUE(clusters_.seen.empty());
}

}  // namespace
}  // namespace outrider::xds
