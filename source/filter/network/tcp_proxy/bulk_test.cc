#include <sys/resource.h>

#include <csignal>

#include "source/event/io.h"
#include "source/filter/network/tcp_proxy/harness.h"
#include "source/net/pipe.h"

namespace outrider::filter::network::tcp_proxy {
namespace {

// Bulk from the server to the client, through a pipe of the kernel once there was enough of it.
class BulkTest : public TcpProxyTest {
 protected:
  BulkTest() {
    ::signal(SIGPIPE, SIG_IGN);  // as the server does
    net::Pipe::trimThisThread();
    for (size_t i = 0; i < 200'003; ++i) words_ += static_cast<char>('a' + i % 23);
    before_ = event::io::calls.splices;
  }
  uint64_t splices() const { return event::io::calls.splices - before_; }
  // What the server's socket takes of the next bytes up to `most` in all.
  size_t push(App& server, size_t most) {
    const size_t at = sent_ % words_.size();
    const size_t n = server.push(std::string_view(words_).substr(at, std::min(most - sent_, words_.size() - at)));
    sent_ += n;
    return n;
  }
  struct Pair {
    App client, server;
  };
  // Both ends in the middle of bulk: the client has stopped listening, bytes are in the pipe and before it.
  Pair stalled() {
    App client = connect();
    Pair pair{std::move(client), acceptBackend()};
    EXPECT_TRUE(carry(pair.client, pair.server, 4 << 20));
    stall(pair.server);
    return pair;
  }
  // The server says so much in all, the client listens.
  bool carry(App& client, App& server, size_t most) {
    return until([&] {
      while (sent_ < most && push(server, most) > 0) {
      }
      client.hear();
      return client.text.size() == most;
    });
  }
  // The server speaks and nobody listens, until a pipe holds bytes that go nowhere.
  void stall(App& server) {
    for (int idle = 0; idle < 20;) {
      idle = push(server, SIZE_MAX) == 0 ? idle + 1 : 0;
      world_.turns(2);
    }
    ASSERT_GT(chain().connection().piped(), 0u);
    ASSERT_EQ(net::Pipe::usedOnThisThread(), 1u);
  }
  NetworkChain& chain() { return chains_.front(); }
  bool whole(const std::string& got) const {
    for (size_t at = 0; at < got.size(); at += words_.size()) {
      if (got.compare(at, words_.size(), words_, 0, std::min(words_.size(), got.size() - at)) != 0) return false;
    }
    return true;
  }

  std::string words_;
  size_t sent_ = 0;
  uint64_t before_ = 0;
};

TEST_F(BulkTest, GoesThroughAPipeAndCountsLikeWhatIsCopied) {
  constexpr size_t kBytes = 8 << 20;
  App client = connect();
  App server = acceptBackend();
  ASSERT_TRUE(carry(client, server, kBytes));
  EXPECT_GT(splices(), 0u);
  EXPECT_TRUE(whole(client.text));
  EXPECT_EQ(net::Pipe::usedOnThisThread(), 0u);  // held only while bytes are in it
  EXPECT_EQ(net::Pipe::freeOnThisThread(), 1u);
  EXPECT_EQ(count(TcpStat::kCxTxBytesTotal), kBytes);
  client.say("enough");
  server.finish();
  client.finish();
  EXPECT_TRUE(until([&] {
    client.hear();
    server.hear();
    return client.eof && server.eof && countUp(ClusterStat::kUpstreamCxActive) == 0 && closed_ == 1;
  }));
  EXPECT_EQ(server.text, "enough");
  EXPECT_EQ(countUp(ClusterStat::kUpstreamCxRxBytesTotal), kBytes);
  EXPECT_EQ(countUp(ClusterStat::kUpstreamCxTxBytesTotal), 6u);
  EXPECT_EQ(countUp(ClusterStat::kUpstreamFlowControlPausedReadingTotal), countUp(ClusterStat::kUpstreamFlowControlResumedReadingTotal));
  EXPECT_EQ(log_->lines, std::vector<std::string>{"- 6 8388608 127.0.0.1:" + std::to_string(backend_port_) + " "});
}

TEST_F(BulkTest, SmallMessagesAfterItAreCopiedAgainAndMoreBulkIsNot) {
  App client = connect();
  App server = acceptBackend();
  ASSERT_TRUE(carry(client, server, 4 << 20));
  EXPECT_GT(splices(), 0u);
  for (size_t i = 1; i <= 16; ++i) ASSERT_TRUE(carry(client, server, (4 << 20) + 100 * i));
  const uint64_t after = splices();
  for (size_t i = 17; i <= 28; ++i) ASSERT_TRUE(carry(client, server, (4 << 20) + 100 * i));
  EXPECT_EQ(splices(), after);
  ASSERT_TRUE(carry(client, server, 12 << 20));
  EXPECT_GT(splices(), after);
  EXPECT_TRUE(whole(client.text));
}

TEST_F(BulkTest, ASlowReaderHoldsOnePipeAndTheServerWaits) {
  auto [client, server] = stalled();
  EXPECT_LE(chain().connection().piped() + chain().connection().out().size(), 64u * 1024);  // the buffer's limit holds for a pipe
  EXPECT_GT(countUp(ClusterStat::kUpstreamFlowControlPausedReadingTotal), countUp(ClusterStat::kUpstreamFlowControlResumedReadingTotal));
  EXPECT_TRUE(carry(client, server, sent_));
  EXPECT_TRUE(whole(client.text));
  EXPECT_EQ(net::Pipe::usedOnThisThread(), 0u);
  EXPECT_EQ(countUp(ClusterStat::kUpstreamFlowControlPausedReadingTotal), countUp(ClusterStat::kUpstreamFlowControlResumedReadingTotal));
}

TEST_F(BulkTest, TheEndComesAfterWhatIsInThePipe) {
  auto [client, server] = stalled();
  server.finish();
  world_.turns(3);
  EXPECT_TRUE(until([&] {
    client.hear();
    return client.eof;
  }));
  EXPECT_EQ(client.text.size(), sent_);
  EXPECT_TRUE(whole(client.text));
  client.say("thanks");  // the other way goes on
  EXPECT_TRUE(until([&] {
    server.hear();
    return server.text == "thanks";
  }));
}

TEST_F(BulkTest, AClientThatEndedFirstStillGetsAll) {
  auto [client, server] = stalled();
  client.finish();
  EXPECT_TRUE(until([&] {
    server.hear();
    return server.eof;
  }));
  server.close();  // both ends are said while bytes are in the pipe and before it
  EXPECT_TRUE(until([&] {
    client.hear();
    return client.eof && closed_ == 1;
  }));
  EXPECT_FALSE(client.reset);
  EXPECT_EQ(client.text.size(), sent_);
  EXPECT_TRUE(whole(client.text));
}

TEST_F(BulkTest, AServersResetComesAfterWhatIsInThePipe) {
  auto [client, server] = stalled();
  server.closeReset();
  world_.turns(3);
  EXPECT_TRUE(until([&] {
    client.hear();
    return client.reset;
  }));
  EXPECT_FALSE(client.eof);
  EXPECT_TRUE(whole(client.text));
  EXPECT_EQ(closed_, 1);
  EXPECT_EQ(net::Pipe::usedOnThisThread(), 0u);
}

TEST_F(BulkTest, AClientsResetClosesAPipeThatIsNotEmpty) {
  auto [client, server] = stalled();
  client.closeReset();
  EXPECT_TRUE(until([&] {
    server.hear();
    return server.reset && closed_ == 1;
  }));
  world_.turns(2);
  EXPECT_EQ(net::Pipe::usedOnThisThread(), 0u);
  EXPECT_EQ(net::Pipe::freeOnThisThread(), 0u);  // nobody else's bytes ever meet these
}

TEST_F(BulkTest, WithoutDescriptorsForAPipeItIsCopied) {
  App client = connect();
  App server = acceptBackend();
  ASSERT_TRUE(carry(client, server, 1000));
  rlimit limit;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const int next = ::dup(0);
  ::close(next);
  const rlimit none{static_cast<rlim_t>(next), limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_TRUE(carry(client, server, 4 << 20));
  EXPECT_EQ(splices(), 0u);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_TRUE(whole(client.text));
}

}  // namespace
}  // namespace outrider::filter::network::tcp_proxy
