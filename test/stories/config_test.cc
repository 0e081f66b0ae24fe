// What a user hears of a bootstrap that cannot serve: each problem once, at its field.
#include <string>

#include "gtest/gtest.h"
#include "source/base/log.h"
#include "source/server/server.h"
#include "test/stories/world.h"

namespace outrider::test {
namespace {

// The text that load() gives; empty: it is fine.
std::string problemsOf(const std::string& yaml) {
  base::Log::setAll(base::LogLevel::kError);
  server::Flags flags;
  flags.config_yaml = yaml;
  flags.concurrency = 1;
  flags.mode = server::Flags::Mode::kValidate;
  const base::FakeClock clock;
  server::Server server(std::move(flags), clock, false);
  return std::string(server.load().message());
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

TEST(Bootstrap, TheEdgeOfTheStoriesIsFine) { EXPECT_EQ(problemsOf(edge({{}, {}, {}, "1"})), ""); }

TEST(Bootstrap, RulesHoldInsideOfExtensions) {
  const std::string found = problemsOf(replaced(edge({{}, {}, {}, "1"}), "stat_prefix: in", "stat_prefix: \"\""));
  EXPECT_NE(found.find("static_resources.listeners[0].filter_chains[0].filters[0].typed_config.stat_prefix"), std::string::npos) << found;
}

TEST(Bootstrap, RulesHoldInsideOfTypedStructs) {
  const std::string yaml = edge({{}, {}, {}, "1"});
  const std::string found = problemsOf(replaced(
      yaml, R"("@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router)",
      R"("@type": type.googleapis.com/xds.type.v3.TypedStruct, type_url: type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, value: { strict_check_headers: [ x-nonsense ] })"));
  EXPECT_NE(found.find("http_filters[0].typed_config.strict_check_headers[0]"), std::string::npos) << found;
}

TEST(Bootstrap, AnUnknownFieldIsAnErrorThatNamesTheNearest) {
  const std::string found = problemsOf(edge({"stream_idle_timout: 3s", {}, {}, "1"}));
  EXPECT_NE(found.find("stream_idle_timout"), std::string::npos) << found;
  EXPECT_NE(found.find("did you mean 'stream_idle_timeout'"), std::string::npos) << found;
}

}  // namespace
}  // namespace outrider::test
