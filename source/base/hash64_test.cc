#include "source/base/hash64.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace outrider::base {
namespace {

// The library's own published value, and what other proxies reckon.
TEST(XxHash64, HasItsPublishedValues) {
  EXPECT_EQ(xxHash64(""), 0xef46db3751d8e999u);
  EXPECT_EQ(xxHash64("foo"), 3728699739546630719u);
  EXPECT_EQ(xxHash64("bar"), 5234164152756840025u);
  EXPECT_NE(xxHash64("foo", 1), xxHash64("foo"));
}

TEST(MurmurHash2, IsStdHash) {
  std::string text;
  for (int length = 0; length < 70; ++length) {
    EXPECT_EQ(murmurHash2(text), std::hash<std::string>()(text)) << length;
    text += static_cast<char>(length * 37 + 200);
  }
}

}  // namespace
}  // namespace outrider::base
