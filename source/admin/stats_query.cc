#include "source/admin/stats_query.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace outrider::admin {

std::string StatsQuery::parse(const Request& request) {
  used_only = request.has("usedonly");
  invert = request.has("invert_filter");
  if (const std::string* pattern = request.param("filter"); pattern != nullptr && !pattern->empty()) {
    auto compiled = match::Regex::compile(*pattern);
    if (!compiled.ok()) return absl::StrCat("Invalid re2 regex: ", compiled.status().message());
    filter = *std::move(compiled);
  }
  if (const std::string* text = request.param("type"); text != nullptr) {
    if (*text == "All")
      type = Type::kAll;
    else if (*text == "Counters")
      type = Type::kCounters;
    else if (*text == "Gauges")
      type = Type::kGauges;
    else if (*text == "Histograms")
      type = Type::kHistograms;
    else if (*text == "TextReadouts")
      type = Type::kTexts;
    else
      return "invalid &type= param";
  }
  if (const std::string* text = request.param("histogram_buckets"); text != nullptr && !text->empty()) {
    if (*text == "summary" || *text == "none")
      buckets = Buckets::kSummary;
    else if (*text == "cumulative")
      buckets = Buckets::kCumulative;
    else if (*text == "disjoint")
      buckets = Buckets::kDisjoint;
    else if (*text == "detailed")
      buckets = Buckets::kDetailed;
    else
      return "usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary)\n";
  }
  return {};
}

bool GaugeRefresh::step() {
  constexpr size_t kMost = 64;
  const Slice slice(sources_);
  bool more = true;
  do {
    more = sources_.clusters.refreshGauges(at_, kMost);
  } while (more && !slice.over());
  return more;
}

}  // namespace outrider::admin
