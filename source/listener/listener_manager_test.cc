#include "source/listener/listener_manager.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

namespace outrider::listener {
namespace {

struct NoFilter final : filter::NetworkFilterFactory {
  std::unique_ptr<filter::NetworkFilter> make(const filter::NetworkContext&) const override { return nullptr; }
};
struct OtherFilter final : filter::NetworkFilterFactory {
  std::unique_ptr<filter::NetworkFilter> make(const filter::NetworkContext&) const override { return nullptr; }
};

class ListenerManagerTest : public ::testing::Test {
 protected:
  ListenerManagerTest()
      : manager_(
            stats_, 2, [this](auto change) { changes_.push_back(std::move(change)); }, base::kSecond) {}

  std::shared_ptr<ListenerVersion> version(std::string name, const base::Address& address, std::vector<std::string> chains = {"c"}) {
    auto out = std::make_shared<ListenerVersion>();
    out->stats = ListenerStats(stats_.scope("listener." + name + ".", kListenerTable));
    out->name = std::move(name);
    out->addresses = {address};
    for (const std::string& chain : chains) {
      auto part = std::make_shared<filter::ChainPart>();
      part->info.filter_chain = chain;
      part->factory = std::make_shared<NoFilter>();
      out->chains.push_back({{}, part, 0, 0});
    }
    return out;
  }
  static base::Address loopback(uint16_t port) { return *base::Address::parseIp("127.0.0.1", port); }
  uint64_t gauge(ManagerStat stat) const { return manager_.stats().read(stat); }

  stats::Store stats_;
  std::vector<std::shared_ptr<const ListenerChange>> changes_;
  ListenerManager manager_;
};

TEST_F(ListenerManagerTest, AnAddressMovesToAnotherNameWithItsSocket) {
  ASSERT_TRUE(manager_.put(version("a", loopback(0))).ok());
  const auto socket = manager_.active()[0].sockets[0];
  const base::Address at = socket->local();
  changes_.clear();
  ASSERT_TRUE(manager_.remove("a", base::kSecond).ok());
  ASSERT_TRUE(manager_.put(version("b", at)).ok());
  EXPECT_EQ(manager_.active()[0].sockets[0], socket);
  manager_.closeLeft()();
  EXPECT_EQ(manager_.active()[0].sockets[0]->fd(0), socket->fd(0));
}

TEST_F(ListenerManagerTest, WhatNobodyTookOverIsClosedAfterTheBatch) {
  ASSERT_TRUE(manager_.put(version("a", loopback(0))).ok());
  const std::weak_ptr<net::ListenSocket> socket = manager_.active()[0].sockets[0];
  ASSERT_TRUE(manager_.remove("a", base::kSecond).ok());
  changes_.clear();  // the workers have heard of it
  EXPECT_FALSE(socket.expired());
  manager_.closeLeft()();
  EXPECT_TRUE(socket.expired());
}

TEST_F(ListenerManagerTest, AListenerComesBackBeforeAWorkerHasReadThatItIsGone) {
  ASSERT_TRUE(manager_.put(version("a", loopback(0))).ok());
  const base::Address at = manager_.active()[0].sockets[0]->local();
  ASSERT_TRUE(manager_.remove("a", base::kSecond).ok());
  manager_.closeLeft()();  // the batch is over, and its letters still lie in the workers' mailboxes
  const absl::Status status = manager_.put(version("a", at));
  ASSERT_TRUE(status.ok()) << status;
  const auto socket = manager_.active()[0].sockets[0];
  EXPECT_EQ(changes_.back()->sockets[0], socket);
  EXPECT_TRUE(changes_.back()->new_sockets);
  const std::weak_ptr<net::ListenSocket> again = socket;
  changes_.clear();
  manager_.closeLeft()();
  EXPECT_FALSE(again.expired());
}

TEST_F(ListenerManagerTest, AnotherBacklogNeedsNoOtherSocket) {
  auto first = version("a", loopback(0));
  ASSERT_TRUE(manager_.put(first).ok());
  const auto socket = manager_.active()[0].sockets[0];
  auto next = version("a", loopback(0));
  next->options.backlog = 17;
  ASSERT_TRUE(manager_.put(next).ok());
  EXPECT_EQ(manager_.active()[0].sockets[0], socket);
  EXPECT_EQ(socket->options().backlog, 17);
}

TEST_F(ListenerManagerTest, AnAddressOfAnotherListenerIsRefusedWithItsName) {
  ASSERT_TRUE(manager_.put(version("a", loopback(0))).ok());
  const absl::Status status = manager_.put(version("b", manager_.active()[0].sockets[0]->local()));
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("b: cannot bind '127.0.0.1:"), absl::string_view::npos);
  EXPECT_EQ(manager_.active().size(), 1u);
  EXPECT_EQ(gauge(ManagerStat::kCreateFailure), 1u);
}

TEST_F(ListenerManagerTest, DrainingIsCountedForAsLongAsSomebodyDrains) {
  ASSERT_TRUE(manager_.put(version("a", loopback(0), {"stays", "goes", "goes too"})).ok());
  changes_.clear();
  ASSERT_TRUE(manager_.put(version("a", loopback(0), {"stays", "comes"})).ok());
  EXPECT_EQ(gauge(ManagerStat::kChainsDraining), 2u);
  EXPECT_EQ(changes_[0]->drain_time, base::kSecond);
  changes_.clear();
  EXPECT_EQ(gauge(ManagerStat::kChainsDraining), 0u);
  ASSERT_TRUE(manager_.remove("a", base::kSecond).ok());
  EXPECT_EQ(gauge(ManagerStat::kDraining), 1u);
  changes_.clear();
  EXPECT_EQ(gauge(ManagerStat::kDraining), 0u);
}

TEST_F(ListenerManagerTest, AChainSucceedsAnotherOnlyWhereConnectionsMayStay) {
  const auto one = version("a", loopback(0), {"c"});
  const auto two = version("a", loopback(0), {"c"});
  EXPECT_TRUE(two->chains[0].succeeds(one->chains[0]));
  two->chains[0].admission = 1;  // who may connect has changed
  EXPECT_FALSE(two->chains[0].succeeds(one->chains[0]));
  two->chains[0].admission = 0;
  auto part = std::make_shared<filter::ChainPart>(*two->chains[0].part);
  part->factory = std::make_shared<OtherFilter>();
  two->chains[0].part = part;  // a filter that cannot take them over
  EXPECT_FALSE(two->chains[0].succeeds(one->chains[0]));

  const auto unnamed = version("a", loopback(0), {""});
  const auto same = version("a", loopback(0), {""});
  EXPECT_TRUE(same->chains[0].succeeds(unnamed->chains[0]));
  same->chains[0].match.server_names = {"a.test"};
  EXPECT_FALSE(same->chains[0].succeeds(unnamed->chains[0]));
}

}  // namespace
}  // namespace outrider::listener
