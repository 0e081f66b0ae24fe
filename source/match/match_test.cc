#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "source/match/header_matcher.h"

namespace outrider::match {
namespace {

using Kind = StringMatchSpec::Kind;

class MatchTest : public testing::Test {
 protected:
  ~MatchTest() override { arena_->unref(); }
  base::Arena* arena_ = base::Arena::create();
  http::RequestHead head_{*arena_};

  bool string(Kind kind, std::string value, std::string_view text, bool fold = false) {
    return StringMatcher::compile({kind, std::move(value), fold})->matches(text);
  }
  bool header(const HeaderMatchSpec& spec) { return HeaderMatcher::compile(spec)->matches(head_); }
};

TEST_F(MatchTest, StringsMatchAsTheirKindSays) {
  EXPECT_TRUE(string(Kind::kExact, "Ab", "Ab"));
  EXPECT_FALSE(string(Kind::kExact, "Ab", "aB"));
  EXPECT_TRUE(string(Kind::kExact, "Ab", "aB", true));
  EXPECT_TRUE(string(Kind::kPrefix, "/a", "/ab"));
  EXPECT_FALSE(string(Kind::kPrefix, "/ab", "/a"));
  EXPECT_TRUE(string(Kind::kSuffix, ".COM", "x.com", true));
  EXPECT_TRUE(string(Kind::kContains, "bc", "abcd"));
  EXPECT_TRUE(string(Kind::kContains, "Bc", "aBCd", true));
  EXPECT_FALSE(string(Kind::kContains, "bx", "abcd", true));
  EXPECT_TRUE(string(Kind::kRegex, "a.*d", "abcd"));
  EXPECT_FALSE(string(Kind::kRegex, "b.", "abcd"));
}

TEST_F(MatchTest, ARegexSeesBytesWhetherOrNotTheyAreUtf8) {
  EXPECT_TRUE(string(Kind::kRegex, ".*", "\xff"));
  EXPECT_TRUE(string(Kind::kRegex, "caf\xc3\xa9", "caf\xc3\xa9"));
  EXPECT_FALSE(StringMatcher::compile({Kind::kRegex, "a(", false}).ok());
}

TEST_F(MatchTest, SubstitutionReplacesEveryMatchAsRe2Does) {
  const auto sub = [&](std::string_view pattern, std::string_view with, std::string_view text) {
    return (*Regex::compile(pattern))->replaceAll(text, with, *arena_);
  };
  EXPECT_EQ(sub("^/service/([^/]+)(/.*)$", "\\2/instance/\\1", "/service/foo/v1/api"), "/v1/api/instance/foo");
  EXPECT_EQ(sub("one", "two", "/xxx/one/yyy/one/zzz"), "/xxx/two/yyy/two/zzz");
  EXPECT_EQ(sub("x*", "-", "baxd"), "-b-a-d-");
  EXPECT_EQ(sub("q", "-", "abc"), "abc");
  EXPECT_EQ(sub("b", "\\\\\\0", "abc"), "a\\bc");
  EXPECT_NE((*Regex::compile("a"))->checkSubstitution("\\1"), "");
  EXPECT_EQ((*Regex::compile("(a)"))->checkSubstitution("\\1"), "");
}

TEST_F(MatchTest, TheLiteralPrefixIsWhatEveryMatchBeginsWith) {
  const struct {
    const char* pattern;
    const char* prefix;
  } rows[] = {{"/api/v1/.*", "/api/v1/"}, {"/a\\.b/x?", "/a.b/"}, {"/ab*", "/a"}, {"/a|/b", ""},     {"(?i)/a", ""}, {"^/x/[0-9]+", "/x/"},
              {"/ab+c", "/ab"},           {"/a{0,2}", "/"},       {"\\d", ""},    {"/a(b|c)", "/a"}, {"", ""},       {"/a$", "/a"},
              {"\\Q/a|\\E", ""},          {"/\\x41", "/"}};
  for (const auto& row : rows) EXPECT_EQ(Regex::literalPrefix(row.pattern), row.prefix) << row.pattern;
}

TEST_F(MatchTest, ASetNamesAllPatternsThatMatch) {
  RegexSet set;
  ASSERT_TRUE(set.add("/a/.*").ok());
  ASSERT_TRUE(set.add("/b").ok());
  ASSERT_TRUE(set.add("/a/[0-9]+").ok());
  ASSERT_TRUE(set.build());
  std::vector<int> hits;
  ASSERT_TRUE(set.match("/a/12", hits));
  std::sort(hits.begin(), hits.end());
  EXPECT_EQ(hits, (std::vector<int>{0, 2}));
  ASSERT_TRUE(set.match("/c", hits));
  EXPECT_TRUE(hits.empty());
}

TEST_F(MatchTest, ASetThatKeepsForgettingGivesUpAndIsNeverWrong) {
  // Which of the last thirteen bytes were an 'a' is a state each: more than the automaton's memory holds.
  RegexSet set(96 << 10);
  std::vector<std::shared_ptr<const Regex>> alone;
  for (const char* end : {"x", "y", "[xy]"}) {
    const std::string pattern = std::string("/[ab]*a[ab]{12}") + end;
    ASSERT_TRUE(set.add(pattern).ok());
    alone.push_back(*Regex::compile(pattern));
  }
  ASSERT_TRUE(set.build());
  std::mt19937 random(7);
  std::vector<int> hits;
  size_t answered = 0, matched = 0, last = 0;
  for (size_t i = 0; i < 300; ++i) {
    std::string text = "/";
    for (int n = 0; n < 200; ++n) text += random() % 2 == 0 ? 'a' : 'b';
    text += random() % 2 == 0 ? 'x' : 'y';
    if (!set.match(text, hits)) continue;
    ++answered;
    last = i;
    for (int at = 0; at < 3; ++at) {
      const bool hit = std::find(hits.begin(), hits.end(), at) != hits.end();
      EXPECT_EQ(hit, alone[static_cast<size_t>(at)]->fullMatch(text)) << text;
      matched += hit;
    }
  }
  EXPECT_GT(answered, 0u);
  EXPECT_GT(matched, 0u);
  EXPECT_LT(last, 299u) << "it never gave up";
  EXPECT_FALSE(set.match("/", hits)) << "and stays so";
}

TEST_F(MatchTest, ASetThatFitsItsMemoryAnswersForEver) {
  RegexSet set;
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(set.add("/service-" + std::to_string(i) + "/[0-9]+").ok());
  ASSERT_TRUE(set.build());
  std::vector<int> hits;
  for (int i = 0; i < 5000; ++i) {
    ASSERT_TRUE(set.match("/service-" + std::to_string(i % 20) + "/" + std::to_string(i), hits));
    ASSERT_EQ(hits, std::vector<int>{i % 20});
  }
}

TEST_F(MatchTest, HeaderMatchersFollowEnvoyOnPresenceAndInversion) {
  head_.headers.add("x-a", "1");
  HeaderMatchSpec present{.name = "X-A"};
  EXPECT_TRUE(header(present));
  present.invert = true;
  EXPECT_FALSE(header(present));
  HeaderMatchSpec absent{.name = "x-b", .present = false};
  EXPECT_TRUE(header(absent));
  absent.invert = true;
  EXPECT_FALSE(header(absent));
  HeaderMatchSpec missing{.name = "x-b", .invert = true};
  EXPECT_TRUE(header(missing));
  HeaderMatchSpec exact{.name = "x-b", .kind = HeaderMatchSpec::Kind::kString, .string = {Kind::kExact, "1", false}};
  EXPECT_FALSE(header(exact));
  exact.invert = true;
  EXPECT_FALSE(header(exact)) << "an absent field fails an inverted test too";
  exact.missing_as_empty = true;
  EXPECT_TRUE(header(exact));
}

TEST_F(MatchTest, RangesAreHalfOpenAndWantANumber) {
  head_.headers.add("x-n", "10");
  HeaderMatchSpec range{.name = "x-n", .kind = HeaderMatchSpec::Kind::kRange, .from = 0, .to = 10};
  EXPECT_FALSE(header(range));
  range.to = 11;
  EXPECT_TRUE(header(range));
  range.name = "x-none";
  EXPECT_FALSE(header(range));
}

TEST_F(MatchTest, OneOfSeveralFieldsOfOneNameIsEnough) {
  head_.headers.add("x-role", "ok");
  head_.headers.add("x-role", "bad");
  const auto exact = [&](std::string value, bool invert = false) {
    return header(
        {.name = "x-role", .kind = HeaderMatchSpec::Kind::kString, .string = {Kind::kExact, std::move(value), false}, .invert = invert});
  };
  EXPECT_TRUE(exact("ok"));
  EXPECT_TRUE(exact("bad"));
  EXPECT_FALSE(exact("ok,bad"));
  EXPECT_FALSE(exact("ok", true)) << "an inverted test wants none to hold";
  EXPECT_TRUE(exact("other", true));
}

TEST_F(MatchTest, PseudoHeadersAreFieldsToo) {
  head_.method = "GET";
  head_.authority = "h.test";
  head_.path = "/a?b";
  head_.upgrade = "websocket";
  const auto exact = [&](std::string name, std::string value) {
    return header({.name = std::move(name), .kind = HeaderMatchSpec::Kind::kString, .string = {Kind::kExact, std::move(value), false}});
  };
  EXPECT_TRUE(exact(":method", "GET"));
  EXPECT_TRUE(exact("host", "h.test"));
  EXPECT_TRUE(exact(":authority", "h.test"));
  EXPECT_TRUE(exact(":path", "/a?b"));
  EXPECT_TRUE(exact("upgrade", "websocket"));
  EXPECT_FALSE(exact(":status", "200"));
}

}  // namespace
}  // namespace outrider::match
