// /stats and /stats/prometheus.
#include "absl/strings/str_cat.h"
#include "source/admin/page.h"
#include "source/base/absl_compat.h"
#include "source/match/regex.h"
#include "source/stats/walk.h"

namespace outrider::admin {
namespace {

constexpr int kMostGroups = 24;      // a piece: about a millisecond when the filter takes none

struct Wanted {
  bool used_only = false;
  std::shared_ptr<const match::Regex> filter;
  bool take(const stats::Item& item) const { return (!used_only || item.used) && (filter == nullptr || filter->partialMatch(item.name)); }
};

class TextPieces final : public Pieces {
 public:
  TextPieces(const Sources& sources, Wanted wanted) : sources_(sources), wanted_(std::move(wanted)), walk_(sources.stats) {}

  bool next(std::string& out) override {
    const size_t end = out.size() + kPieceBytes;
    for (int groups = 0; groups < kMostGroups && out.size() < end; ++groups) {
      items_.clear();
      if (!walk_.next(items_)) return false;
      for (const stats::Item& item : items_) {
        if (item.kind == stats::Kind::kHistogram || !wanted_.take(item)) continue;
        absl::StrAppend(&out, item.name, ": ", item.value, "\n");
      }
    }
    return true;
  }

 private:
  const Sources& sources_;
  const Wanted wanted_;
  stats::Walk walk_;
  std::vector<stats::Item> items_;
};

Answer stats(const Sources& sources, const Request& request) {
  sources.refresh();
  Wanted wanted;
  wanted.used_only = request.has("usedonly");
  if (const std::string* pattern = request.param("filter"); pattern != nullptr && !pattern->empty()) {
    auto compiled = match::Regex::compile(*pattern);
    if (!compiled.ok()) return Answer::text(absl::StrCat("Invalid re2 regex: ", compiled.status().message()), 400);
    wanted.filter = *std::move(compiled);
  }
  return Answer::stream(std::make_unique<TextPieces>(sources, std::move(wanted)));
}

}  // namespace

void addStatsPages(Pages& pages, const Sources& sources) {
  pages.push_back({"/stats", "print server stats", false, [&](const Request& request) { return stats(sources, request); },
                   {{"usedonly", "Only include stats that have been written by system since restart"},
                    {"filter", "Regular expression (Google re2) for filtering stats"}}});
}

}  // namespace outrider::admin
