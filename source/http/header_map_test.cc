#include "source/http/header_map.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace outrider::http {
namespace {

class HeaderMapTest : public testing::Test {
 protected:
  ~HeaderMapTest() override { arena_->unref(); }
  std::vector<std::string> lines() const {
    std::vector<std::string> out;
    map_.forEach([&](const Header& h) { out.push_back(std::string(h.name()) + ": " + std::string(h.value())); });
    return out;
  }
  base::Arena* arena_ = base::Arena::create();
  HeaderMap map_{*arena_};
};

TEST(HeaderId, EveryNameOfTheTableFindsItself) {
  for (size_t i = 0; i < kHeaderIds; ++i) {
    const auto id = static_cast<HeaderId>(i);
    EXPECT_EQ(headerId(headerName(id)), id);
    EXPECT_EQ(headerId(std::string(headerName(id)) + "x"), HeaderId::kUnknown);
  }
  EXPECT_EQ(headerId(""), HeaderId::kUnknown);
  EXPECT_EQ(headerId("Host"), HeaderId::kUnknown);  // lower case only
}

TEST_F(HeaderMapTest, KeepsOrderAndFindsKnownAndUnknownNames) {
  map_.add(HeaderId::kAccept, "a");
  map_.add("x-own", "b");
  map_.addCopy("X-Other", "c");
  map_.add(HeaderId::kAccept, "d");
  EXPECT_EQ(lines(), (std::vector<std::string>{"accept: a", "x-own: b", "x-other: c", "accept: d"}));
  EXPECT_EQ(map_.get(HeaderId::kAccept), "a");
  EXPECT_EQ(map_.get("x-other"), "c");
  EXPECT_EQ(map_.find("x-none"), nullptr);
  bool present = false;
  EXPECT_EQ(map_.getAll("accept", present), "a,d");
  EXPECT_TRUE(present);
  map_.getAll("host", present);
  EXPECT_FALSE(present);
}

TEST_F(HeaderMapTest, RemoveAndSetKeepTheIndexRight) {
  map_.add(HeaderId::kVia, "1");
  map_.add(HeaderId::kVia, "2");
  map_.add("x", "y");
  map_.removeIf([](const Header& h) { return h.value() == "1"; });
  EXPECT_EQ(map_.get(HeaderId::kVia), "2");
  EXPECT_EQ(map_.remove(HeaderId::kVia), 1u);
  EXPECT_FALSE(map_.has(HeaderId::kVia));
  map_.set(HeaderId::kVia, "3");
  map_.add("x", "z");
  map_.set("x", "only");
  EXPECT_EQ(lines(), (std::vector<std::string>{"x: only", "via: 3"}));
  EXPECT_EQ(map_.count(), 2u);
  EXPECT_EQ(map_.bytes(), 9u);
}

TEST_F(HeaderMapTest, HoldsMoreFieldsThanItsIndexReaches) {
  for (int i = 0; i < 600; ++i) map_.addCopy("x-" + std::to_string(i), "v");
  map_.add(HeaderId::kHost, "far");
  map_.add(HeaderId::kHost, "further");
  EXPECT_EQ(map_.get(HeaderId::kHost), "far");
  EXPECT_EQ(map_.remove(HeaderId::kHost), 2u);
  EXPECT_EQ(map_.find(HeaderId::kHost), nullptr);
  EXPECT_EQ(map_.get("x-599"), "v");
}

TEST_F(HeaderMapTest, AppendValueJoinsWithAComma) {
  map_.appendValue(HeaderId::kForwardedFor, "1.1.1.1");
  map_.appendValue(HeaderId::kForwardedFor, "2.2.2.2");
  EXPECT_EQ(map_.get(HeaderId::kForwardedFor), "1.1.1.1,2.2.2.2");
}

TEST(HasToken, ReadsListsWithoutCase) {
  EXPECT_TRUE(hasToken("keep-alive, Upgrade", "upgrade"));
  EXPECT_TRUE(hasToken("close", "close"));
  EXPECT_FALSE(hasToken("closed, x-close", "close"));
  EXPECT_FALSE(hasToken("", "close"));
}

}  // namespace
}  // namespace outrider::http
