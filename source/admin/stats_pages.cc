// /stats as text and as JSON.
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "source/admin/page.h"
#include "source/admin/stats_query.h"
#include "source/base/absl_compat.h"
#include "source/config/json_print.h"
#include "source/stats/print.h"
#include "source/stats/walk.h"

namespace outrider::admin {
namespace {

using stats::Item;
using stats::Kind;

constexpr int kMostGroups = 64;  // a piece

// Text readouts, then counters and gauges by name, then histograms, as Envoy orders them.
class StatsPieces : public Pieces {
 public:
  StatsPieces(const Sources& sources, StatsQuery query)
      : query_(std::move(query)), sources_(sources), store_(sources.stats), refresh_(sources), walk_(sources.stats) {}

  bool next(std::string& out) final {
    const size_t end = out.size() + kPieceBytes;
    const Slice slice(sources_);
    if (phase_ == Phase::kRefresh) {
      if (!refresh_.step()) phase_ = Phase::kTexts;
      return true;
    }
    if (phase_ == Phase::kTexts) {
      begin(out);
      if (query_.wants(StatsQuery::Type::kTexts)) {
        for (const auto& [name, value] : store_.texts([this](const std::string& each) { return query_.takeName(each); })) {
          text(name, value, out);
        }
      }
      phase_ = Phase::kNumbers;
      if (!query_.wantsNumbers()) startHistograms();
    }
    for (int groups = 0; groups < kMostGroups && out.size() < end && !slice.over(); ++groups) {
      items_.clear();
      if (phase_ == Phase::kHistograms && !query_.wants(StatsQuery::Type::kHistograms)) {
        finish(out);
        return false;
      }
      if (!walk_.next(items_)) {
        if (phase_ == Phase::kHistograms) {
          finish(out);
          return false;
        }
        startHistograms();
        continue;
      }
      for (const Item& item : items_) {
        if (!query_.take(item)) continue;
        if (item.kind == Kind::kHistogram) {
          histogram(item.name, item.scope->sample(item.index), out);
        } else {
          number(item, out);
        }
      }
    }
    return true;
  }

 protected:
  virtual void begin(std::string&) {}
  virtual void text(const std::string& name, const std::string& value, std::string& out) = 0;
  virtual void number(const Item& item, std::string& out) = 0;
  virtual void histogram(const std::string& name, const stats::Histogram::Sample& sample, std::string& out) = 0;
  virtual void finish(std::string&) {}

  const StatsQuery query_;

 private:
  enum class Phase : uint8_t { kRefresh, kTexts, kNumbers, kHistograms };
  void startHistograms() {
    phase_ = Phase::kHistograms;
    walk_ = stats::Walk(store_, stats::Walk::Want::kHistograms);
  }

  const Sources& sources_;
  const stats::Store& store_;
  GaugeRefresh refresh_;
  stats::Walk walk_;
  std::vector<Item> items_;
  Phase phase_ = Phase::kRefresh;
};

// Envoy tells an interval (since the last flush) and all there was; there is no flush here, so intervals hold nothing.
std::string summaryText(const stats::Histogram::Sample& sample) {
  std::string out;
  const auto values = stats::quantiles(sample);
  for (size_t i = 0; i < values.size(); ++i) {
    absl::StrAppend(&out, i == 0 ? "P" : " P", stats::numberText(stats::kQuantiles[i] * 100), "(nan,", stats::numberText(values[i]), ")");
  }
  return out;
}

class TextPieces final : public StatsPieces {
 public:
  using StatsPieces::StatsPieces;

 private:
  void text(const std::string& name, const std::string& value, std::string& out) override {
    absl::StrAppend(&out, name, ": \"", value, "\"\n");
  }
  void number(const Item& item, std::string& out) override { absl::StrAppend(&out, item.name, ": ", item.value, "\n"); }
  void histogram(const std::string& name, const stats::Histogram::Sample& sample, std::string& out) override {
    if (sample.count == 0) {
      absl::StrAppend(&out, name, ": No recorded values\n");
      return;
    }
    switch (query_.buckets) {
      case StatsQuery::Buckets::kSummary: absl::StrAppend(&out, name, ": ", summaryText(sample), "\n"); return;
      case StatsQuery::Buckets::kDetailed: {
        absl::StrAppend(&out, name, ":\n  totals=");
        bool first = true;
        for (const auto& [bin, count] : sample.bins) {
          absl::StrAppend(&out, first ? "" : ", ", stats::numberText(stats::Histogram::binLow(bin)), ",",
                          stats::numberText(stats::Histogram::binWidth(bin)), ":", count);
          first = false;
        }
        absl::StrAppend(&out, "\n  intervals=\n  summary=", summaryText(sample), "\n");
        return;
      }
      case StatsQuery::Buckets::kCumulative:
      case StatsQuery::Buckets::kDisjoint: {
        const auto counts = stats::cumulative(sample);
        absl::StrAppend(&out, name, ":");
        for (size_t i = 0; i < counts.size(); ++i) {
          char bound[32];
          std::snprintf(bound, sizeof bound, "%g", stats::kBuckets[i]);
          absl::StrAppend(&out, " B", bound, "(0,", query_.bucket(counts, i), ")");
        }
        out += "\n";
        return;
      }
    }
  }
};

std::string jsonNumber(double value) { return std::isnan(value) ? "null" : stats::numberText(value); }

class JsonPieces final : public StatsPieces {
 public:
  using StatsPieces::StatsPieces;

 private:
  void begin(std::string& out) override { out += "{\"stats\":["; }
  void text(const std::string& name, const std::string& value, std::string& out) override {
    member(name, out);
    config::appendJsonString(out, value);
    out += '}';
  }
  void number(const Item& item, std::string& out) override {
    member(item.name, out);
    absl::StrAppend(&out, item.value, "}");
  }
  void member(const std::string& name, std::string& out) {
    out += first_ ? "{\"name\":" : ",{\"name\":";
    first_ = false;
    config::appendJsonString(out, name);
    out += ",\"value\":";
  }

  void histogram(const std::string& name, const stats::Histogram::Sample& sample, std::string& out) override {
    using Buckets = StatsQuery::Buckets;
    if (!histograms_) {
      histograms_ = true;
      out += first_ ? "{\"histograms\":" : ",{\"histograms\":";
      if (query_.buckets == Buckets::kSummary || query_.buckets == Buckets::kDetailed) {
        const bool summary = query_.buckets == Buckets::kSummary;
        out += summary ? "{\"supported_quantiles\":[" : "{\"supported_percentiles\":[";
        for (size_t i = 0; i < stats::kQuantiles.size(); ++i)
          absl::StrAppend(&out, i == 0 ? "" : ",", stats::numberText(stats::kQuantiles[i] * 100));
        out += summary ? "],\"computed_quantiles\":[" : "],\"details\":[";
      } else {
        out += '[';
      }
    } else {
      out += ',';
    }
    out += "{\"name\":";
    config::appendJsonString(out, name);
    switch (query_.buckets) {
      case Buckets::kSummary: quantileList("values", sample, out); break;
      case Buckets::kDetailed: {
        out += ",\"totals\":[";
        bool first = true;
        for (const auto& [bin, count] : sample.bins) {
          absl::StrAppend(&out, first ? "" : ",", "{\"lower_bound\":", stats::numberText(stats::Histogram::binLow(bin)),
                          ",\"width\":", stats::numberText(stats::Histogram::binWidth(bin)), ",\"count\":", count, "}");
          first = false;
        }
        out += "],\"intervals\":[]";
        quantileList("percentiles", sample, out);
        break;
      }
      case Buckets::kCumulative:
      case Buckets::kDisjoint: {
        const auto counts = stats::cumulative(sample);
        out += ",\"buckets\":[";
        for (size_t i = 0; i < counts.size(); ++i) {
          absl::StrAppend(&out, i == 0 ? "" : ",", "{\"upper_bound\":", stats::numberText(stats::kBuckets[i]),
                          ",\"interval\":0,\"cumulative\":", query_.bucket(counts, i), "}");
        }
        out += ']';
        break;
      }
    }
    out += '}';
  }
  static void quantileList(absl::string_view key, const stats::Histogram::Sample& sample, std::string& out) {
    absl::StrAppend(&out, ",\"", key, "\":[");
    const auto values = stats::quantiles(sample);
    for (size_t i = 0; i < values.size(); ++i) {
      absl::StrAppend(&out, i == 0 ? "" : ",", "{\"cumulative\":", jsonNumber(values[i]), ",\"interval\":null}");
    }
    out += ']';
  }
  void finish(std::string& out) override {
    if (histograms_) {
      const bool object = query_.buckets == StatsQuery::Buckets::kSummary || query_.buckets == StatsQuery::Buckets::kDetailed;
      out += object ? "]}}" : "]}";
    }
    out += "]}";
  }

  bool first_ = true;
  bool histograms_ = false;
};

Answer stats(const Sources& sources, const Request& request) {
  const std::string* format = request.param("format");
  if (format != nullptr && *format == "prometheus") return prometheus(sources, request);
  const bool json = format != nullptr && *format == "json";
  if (format != nullptr && !json && *format != "text") return Answer::text("usage: /stats?format=(json|prometheus|text)\n\n", 400);
  StatsQuery query;
  if (std::string wrong = query.parse(request); !wrong.empty()) return Answer::text(std::move(wrong), 400);
  sources.refresh();
  if (json) return Answer::stream(std::make_unique<JsonPieces>(sources, std::move(query)), kJson);
  return Answer::stream(std::make_unique<TextPieces>(sources, std::move(query)));
}

}  // namespace

void addStatsPages(Pages& pages, const Sources& sources) {
  const Param used{"usedonly", "Only include stats that have been written by system since restart"};
  const Param filter{"filter", "Regular expression (Google re2) for filtering stats"};
  const Param invert{"invert_filter", "Invert the filter regex"};
  pages.push_back({"/stats",
                   "print server stats",
                   false,
                   [&](const Request& request) { return stats(sources, request); },
                   {used,
                    filter,
                    invert,
                    {"format", "Format to use; One of (text, json, prometheus)"},
                    {"type", "Stat types to include.; One of (All, Counters, Histograms, Gauges, TextReadouts)"},
                    {"histogram_buckets", "Histogram bucket display mode; One of (cumulative, disjoint, detailed, summary)"}}});
  pages.push_back({"/stats/prometheus",
                   "print server stats in prometheus format",
                   false,
                   [&](const Request& request) { return prometheus(sources, request); },
                   {used,
                    {"text_readouts", "Render text_readouts as new gauges with value 0 (increases Prometheus data size)"},
                    filter,
                    invert,
                    {"histogram_buckets", "Histogram bucket display mode; One of (cumulative, summary)"}}});
}

}  // namespace outrider::admin
