// Bytes in bulk between peers that stall: nothing is lost, nothing grows, nothing hangs.
#include <string>

#include "gtest/gtest.h"
#include "test/stories/world.h"

namespace outrider::test {
namespace {

std::string portOf(const Backend& backend) { return std::to_string(backend.port()); }

std::string pattern(size_t size) {
  std::string out(size, '\0');
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + (i * 31 + i / 4096) % 26);
  return out;
}

struct Story {
  Story() : world(edge({{}, {}, {}, portOf(backend)})) { world.watch(backend); }
  bool asked() {
    return world.until([&] { return backend.connections() == 1 && backend.last().received().find("\r\n\r\n") != std::string::npos; });
  }
  Backend backend;
  World world;
};

// What a peer wants to say, pushed as far as the sockets take it.
class Push {
 public:
  Push(Wire& wire, std::string bytes) : wire_(wire), bytes_(std::move(bytes)) {}
  bool step() {
    sent_ += wire_.trySend(std::string_view(bytes_).substr(sent_));
    return sent_ == bytes_.size();
  }
  size_t sent() const { return sent_; }

 private:
  Wire& wire_;
  const std::string bytes_;
  size_t sent_ = 0;
};

std::string chunked(const std::string& body, size_t piece) {
  std::string out;
  for (size_t at = 0; at < body.size(); at += piece) {
    const std::string part = body.substr(at, piece);
    char size[16];
    std::snprintf(size, sizeof size, "%zx\r\n", part.size());
    out += size + part + "\r\n";
  }
  return out + "0\r\n\r\n";
}

TEST(Flow, ALargeAnswerOfKnownLengthArrivesWhole) {
  Story story;
  Wire& client = story.world.connect("in");
  client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  ASSERT_TRUE(story.asked());
  const std::string body = pattern(3'000'000);
  Push answer(story.backend.last(), "HTTP/1.1 200 OK\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  EXPECT_TRUE(story.world.until([&] { return answer.step() && client.received().ends_with(body); }));
}

TEST(Flow, OneLargeChunkArrivesWhole) {
  Story story;
  Wire& client = story.world.connect("in");
  client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  ASSERT_TRUE(story.asked());
  Push answer(story.backend.last(), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(pattern(1'000'000), 1'000'000));
  EXPECT_TRUE(story.world.until([&] { return answer.step() && client.received().ends_with("\r\n0\r\n\r\n"); }));
}

TEST(Flow, AStalledClientStopsTheBackendAndThenAllArrives) {
  Story story;
  Wire& client = story.world.connect("in");
  client.stall(true);
  client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  ASSERT_TRUE(story.asked());
  const std::string body = pattern(60'000'000);
  Push answer(story.backend.last(), "HTTP/1.1 200 OK\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  for (int i = 0; i < 50; ++i) {
    answer.step();
    story.world.settle();
  }
  // Sockets' buffers on both sides and one buffer of ours: far from all.
  EXPECT_LT(answer.sent(), body.size() / 2);
  client.stall(false);
  EXPECT_TRUE(story.world.until([&] { return answer.step() && client.received().size() > body.size(); }));
  EXPECT_TRUE(client.received().ends_with(body));
}

TEST(Flow, AStalledBackendStopsTheClientAndThenAllArrives) {
  Story story;
  Wire& client = story.world.connect("in");
  const std::string body = pattern(60'000'000);
  Push request(client, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  request.step();
  ASSERT_TRUE(story.asked());
  story.backend.last().stall(true);
  for (int i = 0; i < 50; ++i) {
    request.step();
    story.world.settle();
  }
  EXPECT_LT(request.sent(), body.size() / 2);
  story.backend.last().stall(false);
  EXPECT_TRUE(story.world.until([&] { return request.step() && story.backend.last().received().ends_with(body); }));
}

TEST(Flow, BothDirectionsAtOnce) {
  Story story;
  Wire& client = story.world.connect("in");
  const std::string up = pattern(4'000'000), down = pattern(5'000'000);
  Push request(client, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(up, 70'000));
  request.step();
  ASSERT_TRUE(story.asked());
  Push answer(story.backend.last(), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(down, 100'000));
  EXPECT_TRUE(story.world.until([&] {
    const bool asked = request.step(), said = answer.step();
    return asked && said && client.received().ends_with("\r\n0\r\n\r\n") && story.backend.last().received().ends_with("\r\n0\r\n\r\n");
  }));
}

}  // namespace
}  // namespace outrider::test
