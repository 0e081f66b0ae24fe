// The command line of the control plane.
#include "source/server/control_plane.h"

#include <gtest/gtest.h>

#include <vector>

namespace outrider::server {
namespace {

TEST(ControlPlane, WordsItDoesNotKnowAreAUsageError) {
  for (const std::vector<const char*>& words : std::vector<std::vector<const char*>>{{"x"}, {"x", "--dir"}, {"x", "--what", "--dir=y"}}) {
    std::vector<char*> argv;
    for (const char* word : words) argv.push_back(const_cast<char*>(word));
    EXPECT_EQ(runControlPlane(static_cast<int>(argv.size()), argv.data()), 2);
  }
}

}  // namespace
}  // namespace outrider::server
