// Cost of finding a route, the last one of 1 to 10,000: each kind of path, with and without case, regular expressions with a literal
// prefix of their own and all behind one.
#include <benchmark/benchmark.h>

#include "source/config/route_table.h"

namespace outrider::config {
namespace {

using Path = RouteMatchSpec::Path;

void match(benchmark::State& state, Path kind, int count, bool case_sensitive = true, bool shared = false) {
  RouteTableSpec spec;
  VirtualHostSpec& host = spec.hosts.emplace_back();
  host.domains = {"a.test"};
  for (int i = 0; i < count; ++i) {
    RouteSpec& route = host.routes.emplace_back();
    route.match.kind = kind;
    route.match.path = (shared ? "/[^/]+/" : "/service/") + std::to_string(i) + (kind == Path::kRegex ? "/[a-z]+" : "/api");
    route.match.case_sensitive = case_sensitive;
    route.forward.cluster = "c";
  }
  NameTable names;
  const auto table = *RouteTable::compile(std::move(spec), names);
  base::Arena* arena = base::Arena::create();
  {
    http::RequestHead head(*arena);
    head.method = "GET";
    head.authority = "a.test";
    const std::string path = "/service/" + std::to_string(count - 1) + "/api";
    head.path = path;
    if (table->match(head, {}) == nullptr) state.SkipWithError("no match");
    for (auto _ : state) benchmark::DoNotOptimize(table->match(head, {}));
  }
  arena->unref();
}

BENCHMARK_CAPTURE(match, prefix_1, Path::kPrefix, 1);
BENCHMARK_CAPTURE(match, prefix_6, Path::kPrefix, 6);
BENCHMARK_CAPTURE(match, prefix_100, Path::kPrefix, 100);
BENCHMARK_CAPTURE(match, prefix_1000, Path::kPrefix, 1000);
BENCHMARK_CAPTURE(match, prefix_10000, Path::kPrefix, 10000);
BENCHMARK_CAPTURE(match, prefix_10000_any_case, Path::kPrefix, 10000, false);
BENCHMARK_CAPTURE(match, exact_1, Path::kExact, 1);
BENCHMARK_CAPTURE(match, exact_10000, Path::kExact, 10000);
BENCHMARK_CAPTURE(match, exact_10000_any_case, Path::kExact, 10000, false);
BENCHMARK_CAPTURE(match, regex_1, Path::kRegex, 1);
BENCHMARK_CAPTURE(match, regex_10000, Path::kRegex, 10000);
BENCHMARK_CAPTURE(match, regex_1000_one_prefix, Path::kRegex, 1000, true, true);
BENCHMARK_CAPTURE(match, regex_10000_one_prefix, Path::kRegex, 10000, true, true);

}  // namespace
}  // namespace outrider::config

BENCHMARK_MAIN();
