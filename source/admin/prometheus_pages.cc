// /stats/prometheus: the text format, metric by metric.
#include <map>

#include "absl/strings/str_cat.h"
#include "source/admin/stats_query.h"
#include "source/stats/print.h"
#include "source/stats/walk.h"

namespace outrider::admin {
namespace {

using stats::Kind;

constexpr size_t kMostRows = 2048;    // a piece, unless its time is over
constexpr size_t kMostMembers = 512;  // gathered a piece

// Lines of one metric must stand together, and each scope has some of many: so the living scopes are gathered first, by kind of
// scope, and then each metric goes over the scopes that have it.
class PrometheusPieces final : public Pieces {
 public:
  PrometheusPieces(const Sources& sources, StatsQuery query, bool texts)
      : sources_(sources), store_(sources.stats), query_(std::move(query)), refresh_(sources), texts_(texts) {
    if (texts_) {
      for (const auto& [name, value] : store_.texts()) {
        if (!query_.takeName(name)) continue;
        const size_t dot = name.rfind('.') + 1;
        const stats::PrefixTags prefix = stats::prefixTags(name.substr(0, dot));
        const stats::NameTags tags = stats::nameTags(name.substr(dot));
        std::string labels = prefix.labels;
        stats::appendLabel(labels, "text_value", value);
        metrics_[{1, "envoy_" + prefix.metric + tags.metric}].rows.push_back({std::move(labels), 0});
      }
    }
  }

  bool next(std::string& out) override {
    if (!refreshed_) {
      refreshed_ = !refresh_.step();
      return true;
    }
    const Slice slice(sources_);
    if (!gathered_) {
      gather();
      if (gathered_) at_ = metrics_.begin();
      return true;
    }
    const size_t end = out.size() + kPieceBytes;
    for (size_t rows = 0; rows < kMostRows && out.size() < end; ++rows) {
      if (rows % 32 == 31 && slice.over()) return true;
      if (at_ == metrics_.end()) return false;
      if (!row(out)) {
        ++at_;
        part_ = member_ = row_ = 0;
        typed_ = false;
      }
    }
    return at_ != metrics_.end();
  }

 private:
  struct Member {
    stats::ScopeRef scope;
    std::string labels;
  };
  using Family = std::vector<Member>;  // all scopes of one table under one metric prefix
  struct Row {
    std::string labels;
    uint64_t value;
  };
  struct Part {
    const Family* family;
    size_t index;  // of the statistic in its table
    std::string labels;
  };
  struct Metric {
    std::vector<Part> parts;
    std::vector<Row> rows;  // of series
  };

  static std::string join(const std::string& first, const std::string& second) {
    return first.empty() ? second : second.empty() ? first : first + "," + second;
  }

  void gather() {
    const auto members = store_.membersAfter(last_.empty() ? nullptr : &last_, kMostMembers);
    if (members.empty()) {
      gathered_ = true;
      return;
    }
    last_ = members.back().prefix;
    for (const auto& member : members) {
      if (member.series != nullptr) {
        gatherSeries(member);
      } else {
        stats::PrefixTags tags = stats::prefixTags(member.prefix);
        const auto [at, fresh] = families_.try_emplace({tags.metric, member.scope->table().stats});
        if (fresh) declare(tags.metric, member.scope->table(), at->second);
        at->second.push_back({member.scope, std::move(tags.labels)});
      }
    }
  }

  void declare(const std::string& prefix, const stats::Table& table, const Family& family) {
    for (size_t i = 0; i < table.count; ++i) {
      stats::NameTags tags = stats::nameTags(table.stats[i].name);
      metrics_[{static_cast<int>(table.stats[i].kind), "envoy_" + prefix + tags.metric}].parts.push_back(
          {&family, i, std::move(tags.labels)});
    }
  }

  // "cluster.a.upstream_rq_" belongs to the scope "cluster.a.", "listener.x.ssl.ciphers." to "listener.x.ssl.".
  void gatherSeries(const stats::Store::Member& member) {
    const std::string& prefix = member.prefix;
    const size_t dot = prefix.rfind('.', prefix.empty() ? 0 : prefix.size() - 2) + 1;
    const stats::PrefixTags scope = stats::prefixTags(prefix.substr(0, dot));
    member.series->forEach([&](const std::string& name, uint64_t value) {
      if (!query_.takeName(name)) return;
      const stats::NameTags tags = stats::nameTags(std::string_view(name).substr(dot));
      metrics_[{0, "envoy_" + scope.metric + tags.metric}].rows.push_back({join(tags.labels, scope.labels), value});
    });
  }

  // Writes the next line of the current metric; false: it has no more.
  bool row(std::string& out) {
    const auto& [key, metric] = *at_;
    while (part_ < metric.parts.size()) {
      const Part& part = metric.parts[part_];
      if (member_ == part.family->size()) {
        ++part_;
        member_ = 0;
        continue;
      }
      const Member& member = (*part.family)[member_++];
      if (query_.filter != nullptr &&
          !query_.takeName(absl::StrCat(std::string(member.scope->prefix()), std::string(member.scope->table().stats[part.index].name)))) {
        return true;
      }
      if (static_cast<Kind>(key.first) == Kind::kHistogram) {
        histogram(member.scope->sample(part.index), join(part.labels, member.labels), out);
      } else {
        const stats::Scope::Reading reading = member.scope->read(part.index);
        if (query_.used_only && !reading.used) return true;
        type(out);
        line(key.second, "", part.labels, member.labels, out);
        absl::StrAppend(&out, reading.value, "\n");
      }
      return true;
    }
    if (row_ == metric.rows.size()) return false;
    type(out);
    line(key.second, "", metric.rows[row_].labels, {}, out);
    absl::StrAppend(&out, metric.rows[row_].value, "\n");
    ++row_;
    return true;
  }

  void histogram(const stats::Histogram::Sample& sample, const std::string& labels, std::string& out) {
    if (query_.used_only && sample.count == 0) return;
    type(out);
    const std::string& name = at_->first.second;
    if (query_.buckets == StatsQuery::Buckets::kSummary) {
      const auto values = stats::quantiles(sample);
      for (size_t i = 0; i < values.size(); ++i) {
        line(name, "", labels, "quantile=\"" + stats::numberText(stats::kQuantiles[i]) + "\"", out);
        absl::StrAppend(&out, stats::numberText(values[i]), "\n");
      }
    } else {
      const auto counts = stats::cumulative(sample);
      for (size_t i = 0; i < counts.size(); ++i) {
        const double bound = stats::kBuckets[i];
        line(name, "_bucket", labels,
             absl::StrCat("le=\"", bound < 1 ? stats::numberText(bound) : absl::StrCat(static_cast<uint64_t>(bound)), "\""), out);
        absl::StrAppend(&out, counts[i], "\n");
      }
      line(name, "_bucket", labels, "le=\"+Inf\"", out);
      absl::StrAppend(&out, sample.count, "\n");
    }
    line(name, "_sum", labels, {}, out);
    absl::StrAppend(&out, stats::numberText(sample.sum), "\n");
    line(name, "_count", labels, {}, out);
    absl::StrAppend(&out, sample.count, "\n");
  }

  void type(std::string& out) {
    if (std::exchange(typed_, true)) return;
    const bool summary = query_.buckets == StatsQuery::Buckets::kSummary;
    const absl::string_view kind = at_->first.first == 0 ? "counter" : at_->first.first == 1 ? "gauge" : summary ? "summary" : "histogram";
    absl::StrAppend(&out, "# TYPE ", at_->first.second, " ", kind, "\n");
  }
  static void line(const std::string& name, absl::string_view suffix, const std::string& first, const std::string& second,
                   std::string& out) {
    absl::StrAppend(&out, name, suffix, "{", first, first.empty() || second.empty() ? "" : ",", second, "} ");
  }

  const Sources& sources_;
  const stats::Store& store_;
  const StatsQuery query_;
  GaugeRefresh refresh_;
  const bool texts_;
  std::string last_;
  bool refreshed_ = false, gathered_ = false;
  std::map<std::pair<std::string, const stats::Stat*>, Family> families_;
  std::map<std::pair<int, std::string>, Metric> metrics_;  // by Kind, then name
  std::map<std::pair<int, std::string>, Metric>::iterator at_;
  size_t part_ = 0, member_ = 0, row_ = 0;  // within *at_
  bool typed_ = false;                      // its TYPE line is out
};

}  // namespace

Answer prometheus(const Sources& sources, const Request& request) {
  StatsQuery query;
  query.buckets = StatsQuery::Buckets::kCumulative;
  if (std::string wrong = query.parse(request); !wrong.empty()) return Answer::text(std::move(wrong), 400);
  if (query.buckets != StatsQuery::Buckets::kSummary && query.buckets != StatsQuery::Buckets::kCumulative) {
    return Answer::text("usage: /stats/prometheus?histogram_buckets=(cumulative|summary)\n", 400);
  }
  sources.refresh();
  return Answer::stream(std::make_unique<PrometheusPieces>(sources, std::move(query), request.has("text_readouts")));
}

}  // namespace outrider::admin
