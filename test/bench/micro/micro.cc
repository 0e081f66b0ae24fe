// micro            times every operation with Google Benchmark (--benchmark_filter=... chooses)
// micro --count    runs each a fixed number of times, and prints "name count" in the order of outriderMeasured()'s calls
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstring>

#include "test/bench/micro/operation.h"

// callgrind knows it by this name: it collects in here alone and writes down what it has at each return.
extern "C" [[gnu::noinline, gnu::visibility("default")]] void outriderMeasured(outrider::bench::Operation& operation, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) operation.run();
}

namespace outrider::bench {
namespace {

int count() {
  for (const Listed& each : operations()) {
    const std::unique_ptr<Operation> operation = each.make();
    for (uint64_t i = 0; i < each.count / 10 + 1; ++i) operation->run();
    outriderMeasured(*operation, each.count);
    std::printf("%s %llu\n", each.name, static_cast<unsigned long long>(each.count));
  }
  return 0;
}

int time(int argc, char** argv) {
  for (const Listed& each : operations()) {
    benchmark::RegisterBenchmark(each.name, [&each](benchmark::State& state) {
      const std::unique_ptr<Operation> operation = each.make();
      for (auto _ : state) operation->run();
    });
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace outrider::bench

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--count") == 0) return outrider::bench::count();
  return outrider::bench::time(argc, argv);
}
