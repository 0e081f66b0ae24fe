// Statistics as text: quantiles and buckets of histograms, numbers, and the metric names and labels of Prometheus.
// Pure functions; thread: any. Sources: Envoy's operations guide ("stats", "statistics"), its default tags; OpenHistogram.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "source/stats/stats.h"

namespace outrider::stats {

inline constexpr std::array<double, 10> kQuantiles = {0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1};
// Envoy's upper bounds, in the unit of the value (milliseconds mostly).
inline constexpr std::array<double, 19> kBuckets = {0.5,  1,    5,     10,    25,    50,     100,    250,     500,    1000,
                                                    2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000};

// NaN when nothing was recorded.
double quantile(const Histogram::Sample& sample, double q);
std::array<double, kQuantiles.size()> quantiles(const Histogram::Sample& sample);
// How many values are at or below each of kBuckets.
std::array<uint64_t, kBuckets.size()> cumulative(const Histogram::Sample& sample);

// The shortest text that reads back as the same number; "nan" for no number.
std::string numberText(double value);

// Adds name="value" with what Prometheus wants escaped.
void appendLabel(std::string& labels, std::string_view name, std::string_view value);

// What a scope's prefix gives to the names of its statistics: "cluster.a.circuit_breakers.high." is the metric
// "cluster_circuit_breakers_high_" with the label envoy_cluster_name="a".
struct PrefixTags {
  std::string metric;
  std::string labels;  // a="b",c="d"; escaped
};
PrefixTags prefixTags(std::string_view prefix);

// And a name within a scope: "upstream_rq_503" is the metric "upstream_rq" with envoy_response_code="503".
struct NameTags {
  std::string metric;
  std::string labels;
};
NameTags nameTags(std::string_view name);

}  // namespace outrider::stats
