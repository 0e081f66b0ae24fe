// What a request costs the codec: parse, encode, and one whole proxied exchange through both codecs.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <new>
#include <string>

#include "source/http/h1/client_codec.h"
#include "source/http/h1/server_codec.h"

static uint64_t allocations = 0;  // calls of malloc under operator new in this program

// Out of line: the compiler must not match malloc() with a delete it sees through.
[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  void* memory = std::malloc(size);
  if (memory == nullptr) std::abort();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace outrider::http::h1 {
namespace {

// 450 bytes, ten fields, as a browser or a mesh client sends.
const std::string kRequest =
    "GET /api/v1/items/42?fields=name,price HTTP/1.1\r\n"
    "Host: shop.example.test:8080\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-GB,en;q=0.5\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"
    "X-Request-Id: 6a2f1c0e-7b1d-4a51-9c40-1d7c0c6f2a10\r\n"
    "X-Forwarded-For: 10.1.2.3\r\n"
    "Cache-Control: no-cache\r\n"
    "X-Tenant: blue\r\n"
    "\r\n";
const std::string kResponse =
    "HTTP/1.1 200 OK\r\n"
    "Server: nginx/1.22.1\r\n"
    "Date: Wed, 25 Nov 2026 20:00:00 GMT\r\n"
    "Content-Type: application/json\r\n"
    "Content-Length: 1024\r\n"
    "Last-Modified: Wed, 25 Nov 2026 19:00:00 GMT\r\n"
    "ETag: \"6565f0a0-400\"\r\n"
    "Cache-Control: max-age=60\r\n"
    "Vary: Accept-Encoding\r\n"
    "\r\n";
const std::string kBody(1024, 'b');

class Up final : public RequestSink, public ServerCodecSink {
 public:
  base::Arena& arena() override { return *arena_; }
  void onRequestHead(RequestHead& head, bool) override { this->head = &head; }
  void onRequestData(base::Buffer& data, bool) override { data.clear(); }
  void onRequestTrailers(HeaderMap&) override {}
  void onMalformed(const CodecError&) override { std::abort(); }
  void onRoom() override {}
  void onEnd(ResetReason) override { arena_->unref(); }
  RequestSink& onNewStream(ServerStream& stream) override {
    arena_ = base::Arena::create();
    this->stream = &stream;
    return *this;
  }
  void onOutput() override {}
  void onWantFeed() override {}
  void onIdle() override {}
  void onConnectionError(std::string_view) override {}

  RequestHead* head = nullptr;
  ServerStream* stream = nullptr;

 private:
  base::Arena* arena_ = nullptr;
};

class Down final : public ResponseSink, public ClientCodecSink {
 public:
  base::Arena& arena() override { return *shared; }
  void onInformational(ResponseHead&) override {}
  void onResponseHead(ResponseHead& head, bool) override { this->head = &head; }
  void onResponseData(base::Buffer& data, bool) override { body.move(data); }
  void onResponseTrailers(HeaderMap&) override {}
  void onRoom() override {}
  void onEnd(ResetReason reason, std::string_view) override {
    if (reason != ResetReason::kNone) std::abort();
  }
  void onOutput() override {}
  void onWantFeed() override {}
  void onStreamDone() override {}
  void onGoAway() override {}
  void onCapacity() override {}
  void onConnectionError(std::string_view) override { std::abort(); }

  base::Arena* shared = nullptr;
  ResponseHead* head = nullptr;
  base::Buffer body;
};

void findEnd(benchmark::State& state, const Kernels* kernels) {
  if (kernels == nullptr) return state.SkipWithError("not on this processor");
  for (auto _ : state) {
    ScanState scan;
    benchmark::DoNotOptimize(kernels->scan(kRequest.data(), kRequest.size(), scan));
  }
}
BENCHMARK_CAPTURE(findEnd, scalar, &kScalarKernels);
BENCHMARK_CAPTURE(findEnd, sse42, sse42Kernels());
BENCHMARK_CAPTURE(findEnd, avx2, avx2Kernels());

void splitFields(benchmark::State& state, const Kernels* kernels) {
  if (kernels == nullptr) return state.SkipWithError("not on this processor");
  std::string copy = kRequest + std::string(kPadding, '\0');
  char* const from = copy.data() + copy.find('\n') + 1;
  RawField fields[100];
  for (auto _ : state) {
    benchmark::DoNotOptimize(kernels->fields(from, copy.data() + kRequest.size(), fields, 100, false, false));
    benchmark::ClobberMemory();
  }
}
BENCHMARK_CAPTURE(splitFields, scalar, &kScalarKernels);
BENCHMARK_CAPTURE(splitFields, sse42, sse42Kernels());
BENCHMARK_CAPTURE(splitFields, avx2, avx2Kernels());

// Bytes in the buffer to a head in the arena, with the search for the end and the copy.
void parseRequest(benchmark::State& state) {
  const Settings settings;
  Counters counters;
  base::Buffer in;
  HeadFinder finder;
  const uint64_t before = allocations;
  for (auto _ : state) {
    in.append(std::string_view(kRequest));
    base::Arena* arena = base::Arena::create();
    finder.start();
    if (finder.find(in, settings.max_head_bytes) != HeadFinder::Found::kEnd) std::abort();
    char* const raw = takeHead(in, finder.size(), *arena);
    auto* head = arena->make<RequestHead>(*arena);
    Framing framing;
    CodecError error;
    if (!parseRequestHead(raw, finder.size(), settings, counters, "http", *head, framing, error)) std::abort();
    benchmark::DoNotOptimize(head);
    arena->unref();
  }
  state.counters["new"] = static_cast<double>(allocations - before) / static_cast<double>(state.iterations());
  state.counters["bytes"] = static_cast<double>(kRequest.size());
}
BENCHMARK(parseRequest);

// The part of the above that is not the parser's: a buffer that fills and drains, an arena that comes and goes.
void parseBaseline(benchmark::State& state) {
  base::Buffer in;
  for (auto _ : state) {
    in.append(std::string_view(kRequest));
    base::Arena* arena = base::Arena::create();
    benchmark::DoNotOptimize(arena->bytes(10));
    in.drain(kRequest.size());
    arena->unref();
  }
}
BENCHMARK(parseBaseline);

void parseResponse(benchmark::State& state) {
  const Settings settings = Settings::upstream();
  Counters counters;
  base::Buffer in;
  HeadFinder finder;
  for (auto _ : state) {
    in.append(std::string_view(kResponse));
    base::Arena* arena = base::Arena::create();
    finder.start();
    if (finder.find(in, settings.max_head_bytes) != HeadFinder::Found::kEnd) std::abort();
    char* const raw = takeHead(in, finder.size(), *arena);
    auto* head = arena->make<ResponseHead>(*arena);
    Framing framing;
    CodecError error;
    if (!parseResponseHead(raw, finder.size(), settings, counters, {}, *head, framing, error)) std::abort();
    benchmark::DoNotOptimize(head);
    arena->unref();
  }
  state.counters["bytes"] = static_cast<double>(kResponse.size());
}
BENCHMARK(parseResponse);

struct ParsedRequest {
  ParsedRequest() {
    base::Buffer in;
    in.append(std::string_view(kRequest));
    char* const raw = takeHead(in, kRequest.size(), *arena);
    Framing framing;
    CodecError error;
    Counters counters;
    if (!parseRequestHead(raw, kRequest.size(), Settings(), counters, "http", head, framing, error)) std::abort();
    // What a proxy changes.
    head.headers.set(HeaderId::kForwardedFor, "10.1.2.3, 10.9.8.7");
    head.headers.add(HeaderId::kForwardedProto, "http");
    head.headers.add(HeaderId::kEnvoyExpectedRqTimeoutMs, "15000");
  }
  ~ParsedRequest() { arena->unref(); }
  base::Arena* arena = base::Arena::create();
  RequestHead head{*arena};
};

void encodeRequest(benchmark::State& state) {
  ParsedRequest parsed;
  base::Buffer out;
  for (auto _ : state) {
    if (!encodeRequestHead(parsed.head, false, OutBody::kNone, out)) std::abort();
    if (out.size() > 8000) out.clear();
  }
}
BENCHMARK(encodeRequest);

void encodeResponse(benchmark::State& state) {
  base::Arena* arena = base::Arena::create();
  {
    base::Buffer in;
    in.append(std::string_view(kResponse));
    char* const raw = takeHead(in, kResponse.size(), *arena);
    ResponseHead head(*arena);
    Framing framing;
    CodecError error;
    Counters counters;
    if (!parseResponseHead(raw, kResponse.size(), Settings::upstream(), counters, {}, head, framing, error)) std::abort();
    head.headers.set(HeaderId::kServer, "envoy");
    head.headers.add(HeaderId::kEnvoyUpstreamServiceTime, "3");
    base::Buffer out;
    for (auto _ : state) {
      if (!encodeResponseHead(head, Protocol::kHttp11, false, OutBody::kLength, ConnectionLine::kNone, out)) std::abort();
      if (out.size() > 8000) out.clear();
    }
  }
  arena->unref();
}
BENCHMARK(encodeResponse);

// A request through a server codec, on through a client codec, and its 1 KiB answer back.
void exchange(benchmark::State& state) {
  const Settings settings;
  const Settings upstream = Settings::upstream();
  Counters counters;
  Up up;
  Down down;
  base::Buffer from_client, to_client, from_upstream, to_upstream;
  ServerCodec server(settings, counters, up, to_client, "http");
  ClientCodec client(upstream, counters, down, to_upstream);
  const std::string answer = kResponse + kBody;
  uint64_t before = 0;
  uint64_t rounds = 0;
  for (auto _ : state) {
    if (++rounds == 100) before = allocations;
    from_client.append(std::string_view(kRequest));
    server.feed(from_client);
    down.shared = &up.arena();
    ClientStream& stream = client.newStream(down);
    stream.sendHead(*up.head, true);
    to_upstream.drain(to_upstream.size());
    from_upstream.append(std::string_view(answer));
    client.feed(from_upstream);
    up.stream->sendHead(*down.head, false);
    (void)up.stream->sendData(down.body, true);
    server.feed(from_client);
    to_client.drain(to_client.size());
  }
  state.counters["new"] = rounds > 100 ? static_cast<double>(allocations - before) / static_cast<double>(rounds - 99) : 0;
}
BENCHMARK(exchange);

}  // namespace
}  // namespace outrider::http::h1

BENCHMARK_MAIN();
