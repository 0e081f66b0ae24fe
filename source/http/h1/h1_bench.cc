// What the scanning kernels cost beside each other, and one whole proxied exchange through both codecs. Parse and encode of single heads
// are operations of test/bench/micro.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <new>
#include <string>

#include "source/http/h1/bench_messages.h"
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
