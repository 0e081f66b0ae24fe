// In steady state an exchange costs no memory from the allocator: arenas and blocks come back to their thread's free lists.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string>

#include "source/http/h1/client_codec.h"
#include "source/http/h1/server_codec.h"

#if defined(__SANITIZE_ADDRESS__) || defined(OUTRIDER_TSAN)
#define OUTRIDER_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OUTRIDER_SANITIZED 1
#endif
#endif

// Every malloc() of the program is counted, those of operator new, blocks and arenas included.
static std::atomic<uint64_t> allocations{0};

#if defined(OUTRIDER_SANITIZED)
// Of the sanitizers' run-time library; GCC has it without a header.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*, size_t),
                                                         void (*on_free)(const volatile void*));
static const int kHooked = __sanitizer_install_malloc_and_free_hooks(
    [](const volatile void*, size_t) { allocations.fetch_add(1, std::memory_order_relaxed); }, [](const volatile void*) {});
#else
extern "C" void* __libc_malloc(size_t size);
extern "C" void* malloc(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(size);
}
#endif

namespace outrider::http::h1 {
namespace {

// A proxy of one connection on either side, without any text kept.
class Proxy final : public RequestSink, public ServerCodecSink, public ResponseSink, public ClientCodecSink {
 public:
  Proxy() : server(settings, counters, *this, to_client, "http"), client(upstream, counters, *this, to_upstream) {}

  base::Arena& arena() override { return *arena_; }
  // request
  RequestSink& onNewStream(ServerStream& stream) override {
    arena_ = base::Arena::create();
    server_stream = &stream;
    return *this;
  }
  void onRequestHead(RequestHead& head, bool last) override {
    request = &head;
    request_done = last;
  }
  void onRequestData(base::Buffer& data, bool last) override {
    request_body.move(data);
    request_done = last;
  }
  void onRequestTrailers(HeaderMap&) override { request_done = true; }
  void onMalformed(const CodecError& error) override { failure = error.details; }
  void onEnd(ResetReason reason) override {
    if (reason != ResetReason::kNone) failure = "request reset";
    arena_->unref();
    arena_ = nullptr;
    ++exchanges;
  }
  // response
  void onInformational(ResponseHead&) override {}
  void onResponseHead(ResponseHead& head, bool last) override {
    response = &head;
    response_done = last;
  }
  void onResponseData(base::Buffer& data, bool last) override {
    response_body.move(data);
    response_done = last;
  }
  void onResponseTrailers(HeaderMap&) override { response_done = true; }
  void onEnd(ResetReason reason, std::string_view) override {
    if (reason != ResetReason::kNone) failure = "response reset";
  }
  // both
  void onRoom() override {}
  void onOutput() override {}
  void onWantFeed() override {}
  void onIdle() override {}
  void onStreamDone() override {}
  void onGoAway() override {}
  void onCapacity() override {}
  void onConnectionError(std::string_view details) override { failure = details; }

  // The bytes arrive in pieces of `piece`.
  void exchange(std::string_view request_bytes, std::string_view response_bytes, size_t piece) {
    request_done = response_done = false;
    for (; !request_bytes.empty(); request_bytes.remove_prefix(std::min(piece, request_bytes.size()))) {
      from_client.append(request_bytes.substr(0, piece));
      server.feed(from_client);
    }
    ASSERT_TRUE(request_done);
    ClientStream& stream = client.newStream(*this);
    stream.sendHead(*request, request_body.empty());
    if (!request_body.empty()) (void)stream.sendData(request_body, true);
    sent_up = to_upstream.size();
    to_upstream.clear();
    for (; !response_bytes.empty(); response_bytes.remove_prefix(std::min(piece, response_bytes.size()))) {
      from_upstream.append(response_bytes.substr(0, piece));
      client.feed(from_upstream);
    }
    ASSERT_TRUE(response_done);
    server_stream->sendHead(*response, response_body.empty());
    if (!response_body.empty()) (void)server_stream->sendData(response_body, true);
    sent_down = to_client.size();
    to_client.clear();
    server.feed(from_client);
  }

  const Settings settings;
  const Settings upstream = Settings::upstream();
  Counters counters;
  base::Buffer from_client, to_client, from_upstream, to_upstream, request_body, response_body;
  base::Arena* arena_ = nullptr;
  ServerStream* server_stream = nullptr;
  RequestHead* request = nullptr;
  ResponseHead* response = nullptr;
  bool request_done = false;
  bool response_done = false;
  std::string_view failure;
  uint64_t exchanges = 0;
  size_t sent_up = 0;
  size_t sent_down = 0;
  ServerCodec server;
  ClientCodec client;
};

TEST(H1Allocations, AreSeenByTheCount) {
#if defined(OUTRIDER_SANITIZED)
  ASSERT_NE(kHooked, 0);
#endif
  const uint64_t before = allocations.load();
  base::Block::trimThisThread(0);
  base::Block::take()->unref();
  EXPECT_GT(allocations.load(), before);
}

TEST(H1Allocations, NoneForAnExchangeInSteadyState) {
  const std::string fields =
      "Host: shop.example.test\r\nUser-Agent: agent/1.0\r\nAccept: */*\r\nCookie: a=b; c=d\r\nX-Request-Id: 0123456789\r\n"
      "Connection: keep-alive\r\nTE: trailers\r\n";
  const struct {
    const char* what;
    std::string request;
    std::string response;
  } kRows[] = {
      {"empty", "GET / HTTP/1.1\r\n" + fields + "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: x\r\n\r\n"},
      {"length", "POST / HTTP/1.1\r\n" + fields + "Content-Length: 5000\r\n\r\n" + std::string(5000, 'r'),
       "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + std::string(20000, 'a')},
      {"chunked",
       "POST / HTTP/1.1\r\n" + fields + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\nX-T: v\r\n\r\n",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
  };
  for (const auto& row : kRows) {
    for (const size_t piece : {size_t{1} << 20, size_t{997}, size_t{1}}) {
      Proxy proxy;
      for (int i = 0; i < 20; ++i) proxy.exchange(row.request, row.response, piece);
      const uint64_t before = allocations.load();
      for (int i = 0; i < 20; ++i) proxy.exchange(row.request, row.response, piece);
      EXPECT_EQ(allocations.load() - before, 0u) << row.what << " in pieces of " << piece;
      EXPECT_EQ(proxy.failure, "") << row.what;
      EXPECT_EQ(proxy.exchanges, 40u) << row.what;
      EXPECT_GT(proxy.sent_up, 0u);
      EXPECT_GT(proxy.sent_down, 0u);
      EXPECT_FALSE(proxy.client.finished());
      EXPECT_FALSE(proxy.server.finished());
    }
  }
}

}  // namespace
}  // namespace outrider::http::h1
