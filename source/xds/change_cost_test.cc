// What watched names cost in memory, and what one change costs however many names there are. Every `new` of the program is counted.
#include <gtest/gtest.h>

#include "source/base/counted_new.h"
#include "source/xds/follower_world.h"

namespace outrider::xds {
namespace {

using base::counted::allocations;
using base::counted::bytes_held;

using World = FollowerWorld;

class Content final : public Watcher {
 public:
  void onDelivery(Delivery delivery) override {
    ++deliveries;
    delivery.done(Verdict::ok());
  }
  void onFetchTimeout(std::string_view) override {}
  size_t deliveries = 0;
};

// The resource's own bytes come on top, and the cells of its statistics with the first write.
TEST(ChangeCost, AWatchedNameWithAHeldResourceTakesFewBytes) {
  constexpr size_t kNames = 10000;
  World world;
  Content watcher;
  std::vector<World::Assignment> all;
  int64_t resources = 0;
  for (size_t i = 0; i < kNames; ++i) {
    all.push_back(World::endpointsAt(World::nameOf(i), {1, 2, 3}));
    resources += static_cast<int64_t>(all.back().ByteSizeLong());
  }
  const std::string response = World::response(kEndpointType, "n1", all, "1");
  // What the statistics of that many names take by themselves.
  std::vector<stats::ScopeRef> scopes;
  const int64_t before_scopes = bytes_held;
  for (size_t i = 0; i < kNames; ++i) {
    scopes.push_back(world.store.scope("cluster." + World::nameOf(i) + ".", kSubscriptionTable));
    scopes.back()->add(0, 1);
  }
  const int64_t before = bytes_held;
  std::vector<WatchId> ids;
  ids.reserve(kNames);
  const auto source = World::ads();
  for (size_t i = 0; i < kNames; ++i) {
    const std::string name = World::nameOf(i);
    ids.push_back(world.hub.watch(source, kEndpointType, name, watcher, "cluster." + name + "."));
  }
  world.settle();
  const int64_t asking = (bytes_held - before) / static_cast<int64_t>(kNames);
  world.serve(response);
  ASSERT_EQ(watcher.deliveries, kNames);
  world.server.last()->requests.clear();
  const int64_t holding = (bytes_held - before - resources) / static_cast<int64_t>(kNames);
  std::printf("a name: %lld bytes while it is asked for, %lld and its %lld when it is held; its statistics %lld\n",
              static_cast<long long>(asking), static_cast<long long>(holding),
              static_cast<long long>(resources) / static_cast<long long>(kNames),
              static_cast<long long>(before - before_scopes) / static_cast<long long>(kNames));
  EXPECT_LE(holding, 400);
  for (const WatchId id : ids) world.hub.unwatch(id);
  world.settle();
  world.server.last()->requests.clear();
  EXPECT_LE((bytes_held - before) / static_cast<int64_t>(kNames), 100);  // tables keep their room
}

// Allocations of one endpoint change, from the response's bytes to the answer.
size_t changeOf(World& world, size_t which, uint32_t port, size_t& bytes) {
  std::string response = World::response<World::Assignment>(kEndpointType, "n" + std::to_string(port),
                                                            {World::endpointsAt(World::nameOf(which), {1, 2, port})}, std::to_string(port));
  const size_t before = allocations;
  world.serve(std::move(response));
  const size_t made = allocations - before;
  bytes = world.server.last()->requests.empty() ? 0 : world.server.last()->requests.back().size();
  EXPECT_EQ(world.requests().size(), 1u);
  return made;
}

TEST(ChangeCost, OneEndpointChangeAllocatesTheSameAmongTenThousandClustersAsAmongAHundred) {
  size_t made[2], sent[2];
  for (const size_t round : {0u, 1u}) {
    World world;
    world.load(round == 0 ? 100 : 10000);
    (void)changeOf(world, 50, 104, sent[round]);
    (void)changeOf(world, 51, 105, sent[round]);
    made[round] = changeOf(world, 50, 106, sent[round]);
    EXPECT_EQ(world.hostsOf(World::nameOf(50)), 3u);
  }
  std::printf("one endpoint change: %zu allocations\n", made[0]);
  EXPECT_EQ(made[0], made[1]);
  EXPECT_EQ(sent[0], sent[1]);
  EXPECT_LE(made[0], 125u);
}

}  // namespace
}  // namespace outrider::xds
