// What comes of a control plane's messages in the clusters.
#include <gtest/gtest.h>

#include "source/xds/follower_world.h"

namespace outrider::xds {
namespace {

using World = FollowerWorld;
using Lines = std::vector<std::string>;

TEST(Follower, NamesThatFollowFromClustersAreAskedForHoweverLateTheConfigThreadEndsItsJob) {
  World world;
  world.serve(World::response<World::Cluster>(kClusterType, "n1", {World::edsCluster("a", "first")}, "1"));
  ASSERT_EQ(world.jobs.size(), 1u);  // it has run, and is not destroyed yet
  EXPECT_EQ(world.asked(), Lines({"+first"}));
}

TEST(Follower, AClusterThatGoesBackToItsFormerEndpointsIsNeverWithoutHosts) {
  World world;
  world.serve(World::response<World::Cluster>(kClusterType, "n1", {World::edsCluster("a", "first")}, "1"));
  world.serve(World::response<World::Assignment>(kEndpointType, "n2", {World::endpointsAt("first", {1, 2})}, "1"));
  EXPECT_EQ(world.hostsOf("a"), 2u);
  (void)world.requests();

  world.serve(World::response<World::Cluster>(kClusterType, "n3", {World::edsCluster("a", "second")}, "2"));
  EXPECT_EQ(world.asked(), Lines({"+second", "-first"}));
  EXPECT_EQ(world.hostsOf("a"), 2u);
  world.serve(World::response<World::Assignment>(kEndpointType, "n4", {World::endpointsAt("second", {3})}, "1"));
  EXPECT_EQ(world.hostsOf("a"), 1u);
  (void)world.requests();

  world.serve(World::response<World::Cluster>(kClusterType, "n5", {World::edsCluster("a", "first")}, "3"));
  EXPECT_EQ(world.asked(), Lines({"+first", "-second"}));
  EXPECT_EQ(world.hostsOf("a"), 1u);
  world.serve(World::response<World::Assignment>(kEndpointType, "n6", {World::endpointsAt("first", {1, 2})}, "1"));
  EXPECT_EQ(world.hostsOf("a"), 2u);
  EXPECT_EQ(world.clusters.warmingCount(), 0u);
}

TEST(Follower, AChangeThatIsTakenBackBeforeItsEndpointsCameLeavesTheHostsAsTheyWere) {
  World world;
  world.serve(World::response<World::Cluster>(kClusterType, "n1", {World::edsCluster("a", "first")}, "1"));
  world.serve(World::response<World::Assignment>(kEndpointType, "n2", {World::endpointsAt("first", {1, 2})}, "1"));
  world.serve(World::response<World::Cluster>(kClusterType, "n3", {World::edsCluster("a", "second")}, "2"));
  world.serve(World::response<World::Cluster>(kClusterType, "n4", {World::edsCluster("a", "first")}, "3"));
  // Late, and nobody's any more.
  world.serve(World::response<World::Assignment>(kEndpointType, "n5", {World::endpointsAt("second", {3})}, "1"));
  world.clock.advance(20 * base::kSecond);
  world.settle();
  EXPECT_EQ(world.hostsOf("a"), 2u);
  EXPECT_EQ(world.clusters.warmingCount(), 0u);
}

TEST(Follower, AVersionThatIsTheSameAgainKeepsItsEndpointsThoughNobodySendsThemTwice) {
  World world;
  world.serve(World::response<World::Cluster>(kClusterType, "n1", {World::edsCluster("a", "first")}, "1"));
  world.serve(World::response<World::Assignment>(kEndpointType, "n2", {World::endpointsAt("first", {1, 2})}, "1"));
  (void)world.requests();
  World::Cluster changed = World::edsCluster("a", "first");
  changed.mutable_connect_timeout()->set_seconds(2);
  world.serve(World::response<World::Cluster>(kClusterType, "n3", {changed}, "2"));
  EXPECT_EQ(world.asked(), Lines());
  EXPECT_EQ(world.hostsOf("a"), 2u);
  EXPECT_EQ(world.clusters.warmingCount(), 0u);
}

TEST(Follower, ClustersThatShareANameAskOnceAndStopWhenTheLastIsGone) {
  World world;
  world.serve(World::response<World::Cluster>(kClusterType, "n1", {World::edsCluster("a", "both"), World::edsCluster("b", "both")}, "1"));
  EXPECT_EQ(world.asked(), Lines({"+both"}));
  world.serve(World::response<World::Assignment>(kEndpointType, "n2", {World::endpointsAt("both", {1, 2})}, "1"));
  EXPECT_EQ(world.hostsOf("a"), 2u);
  EXPECT_EQ(world.hostsOf("b"), 2u);
  (void)world.requests();
  world.serve(World::response<World::Cluster>(kClusterType, "n3", {}, "2", {"a"}));
  EXPECT_EQ(world.asked(), Lines());
  world.serve(World::response<World::Cluster>(kClusterType, "n4", {}, "3", {"b"}));
  EXPECT_EQ(world.asked(), Lines({"-both"}));
}

TEST(Follower, ThousandsOfClustersGoSomeATurnAndTheAnswerWaitsForTheLast) {
  constexpr size_t kMany = 1000;
  World world;
  world.load(kMany);
  ASSERT_EQ(world.clusters.edsNames().size(), kMany);
  Lines gone;
  for (size_t i = 1; i < kMany; ++i) gone.push_back(World::nameOf(i));
  world.send(World::response<World::Cluster>(kClusterType, "n2", {}, "2", gone));
  world.turns(2);
  ASSERT_EQ(world.jobs.size(), 1u);
  world.jobs[0]();
  world.jobs.clear();
  world.turns(1);
  const size_t left = world.clusters.edsNames().size();
  EXPECT_GT(left, 1u);
  EXPECT_LT(left, kMany);
  EXPECT_TRUE(world.server.last()->requests.empty());
  const auto requests = world.requests();
  EXPECT_EQ(world.clusters.edsNames(), Lines({World::nameOf(0)}));
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].response_nonce(), "n2");
  EXPECT_EQ(requests[1].resource_names_unsubscribe_size(), static_cast<int>(kMany) - 1);
}

}  // namespace
}  // namespace outrider::xds
