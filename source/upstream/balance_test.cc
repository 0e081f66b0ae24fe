#include <gtest/gtest.h>

#include <map>

#include "source/base/hash64.h"
#include "source/upstream/host_set_builder.h"
#include "source/upstream/lb/picker.h"

namespace outrider::upstream {
namespace {

struct Row {
  uint32_t priority = 0, weight = 1, locality = 0;
  uint32_t flags = 0;
};

std::unique_ptr<HostSet> setOf(const std::vector<Row>& rows, HostSetPolicy policy = {}, std::vector<uint32_t> localities = {}) {
  std::vector<Member> members;
  for (size_t i = 0; i < rows.size(); ++i) {
    auto details = std::make_shared<HostDetails>();
    details->hostname = std::to_string(i);
    const HostRef host(new Host(base::Address(), details));
    host->load.health = rows[i].flags;
    members.push_back({host, rows[i].priority, rows[i].weight, rows[i].locality});
  }
  return buildHostSet(members, localities, policy, std::make_shared<LbShared>());
}

std::map<std::string, int> draw(const HostSet& set, int times, lb::PickPolicy policy = {}, bool* panicked = nullptr) {
  std::map<std::string, int> out;
  uint64_t x = 42;
  const auto next = [&x] {
    x += 0x9E3779B97F4A7C15u;
    uint64_t z = x;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  };
  for (int i = 0; i < times; ++i) {
    bool panic = false;
    const uint64_t a = next(), b = next();
    const Host* host = lb::pick(set, policy, {}, a, b, panic);
    out[host == nullptr ? "none" : host->hostname()]++;
    if (panicked != nullptr) *panicked |= panic;
  }
  return out;
}

constexpr uint32_t kBad = bit(HealthFlag::kFailedEds);
constexpr uint32_t kDegraded = bit(HealthFlag::kDegradedEds);

TEST(RoundRobin, TakesTurns) {
  EXPECT_EQ(draw(*setOf({{}, {}, {}}), 300), (std::map<std::string, int>{{"0", 100}, {"1", 100}, {"2", 100}}));
}

TEST(RoundRobin, FollowsWeights) {
  auto got = draw(*setOf({{.weight = 3}, {.weight = 1}}), 4000);
  EXPECT_NEAR(got["0"], 3000, 30);
  EXPECT_NEAR(got["1"], 1000, 30);
}

TEST(Random, FollowsWeights) {
  auto got = draw(*setOf({{.weight = 3}, {.weight = 1}}), 8000, {config::LbKind::kRandom, 2});
  EXPECT_NEAR(got["0"], 6000, 300);
}

TEST(LeastRequest, PrefersTheHostWithLessUnderWay) {
  auto set = setOf({{}, {}});
  set->hosts[0]->load.active = 10;
  auto got = draw(*set, 1000, {config::LbKind::kLeastRequest, 2});
  EXPECT_GT(got["1"], 600);  // the busy one is taken only when both samples are it
  EXPECT_NEAR(got["0"], 250, 80);
}

std::vector<std::string> owners(const HostSet& set, int keys) {
  std::vector<std::string> out;
  for (int i = 0; i < keys; ++i) {
    lb::LbContext context;
    context.hash = base::xxHash64("key" + std::to_string(i));
    bool panic = false;
    out.push_back(lb::pick(set, {config::LbKind::kHash, 2}, context, 1, 2, panic)->hostname());
  }
  return out;
}

TEST(Hashing, KeysStayWhenAHostLeaves) {
  constexpr int kKeys = 10000, kHosts = 10;
  for (const auto kind : {config::HashLbSpec::Kind::kRing, config::HashLbSpec::Kind::kMaglev}) {
    config::HashLbSpec hash;
    hash.kind = kind;
    hash.use_hostname = true;
    HostSetPolicy policy;
    policy.hash = &hash;
    std::vector<Row> rows(kHosts);
    const auto before = owners(*setOf(rows, policy), kKeys);
    rows[3].flags = kBad;
    const auto after = owners(*setOf(rows, policy), kKeys);
    int moved = 0, lost = 0;
    for (int i = 0; i < kKeys; ++i) {
      EXPECT_NE(after[i], "3");
      lost += before[i] == "3";
      moved += before[i] != after[i] && before[i] != "3";
    }
    EXPECT_NEAR(lost, kKeys / kHosts, kKeys / kHosts / 2);
    EXPECT_LT(moved, kKeys / kHosts);  // the ring has more points a host now, maglev fills some slots otherwise
  }
}

TEST(Hashing, ARefusedHostIsPassedOver) {
  config::HashLbSpec hash;
  hash.use_hostname = true;
  HostSetPolicy policy;
  policy.hash = &hash;
  const auto set = setOf(std::vector<Row>(5), policy);
  bool panic = false;
  lb::LbContext context;
  context.hash = 77;
  const Host* first = lb::pick(*set, {config::LbKind::kHash, 2}, context, 1, 2, panic);
  lb::RetryChoice retry;
  retry.avoid = &first;
  retry.avoid_count = 1;
  retry.most_picks = 50;
  context.retry = &retry;
  EXPECT_NE(lb::pick(*set, {config::LbKind::kHash, 2}, context, 1, 2, panic), first);
}

TEST(Hashing, NoHealthyHostIsNoHost) {
  config::HashLbSpec hash;
  HostSetPolicy policy;
  policy.hash = &hash;
  policy.panic_threshold = 0;
  bool panic = false;
  EXPECT_EQ(lb::pick(*setOf({{.flags = kBad}}, policy), {config::LbKind::kHash, 2}, {}, 1, 2, panic), nullptr);
}

TEST(Health, UnhealthyHostsGetNothing) {
  auto got = draw(*setOf({{}, {.flags = kBad}, {}}), 100);
  EXPECT_EQ(got.count("1"), 0u);
}

TEST(Panic, AllHostsServeWhenTooFewAreHealthy) {
  bool panic = false;
  auto got = draw(*setOf({{}, {.flags = kBad}, {.flags = kBad}}), 300, {}, &panic);
  EXPECT_TRUE(panic);
  EXPECT_EQ(got["1"], 100);
}

TEST(Panic, ThresholdZeroSwitchesItOff) {
  HostSetPolicy policy;
  policy.panic_threshold = 0;
  EXPECT_EQ(draw(*setOf({{}, {.flags = kBad}, {.flags = kBad}}, policy), 100), (std::map<std::string, int>{{"0", 100}}));
  EXPECT_EQ(draw(*setOf({{.flags = kBad}}, policy), 10), (std::map<std::string, int>{{"none", 10}}));
}

// The example of Envoy's page on priorities: 1.4 times the healthy share.
TEST(Priority, SpillsWhatTheFirstCannotCarry) {
  // Half of five healthy at P0: 40 % * 1.4 = 56 %.
  auto set = setOf({{}, {}, {.flags = kBad}, {.flags = kBad}, {.flags = kBad}, {.priority = 1}});
  EXPECT_EQ(set->levels[0].healthy_load, 56);
  EXPECT_EQ(set->levels[1].healthy_load, 44);
  set = setOf({{}, {}, {}, {}, {.flags = kBad}, {.priority = 1}});
  EXPECT_EQ(set->levels[0].healthy_load, 100);
  EXPECT_EQ(set->levels[1].healthy_load, 0);
}

TEST(Priority, TakesTheNextWhenTheFirstIsEmpty) {
  auto got = draw(*setOf({{.flags = kBad}, {.priority = 1}}), 50);
  EXPECT_EQ(got["1"], 50);
}

TEST(Degraded, ServesOnlyWhatHealthyHostsCannot) {
  auto set = setOf({{}, {.flags = kDegraded}});
  EXPECT_EQ(set->levels[0].healthy_load, 70);
  EXPECT_EQ(set->levels[0].degraded_load, 30);
  set = setOf({{}, {}, {}, {.flags = kDegraded}});
  EXPECT_EQ(set->levels[0].degraded_load, 0);
}

TEST(Locality, WeightsShareTheTraffic) {
  HostSetPolicy policy;
  policy.locality_weighted = true;
  auto got = draw(*setOf({{.locality = 0}, {.locality = 1}, {.locality = 1}}, policy, {1, 3}), 4000);
  EXPECT_NEAR(got["0"], 1000, 40);
  EXPECT_NEAR(got["1"], 1500, 40);
}

TEST(Locality, OneWithoutWeightGetsNothing) {
  HostSetPolicy policy;
  policy.locality_weighted = true;
  EXPECT_EQ(draw(*setOf({{.locality = 0}, {.locality = 1}}, policy, {0, 1}), 10), (std::map<std::string, int>{{"1", 10}}));
}

TEST(Picker, AvoidsHostsThatWereTried) {
  auto set = setOf({{}, {}});
  const Host* tried = set->hosts[0].get();
  lb::LbContext context;
  lb::RetryChoice retry;
  retry.avoid = &tried;
  retry.avoid_count = 1;
  retry.most_picks = 4;
  context.retry = &retry;
  for (int i = 0; i < 10; ++i) {
    bool panic = false;
    EXPECT_EQ(lb::pick(*set, {}, context, 1, 2, panic), set->hosts[1].get());
  }
}

}  // namespace
}  // namespace outrider::upstream
