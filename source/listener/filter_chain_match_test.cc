#include "source/listener/filter_chain_match.h"

#include <gtest/gtest.h>

namespace outrider::listener {
namespace {

class ChainMatchTest : public testing::Test {
 protected:
  void add(const ChainMatchSpec& spec) { matcher_.add(spec, next_++, problems_); }
  int find(const char* local, const char* remote, std::string sni = {}, std::string transport = {},
           std::vector<std::string> alpn = {}) const {
    filter::FirstBytes first;
    first.server_name = std::move(sni);
    first.transport_protocol = std::move(transport);
    first.application_protocols = std::move(alpn);
    const auto from = *base::Address::parseIpPort(remote);
    return matcher_.find({*base::Address::parseIpPort(local), from, from, &first});
  }
  ChainMatcher matcher_;
  config::Problems problems_;
  int next_ = 0;
};

TEST_F(ChainMatchTest, TheMostSpecificServerNameWins) {
  add({.server_names = {"a.b.c"}});
  add({.server_names = {"*.b.c"}});
  add({.server_names = {"*.c"}});
  add({});
  EXPECT_EQ(find("1.1.1.1:1", "2.2.2.2:2", "a.b.c"), 0);
  EXPECT_EQ(find("1.1.1.1:1", "2.2.2.2:2", "x.b.c"), 1);
  EXPECT_EQ(find("1.1.1.1:1", "2.2.2.2:2", "x.y.b.c"), 1);
  EXPECT_EQ(find("1.1.1.1:1", "2.2.2.2:2", "x.c"), 2);
  EXPECT_EQ(find("1.1.1.1:1", "2.2.2.2:2", "c"), 3);
  EXPECT_EQ(find("1.1.1.1:1", "2.2.2.2:2"), 3);
}

TEST_F(ChainMatchTest, AnEarlierStepDecidesWithoutComingBack) {
  // The port matches the first chain, whose server name then does not: the second is out of reach.
  add({.destination_port = 443, .server_names = {"only.this"}});
  add({.server_names = {"other"}});
  EXPECT_EQ(find("1.1.1.1:443", "2.2.2.2:2", "other"), ChainMatcher::kNoChain);
  EXPECT_EQ(find("1.1.1.1:80", "2.2.2.2:2", "other"), 1);
}

TEST_F(ChainMatchTest, PrefixesTransportAlpnAndSourcesChoose) {
  add({.prefix_ranges = {*base::CidrRange::parse("10.0.0.0", 8)}});
  add({.prefix_ranges = {*base::CidrRange::parse("10.1.0.0", 16)}});
  add({.transport_protocol = "tls", .application_protocols = {"h2"}});
  add({.transport_protocol = "tls"});
  add({.source_type = SourceType::kSameIpOrLoopback});
  add({.source_ranges = {*base::CidrRange::parse("192.168.0.0", 16)}, .source_ports = {77}});
  EXPECT_EQ(find("10.2.0.1:1", "2.2.2.2:2"), 0);
  EXPECT_EQ(find("10.1.0.1:1", "2.2.2.2:2"), 1);
  EXPECT_EQ(find("1.1.1.1:1", "2.2.2.2:2", "", "tls", {"h2", "http/1.1"}), 2);
  EXPECT_EQ(find("1.1.1.1:1", "2.2.2.2:2", "", "tls", {"http/1.1"}), 3);
  EXPECT_EQ(find("127.0.0.1:1", "127.0.0.1:2"), 4);
  EXPECT_EQ(find("1.1.1.1:1", "1.1.1.1:2"), 4);
  EXPECT_EQ(find("1.1.1.1:1", "127.0.0.1:2"), 4);
  EXPECT_EQ(find("1.1.1.1:1", "127.0.0.6:2"), ChainMatcher::kNoChain);
  EXPECT_EQ(find("1.1.1.1:1", "192.168.3.4:77"), 5);
  EXPECT_EQ(find("1.1.1.1:1", "192.168.3.4:78"), ChainMatcher::kNoChain);
}

TEST_F(ChainMatchTest, TwoChainsWithOneMatchAreAProblem) {
  add({.server_names = {"a", "b"}});
  EXPECT_TRUE(problems_.empty());
  add({.server_names = {"b", "c"}});
  EXPECT_EQ(problems_.size(), 1u);
}

}  // namespace
}  // namespace outrider::listener
