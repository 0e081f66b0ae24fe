#include "source/upstream/call/async_call.h"

#include "source/upstream/call/grpc_call.h"
#include "source/upstream/h2_peer.h"

namespace outrider::upstream {
namespace {

struct Caller final : AsyncCallOwner {
  void onCall(AsyncCall& at) override {
    ++news;
    body += at.body().str();
    at.body().clear();
    if (on_news) on_news(at);
  }
  int news = 0;
  std::string body;
  std::function<void(AsyncCall&)> on_news;
};

std::unique_ptr<AsyncCall> get(World& world, Caller& owner, std::string_view path, const AsyncCall::Options& options = {}) {
  auto call = std::make_unique<AsyncCall>(world.cluster("a"), owner, options);
  call->head().method = "GET";
  call->head().path = call->arena().copy(path);
  call->start(true);
  return call;
}

TEST(AsyncCall, BringsAResponse) {
  World world;
  Peer peer(world.loop);
  world.serve(World::spec("a", {peer.address()}));
  Caller owner;
  const auto call = get(world, owner, "/keys");
  ASSERT_TRUE(world.until([&] { return call->ended(); }));
  EXPECT_EQ(call->end(), AsyncCall::End::kComplete);
  EXPECT_EQ(call->status(), 200);
  EXPECT_EQ(owner.body, "ok");
  EXPECT_EQ(call->failure(), "");
  EXPECT_NE(peer.heads.at(0).find("GET /keys HTTP/1.1\r\nhost: a\r\n"), std::string::npos) << peer.heads.at(0);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRq2xx), 1u);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqCompleted), 1u);
}

TEST(AsyncCall, MayBeDestroyedByItsOwnNews) {
  World world;
  Peer peer(world.loop);
  world.serve(World::spec("a", {peer.address()}));
  Caller owner;
  std::unique_ptr<AsyncCall> call;
  bool gone = false;
  owner.on_news = [&](AsyncCall& at) {
    if (!at.ended()) return;
    call.reset();
    gone = true;
  };
  call = get(world, owner, "/");
  ASSERT_TRUE(world.until([&] { return gone; }));
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqActive), 0u);
}

TEST(AsyncCall, MayBeDestroyedWhileItWaits) {
  World world;
  Peer peer(world.loop);
  peer.answer = [](const std::string&) { return std::string(); };
  world.serve(World::spec("a", {peer.address()}));
  Caller owner;
  { const auto call = get(world, owner, "/"); }
  auto call = get(world, owner, "/");
  ASSERT_TRUE(world.until([&] { return !peer.heads.empty(); }));
  call.reset();
  world.turns(3);
  EXPECT_EQ(owner.news, 0);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqActive), 0u);
}

TEST(AsyncCall, TellsThatThereIsNoHost) {
  World world;
  world.serve(World::spec("a", {}));
  Caller owner;
  const auto call = get(world, owner, "/");
  EXPECT_EQ(owner.news, 0);  // never from within a call of the owner's
  world.turns(1);
  EXPECT_EQ(owner.news, 1);
  EXPECT_EQ(call->end(), AsyncCall::End::kNoHost);
  EXPECT_EQ(call->failure(), "no healthy upstream");
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRq5xx), 1u);
}

TEST(AsyncCall, TellsWhyItCouldNotConnect) {
  World world;
  base::Address gone;
  {
    Peer peer(world.loop);
    gone = peer.address();
  }
  world.serve(World::spec("a", {gone}));
  Caller owner;
  const auto call = get(world, owner, "/");
  ASSERT_TRUE(world.until([&] { return call->ended(); }));
  EXPECT_EQ(call->end(), AsyncCall::End::kConnect);
  EXPECT_EQ(call->failure(), "delayed connect error: Connection refused");
}

TEST(AsyncCall, ObeysTheBreakers) {
  World world;
  Peer peer(world.loop);
  peer.answer = [](const std::string&) { return std::string(); };
  auto spec = World::spec("a", {peer.address()});
  spec->breakers[0].requests = 1;
  world.serve(spec);
  Caller first, second;
  const auto one = get(world, first, "/");
  const auto two = get(world, second, "/");
  world.turns(1);
  EXPECT_FALSE(one->ended());
  EXPECT_EQ(two->end(), AsyncCall::End::kOverflow);
  EXPECT_EQ(two->failure(), "overflow");
}

TEST(AsyncCall, EndsAtItsTimeout) {
  World world;
  Peer peer(world.loop);
  peer.answer = [](const std::string&) { return std::string(); };
  world.serve(World::spec("a", {peer.address()}));
  Caller owner;
  AsyncCall::Options options;
  options.timeout = 20 * base::kMilli;
  const auto call = get(world, owner, "/", options);
  ASSERT_TRUE(world.until([&] { return call->ended(); }));
  EXPECT_EQ(call->end(), AsyncCall::End::kTimeout);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqTimeout), 1u);
  ASSERT_TRUE(world.until([&] { return peer.open() == 0; }));  // HTTP/1 cannot give up a request otherwise
}

TEST(AsyncCall, AResponseAboveTheLimitEndsIt) {
  World world;
  Peer peer(world.loop);
  peer.answer = [](const std::string&) { return "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + std::string(3000, 'x'); };
  world.serve(World::spec("a", {peer.address()}));
  Caller owner;
  AsyncCall::Options options;
  options.most_response = 1000;
  const auto call = get(world, owner, "/", options);
  ASSERT_TRUE(world.until([&] { return call->ended(); }));
  EXPECT_EQ(call->end(), AsyncCall::End::kTooBig);
}

TEST(AsyncCall, SendsABodyInPieces) {
  World world;
  H2Peer peer(world.loop);
  peer.answerAll(201, "made");
  world.serve(h2Spec("a", {peer.address}));
  Caller owner;
  AsyncCall call(world.cluster("a"), owner, {});
  call.head().method = "POST";
  call.head().path = "/upload";
  call.start(false);
  base::Buffer piece;
  piece.append(std::string_view("one "));
  EXPECT_EQ(call.send(piece, false), http::Room::kMore);
  ASSERT_TRUE(world.until([&] { return peer.requests.size() == 1 && peer.requests[0]->body == "one "; }));
  piece.append(std::string_view("two"));
  (void)call.send(piece, true);
  ASSERT_TRUE(world.until([&] { return call.ended(); }));
  EXPECT_EQ(call.status(), 201);
  EXPECT_EQ(owner.body, "made");
  EXPECT_EQ(peer.requests[0]->body, "one two");
}

TEST(AsyncCall, TellsWhenItIsFullAndWhenThereIsRoomAgain) {
  World world;
  H2Peer peer(world.loop);
  peer.settings.initial_stream_window = 65535;
  peer.answerAll(200, "");
  world.serve(h2Spec("a", {peer.address}));
  Caller owner;
  AsyncCall call(world.cluster("a"), owner, {});
  call.head().method = "POST";
  call.head().path = "/";
  call.start(false);
  base::Buffer piece;
  size_t sent = 0;
  while (call.writable()) {
    piece.append(std::string(10000, 'x'));
    (void)call.send(piece, false);
    sent += 10000;
    ASSERT_LT(sent, 1000000u);
  }
  ASSERT_TRUE(world.until([&] { return call.writable(); }));
  (void)call.send(piece, true);
  ASSERT_TRUE(world.until([&] { return call.ended(); }));
  EXPECT_EQ(peer.requests[0]->body.size(), sent);
}

// ---- gRPC ----

struct GrpcCaller final : GrpcCallOwner {
  void onGrpc(GrpcCall& call) override {
    base::Buffer message;
    while (call.next(message)) messages.push_back(message.str());
    ended |= call.ended();
  }
  std::vector<std::string> messages;
  bool ended = false;
};

std::string frame(std::string_view message) {
  base::Buffer out;
  appendGrpcMessage(message, out);
  return out.str();
}

TEST(GrpcCall, UnaryBringsOneMessageAndAStatus) {
  World world;
  H2Peer peer(world.loop);
  peer.script = [](H2Peer::Request& request) {
    if (!request.last) return;
    request.head(200, {{"content-type", "application/grpc"}}, false);
    request.data(frame("answer to " + request.body.substr(kGrpcPrefix)), false);
    request.trailers({{"grpc-status", "0"}});
  };
  world.serve(h2Spec("a", {peer.address}));
  GrpcCaller owner;
  GrpcCall::Options options;
  options.timeout = 2500 * base::kMilli;
  GrpcCall call(world.cluster("a"), owner, options);
  call.head().headers.add("x-token", "t");
  call.start("/test.Service/Ask");
  (void)call.send("question");
  call.finish();
  ASSERT_TRUE(world.until([&] { return owner.ended; }));
  EXPECT_EQ(call.status(), GrpcStatus::kOk);
  EXPECT_EQ(owner.messages, std::vector<std::string>{"answer to question"});
  EXPECT_EQ(peer.requests[0]->path, "/test.Service/Ask");
  EXPECT_EQ(peer.requests[0]->authority, "a");
  const H2Peer::Fields want{{"te", "trailers"}, {"content-type", "application/grpc"}, {"x-token", "t"}, {"grpc-timeout", "2500m"}};
  EXPECT_EQ(peer.requests[0]->fields, want);
}

TEST(GrpcCall, AStreamStaysOpenUntilTheServerEndsIt) {
  World world;
  H2Peer peer(world.loop);
  world.serve(h2Spec("a", {peer.address}));
  GrpcCaller owner;
  GrpcCall call(world.cluster("a"), owner, {});
  call.start("/test.Service/Log");
  for (const char* message : {"a", "b", "c"}) (void)call.send(message);
  ASSERT_TRUE(world.until([&] { return peer.requests.size() == 1 && peer.requests[0]->body == frame("a") + frame("b") + frame("c"); }));
  EXPECT_FALSE(peer.requests[0]->last);
  EXPECT_FALSE(call.ended());
  peer.requests[0]->head(200, {{"content-type", "application/grpc"}}, false);
  peer.requests[0]->data(frame("one").substr(0, 3), false);
  ASSERT_TRUE(world.until([&] { return call.answered(); }));
  EXPECT_TRUE(owner.messages.empty());
  peer.requests[0]->data(frame("one").substr(3) + frame("") + frame("two"), false);
  ASSERT_TRUE(world.until([&] { return owner.messages.size() == 3; }));
  EXPECT_EQ(owner.messages, (std::vector<std::string>{"one", "", "two"}));
  peer.requests[0]->trailers({{"grpc-status", "8"}, {"grpc-message", "too%20much%2"}});
  ASSERT_TRUE(world.until([&] { return owner.ended; }));
  EXPECT_EQ(call.status(), GrpcStatus::kResourceExhausted);
  EXPECT_EQ(call.message(), "too much%2");
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqActive), 0u);
}

TEST(GrpcCall, AStatusMayComeWithTheHead) {
  World world;
  H2Peer peer(world.loop);
  peer.script = [](H2Peer::Request& request) { request.head(200, {{"grpc-status", "12"}, {"grpc-message", "no such method"}}, true); };
  world.serve(h2Spec("a", {peer.address}));
  GrpcCaller owner;
  GrpcCall call(world.cluster("a"), owner, {});
  call.start("/test.Service/None");
  ASSERT_TRUE(world.until([&] { return owner.ended; }));
  EXPECT_EQ(call.status(), GrpcStatus::kUnimplemented);
  EXPECT_EQ(call.message(), "no such method");
}

struct FailureRow {
  int status;
  H2Peer::Fields fields;
  GrpcStatus want;
  const char* message;
};

TEST(GrpcCall, AnswersThatAreNotGrpcHaveAMeaning) {
  const FailureRow rows[] = {
      {503, {}, GrpcStatus::kUnavailable, "HTTP status 503"},
      {404, {}, GrpcStatus::kUnimplemented, "HTTP status 404"},
      {401, {}, GrpcStatus::kUnauthenticated, "HTTP status 401"},
      {200, {}, GrpcStatus::kUnknown, "the response has no grpc-status"},
      {200, {{"grpc-status", "x"}}, GrpcStatus::kUnknown, "grpc-status is no number"},
  };
  for (const FailureRow& row : rows) {
    World world;
    H2Peer peer(world.loop);
    peer.script = [&](H2Peer::Request& request) { request.head(row.status, row.fields, true); };
    world.serve(h2Spec("a", {peer.address}));
    GrpcCaller owner;
    GrpcCall call(world.cluster("a"), owner, {});
    call.start("/s/m");
    ASSERT_TRUE(world.until([&] { return owner.ended; }));
    EXPECT_EQ(call.status(), row.want) << row.message;
    EXPECT_EQ(call.message(), row.message);
  }
}

TEST(GrpcCall, ABrokenStreamIsInternalAndAnAbsentServerUnavailable) {
  World world;
  H2Peer peer(world.loop);
  peer.script = [](H2Peer::Request& request) { request.head(200, {}, false); };
  world.serve(h2Spec("a", {peer.address}));
  {
    GrpcCaller owner;
    GrpcCall call(world.cluster("a"), owner, {});
    call.start("/s/m");
    ASSERT_TRUE(world.until([&] { return call.answered(); }));
    peer.lines[0]->close();
    ASSERT_TRUE(world.until([&] { return owner.ended; }));
    EXPECT_EQ(call.status(), GrpcStatus::kInternal);
    EXPECT_EQ(call.message(), "connection termination");
  }
  world.serve(World::spec("none", {}));
  GrpcCaller owner;
  GrpcCall call(world.cluster("none"), owner, {});
  call.start("/s/m");
  ASSERT_TRUE(world.until([&] { return owner.ended; }));
  EXPECT_EQ(call.status(), GrpcStatus::kUnavailable);
}

TEST(GrpcCall, RefusesMessagesThatItCannotRead) {
  for (const bool compressed : {true, false}) {
    World world;
    H2Peer peer(world.loop);
    std::string wire = frame(std::string(50, 'x'));
    if (compressed) wire[0] = 1;
    peer.script = [&](H2Peer::Request& request) {
      request.head(200, {}, false);
      request.data(wire, false);
    };
    world.serve(h2Spec("a", {peer.address}));
    GrpcCaller owner;
    GrpcCall::Options options;
    options.most_message = compressed ? 100 : 49;
    GrpcCall call(world.cluster("a"), owner, options);
    call.start("/s/m");
    ASSERT_TRUE(world.until([&] { return owner.ended; }));
    EXPECT_EQ(call.status(), compressed ? GrpcStatus::kInternal : GrpcStatus::kResourceExhausted);
    EXPECT_TRUE(owner.messages.empty());
  }
}

TEST(GrpcCall, ItsDeadlineIsToldAndKept) {
  World world;
  H2Peer peer(world.loop);
  world.serve(h2Spec("a", {peer.address}));
  GrpcCaller owner;
  GrpcCall::Options options;
  options.timeout = 30 * base::kMilli;
  GrpcCall call(world.cluster("a"), owner, options);
  call.start("/s/m");
  ASSERT_TRUE(world.until([&] { return owner.ended; }));
  EXPECT_EQ(call.status(), GrpcStatus::kDeadlineExceeded);
  ASSERT_TRUE(world.until([&] { return peer.requests[0]->stream == nullptr; }));  // the server is told: RST_STREAM
  EXPECT_EQ(peer.requests[0]->end_reason, http::ResetReason::kRemoteReset);
}

TEST(GrpcFrames, SurviveEveryCut) {
  const std::string wire = frame("first") + frame("") + frame("third");
  for (size_t piece = 1; piece < wire.size(); ++piece) {
    const GrpcReader reader(100);
    base::Buffer in, message;
    std::vector<std::string> got;
    for (size_t at = 0; at < wire.size(); at += piece) {
      in.append(std::string_view(wire).substr(at, piece));
      while (reader.next(in, message) == GrpcReader::Next::kMessage) got.push_back(message.str());
    }
    EXPECT_EQ(got, (std::vector<std::string>{"first", "", "third"})) << piece;
    EXPECT_TRUE(in.empty());
  }
}

TEST(GrpcFrames, MessagesOfStatusesAreDecoded) {
  EXPECT_EQ(decodeGrpcMessage("a%20b%c3%A4%"), "a b\xc3\xa4%");
  EXPECT_EQ(decodeGrpcMessage("%zz%4"), "%zz%4");
}

}  // namespace
}  // namespace outrider::upstream
