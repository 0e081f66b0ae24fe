#include "source/http/h2/server_codec.h"
#include "source/upstream/harness.h"
#include "source/upstream/http2_stats.h"

namespace outrider::upstream {
namespace {

// An HTTP/2 server on the loopback that answers when it is told to.
class H2Peer final : public event::IoHandler {
 public:
  H2Peer(event::Loop& loop, uint32_t most_streams) : loop_(loop), fd_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    settings.max_concurrent_streams = most_streams;
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(fd_, 64), 0);
    socklen_t size = sizeof at;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    address = *base::Address::parseIp("127.0.0.1", ntohs(at.sin_port));
    loop_.add(fd_, *this, event::kReadable);
  }
  ~H2Peer() {
    lines.clear();
    loop_.remove(fd_, *this);
    ::close(fd_);
  }
  void onReady(uint32_t) override {
    int fd;
    while ((fd = ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) lines.push_back(std::make_unique<Line>(*this, fd));
  }
  size_t open() const {
    size_t n = 0;
    for (const auto& line : lines) n += line->open();
    return n;
  }
  size_t waiting() const {
    size_t n = 0;
    for (const auto& line : lines) n += line->waiting();
    return n;
  }
  void answerAll() {
    for (const auto& line : lines) line->answerAll();
  }
  void drainAll() {
    for (const auto& line : lines) line->drain();
  }

  http::h2::Settings settings;
  base::Address address;
  size_t most_at_once = 0;

  struct Exchange final : http::RequestSink {
    explicit Exchange(http::ServerStream& s) : stream(&s), memory(base::Arena::create()) {}
    ~Exchange() { memory->unref(); }
    base::Arena& arena() override { return *memory; }
    void onRequestHead(http::RequestHead&, bool) override { complete = true; }
    void onRequestData(base::Buffer& data, bool) override { data.clear(); }
    void onRequestTrailers(http::HeaderMap&) override {}
    void onMalformed(const http::CodecError&) override {}
    void onRoom() override {}
    void onEnd(http::ResetReason) override { stream = nullptr; }
    http::ServerStream* stream;
    base::Arena* memory;
    bool complete = false, answered = false;
  };

  class Line final : public net::ConnectionSink, public http::ServerCodecSink {
   public:
    Line(H2Peer& peer, int fd)
        : peer_(peer),
          connection_(std::make_unique<net::Connection>(peer.loop_, fd, net::makePlainTransport(), base::Address(), base::Address())),
          codec_(peer.settings, counters_, *this, peer.loop_.now()) {
      connection_->setSink(*this);
      base::Buffer none;
      connection_->startAccepted(none);
    }
    ~Line() {
      codec_.resetAll(http::ResetReason::kLocal);
      if (connection_->open()) connection_->closeNow();
      peer_.loop_.retire(connection_.release());
    }
    bool open() const { return connection_->open(); }
    size_t waiting() const {
      size_t n = 0;
      for (const auto& each : exchanges_) n += each->stream != nullptr && each->complete && !each->answered;
      return n;
    }
    void answerAll() {
      for (const auto& each : exchanges_) {
        if (each->stream == nullptr || !each->complete || std::exchange(each->answered, true)) continue;
        http::ResponseHead head(*each->memory);
        head.status = 200;
        each->stream->sendHead(head, true);
      }
      connection_->markDirty();
    }
    void drain() {
      codec_.drain();
      connection_->markDirty();
    }
    void onConnected() override { connection_->markDirty(); }
    void onBytes(base::Buffer& in, bool eof) override {
      (void)codec_.feed(in);
      if (eof) {
        codec_.onPeerFinished();
        connection_->closeNow();
      }
    }
    void onFlush(base::Buffer& out) override { codec_.fill(out); }
    void onRoom() override { codec_.onOutputDrained(); }
    void onClosed(net::CloseReason) override { codec_.resetAll(http::ResetReason::kConnectionClosed); }
    http::RequestSink& onNewStream(http::ServerStream& stream) override {
      exchanges_.push_back(std::make_unique<Exchange>(stream));
      peer_.most_at_once = std::max(peer_.most_at_once, codec_.openStreams());
      return *exchanges_.back();
    }
    void onOutput() override { connection_->markDirty(); }
    void onWantFeed() override { connection_->wantFeed(); }
    void onIdle() override {}
    void onConnectionError(std::string_view) override {}

   private:
    H2Peer& peer_;
    std::unique_ptr<net::Connection> connection_;
    http::h2::Counters counters_;
    http::h2::ServerCodec codec_;
    std::vector<std::unique_ptr<Exchange>> exchanges_;
  };
  std::vector<std::unique_ptr<Line>> lines;

 private:
  event::Loop& loop_;
  const int fd_;
};

std::shared_ptr<config::ClusterSpec> h2Spec(const H2Peer& peer) {
  auto spec = World::spec("a", {peer.address});
  spec->http.protocol = config::UpstreamProtocol::kHttp2;
  return spec;
}

// Makes the connection, so that the peer's SETTINGS are known.
void warmUp(World& world, H2Peer& peer) {
  Call call(world, "a");
  ASSERT_TRUE(world.until([&] { return peer.waiting() == 1; }));
  peer.answerAll();
  ASSERT_TRUE(world.until([&] { return call.done(); }));
  EXPECT_EQ(call.status(), 200);
}

TEST(H2Pool, ManyRequestsShareOneConnection) {
  World world;
  H2Peer peer(world.loop, 100);
  world.serve(h2Spec(peer));
  warmUp(world, peer);
  Call one(world, "a"), two(world, "a"), three(world, "a");
  ASSERT_TRUE(world.until([&] { return peer.waiting() == 3; }));
  peer.answerAll();
  ASSERT_TRUE(world.until([&] { return one.done() && two.done() && three.done(); }));
  EXPECT_EQ(one.status() + two.status() + three.status(), 600);
  EXPECT_EQ(peer.lines.size(), 1u);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamCxHttp2Total), 1u);
}

TEST(H2Pool, RequestsAboveThePeersLimitWait) {
  World world;
  H2Peer peer(world.loop, 2);
  auto spec = h2Spec(peer);
  spec->breakers[0].connections = 1;
  world.serve(spec);
  warmUp(world, peer);
  Call one(world, "a"), two(world, "a"), three(world, "a");
  ASSERT_TRUE(world.until([&] { return peer.waiting() == 2; }));
  EXPECT_EQ(three.attempt->phase(), Attempt::Phase::kQueued);
  peer.answerAll();
  ASSERT_TRUE(world.until([&] { return one.done() && two.done() && peer.waiting() == 1; }));
  peer.answerAll();
  ASSERT_TRUE(world.until([&] { return three.done(); }));
  EXPECT_EQ(three.status(), 200);
  EXPECT_EQ(peer.most_at_once, 2u);
  EXPECT_EQ(peer.lines.size(), 1u);
}

TEST(H2Pool, AGoAwayLetsStreamsFinishAndTheNextRequestConnectsAnew) {
  World world;
  H2Peer peer(world.loop, 100);
  world.serve(h2Spec(peer));
  warmUp(world, peer);
  Call one(world, "a");
  ASSERT_TRUE(world.until([&] { return peer.waiting() == 1; }));
  peer.drainAll();
  ASSERT_TRUE(world.until([&] { return world.count("a", ClusterStat::kUpstreamCxCloseNotify) == 1; }));
  Call two(world, "a");
  ASSERT_TRUE(world.until([&] { return peer.waiting() == 2; }));
  EXPECT_EQ(peer.lines.size(), 2u);
  peer.answerAll();
  ASSERT_TRUE(world.until([&] { return one.done() && two.done(); }));
  EXPECT_EQ(one.status() + two.status(), 400);
  ASSERT_TRUE(world.until([&] { return world.count("a", ClusterStat::kUpstreamCxActive) == 1; }));
}

TEST(H2Pool, AConnectionServesNoMoreThanItsRequests) {
  World world;
  H2Peer peer(world.loop, 100);
  auto spec = h2Spec(peer);
  spec->http.max_requests_per_connection = 2;
  world.serve(spec);
  warmUp(world, peer);
  Call one(world, "a"), two(world, "a");
  ASSERT_TRUE(world.until([&] { return peer.waiting() == 2; }));
  EXPECT_EQ(peer.lines.size(), 2u);
  peer.answerAll();
  ASSERT_TRUE(world.until([&] { return one.done() && two.done(); }));
  ASSERT_TRUE(world.until([&] { return peer.open() == 1; }));
}

TEST(H2Pool, GivingOneStreamUpLeavesTheOthers) {
  World world;
  H2Peer peer(world.loop, 100);
  world.serve(h2Spec(peer));
  warmUp(world, peer);
  Call one(world, "a"), two(world, "a");
  ASSERT_TRUE(world.until([&] { return peer.waiting() == 2; }));
  one.attempt->abandon();
  ASSERT_TRUE(world.until([&] { return peer.waiting() == 1; }));
  peer.answerAll();
  ASSERT_TRUE(world.until([&] { return two.done(); }));
  EXPECT_EQ(two.status(), 200);
  EXPECT_EQ(peer.lines.size(), 1u);
}

uint64_t http2Count(World& world, std::string_view name) {
  const stats::ScopeRef& scope = world.cluster("a").http2Stats();
  for (size_t i = 0; i < kHttp2Table.count; ++i) {
    if (kHttp2Table.stats[i].name == name) return scope->read(i).value;
  }
  ADD_FAILURE() << "no " << name;
  return 0;
}

TEST(H2Pool, ResetsAndGoAwaysAreCountedForTheCluster) {
  World world;
  H2Peer peer(world.loop, 100);
  world.serve(h2Spec(peer));
  warmUp(world, peer);
  EXPECT_EQ(http2Count(world, "tx_reset"), 0u);
  Call one(world, "a"), two(world, "a");
  ASSERT_TRUE(world.until([&] { return peer.waiting() == 2; }));
  one.attempt->abandon();
  ASSERT_TRUE(world.until([&] { return peer.waiting() == 1; }));
  EXPECT_EQ(http2Count(world, "tx_reset"), 1u);
  EXPECT_EQ(http2Count(world, "rx_reset"), 0u);
  peer.answerAll();
  ASSERT_TRUE(world.until([&] { return two.done(); }));
  EXPECT_EQ(http2Count(world, "tx_reset"), 1u);  // and not again
}

TEST(H2Pool, ANewConnectionBeginsWithWhatTheHostAllowedBefore) {
  World world;
  H2Peer peer(world.loop, 2);
  world.serve(h2Spec(peer));
  warmUp(world, peer);
  peer.drainAll();
  ASSERT_TRUE(world.until([&] { return peer.open() == 0; }));
  // None of these knows the new connections' SETTINGS: without memory all would go on one.
  Call one(world, "a"), two(world, "a"), three(world, "a");
  ASSERT_TRUE(world.until([&] { return peer.waiting() == 3; }));
  EXPECT_EQ(peer.most_at_once, 2u);
  EXPECT_EQ(peer.lines.size(), 3u);
  peer.answerAll();
  ASSERT_TRUE(world.until([&] { return one.done() && two.done() && three.done(); }));
  EXPECT_EQ(one.status() + two.status() + three.status(), 600);
}

}  // namespace
}  // namespace outrider::upstream
