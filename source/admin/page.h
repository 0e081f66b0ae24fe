// The pages of the admin endpoint by path, with what /help says of them.
// Thread: main. Lifetime: the Endpoint's. Source: Envoy's operations guide, "Administration interface".
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "source/admin/answer.h"
#include "source/admin/request.h"
#include "source/admin/sources.h"

namespace outrider::admin {

struct Param {
  std::string_view name;
  std::string_view help;
};

struct Page {
  std::string_view path;
  std::string_view help;
  bool mutates;  // POST only
  std::function<Answer(const Request&)> answer;
  std::vector<Param> params;
};

using Pages = std::vector<Page>;  // sorted by path

// Each file adds its pages; `sources` outlives them.
void addServerPages(Pages& pages, const Sources& sources);
void addStatsPages(Pages& pages, const Sources& sources);
void addClusterPages(Pages& pages, const Sources& sources);
void addListenerPages(Pages& pages, const Sources& sources);
void addConfigDumpPages(Pages& pages, const Sources& sources);
void addInitDumpPage(Pages& pages, const Sources& sources);

}  // namespace outrider::admin
