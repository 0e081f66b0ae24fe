#include "source/config/scope_key.h"

#include <gtest/gtest.h>

namespace outrider::config {
namespace {

class ScopeKeyTest : public testing::Test {
 protected:
  ~ScopeKeyTest() override { arena_->unref(); }
  RouteTableId find(const ScopeKeySpec& spec) const { return index_.find(ScopeKey(spec), head_); }

  base::Arena* arena_ = base::Arena::create();
  http::RequestHead head_{*arena_};
  ScopeIndex index_;
};

TEST_F(ScopeKeyTest, AHeadersValueNamesTheScope) {
  index_.add({"s", "r", {"blue"}}, 7);
  const ScopeKeySpec spec{{{.header = "x-scope"}}};
  EXPECT_EQ(find(spec), kNoRouteTable);
  head_.headers.add("x-scope", "blue");
  EXPECT_EQ(find(spec), 7u);
}

TEST_F(ScopeKeyTest, AnElementIsFoundByPositionOrByKey) {
  index_.add({"s", "r", {"b", "2"}}, 1);
  head_.headers.add("x-list", "a,b,c");
  head_.headers.add("x-map", "k=1;n=2;n=3;flag");
  const ScopeKeySpec::Fragment second{.header = "x-list", .element_separator = ",", .index = 1};
  const ScopeKeySpec::Fragment named{.header = "x-map", .element_separator = ";", .by_key = true, .key = "n", .key_separator = "="};
  EXPECT_EQ(find({{second, named}}), 1u);
  EXPECT_EQ(find({{named, second}}), kNoRouteTable);
  ScopeKeySpec::Fragment past = second;
  past.index = 3;
  EXPECT_EQ(find({{past, named}}), kNoRouteTable);
  ScopeKeySpec::Fragment unknown = named;
  unknown.key = "none";
  EXPECT_EQ(find({{second, unknown}}), kNoRouteTable);
}

TEST_F(ScopeKeyTest, FragmentsDoNotRunIntoEachOther) {
  EXPECT_TRUE(index_.add({"a", "r", {"ab", "c"}}, 1));
  EXPECT_TRUE(index_.add({"b", "r", {"a", "bc"}}, 2));
  EXPECT_FALSE(index_.add({"c", "r", {"a", "bc"}}, 3));
  head_.headers.add("x", "a");
  head_.headers.add("y", "bc");
  EXPECT_EQ(find({{{.header = "x"}, {.header = "y"}}}), 2u);
}

}  // namespace
}  // namespace outrider::config
