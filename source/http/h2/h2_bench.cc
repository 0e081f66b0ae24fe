// What a request costs in the codecs of both ends together: client encodes, server parses and answers, client parses.
// Time is of one request. Arguments: streams in flight, bytes of the answer's body.
#include <benchmark/benchmark.h>

#include "source/http/h2/lean.h"
#include "source/http/h2/memory.h"

namespace outrider::http::h2 {
namespace {

void exchange(benchmark::State& state) {
  const auto in_flight = static_cast<size_t>(state.range(0));
  testing::LeanPair pair(in_flight, static_cast<size_t>(state.range(1)));
  for (int i = 0; i < 200; ++i) pair.round();
  const uint64_t before = Memory::systemAllocations();
  while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(in_flight))) pair.round();
  state.counters["mallocs"] = static_cast<double>(Memory::systemAllocations() - before);
}
BENCHMARK(exchange)->Args({1, 0})->Args({1, 1024})->Args({20, 0})->Args({20, 1024})->Args({100, 1024})->Args({1, 40000});

void session(benchmark::State& state) {
  for (auto _ : state) testing::LeanPair pair(1, 0);
}
BENCHMARK(session);

}  // namespace
}  // namespace outrider::http::h2

BENCHMARK_MAIN();
