#include "source/http/h1/header_case.h"

#include <string>

#include <gtest/gtest.h>

#include "source/http/h1/encoder.h"

namespace outrider::http::h1 {
namespace {

class HeaderCase : public testing::Test {
 protected:
  HeaderCase() : arena_(base::Arena::create()) {}
  ~HeaderCase() override { arena_->unref(); }
  std::string respelled(std::string head, const Spelling* spelling, bool proper) {
    respell(head.data(), head.size(), spelling, proper);
    return head;
  }
  const Spelling* record(std::string_view lines, bool proper = false) {
    return recordSpelling(lines.data(), lines.data() + lines.size(), proper, *arena_);
  }
  base::Arena* const arena_;
};

TEST_F(HeaderCase, WordsOfNamesGetCapitalsAndNothingElseChanges) {
  EXPECT_EQ(respelled("GET /a-b:c HTTP/1.1\r\nhost: h\r\nx-two-words: a-b: c\r\nx_one$two.3d4e: v\r\n\r\n", nullptr, true),
            "GET /a-b:c HTTP/1.1\r\nHost: h\r\nX-Two-Words: a-b: c\r\nX_One$Two.3d4e: v\r\n\r\n");
}

TEST_F(HeaderCase, NamesComeBackAsTheyWereSpelledFirst) {
  const Spelling* spelling = record("X-OWN: 1\r\nx-low: 2\r\nx-oWn: 3\r\n goes: On\r\nETag: 4\r\n\r\n");
  ASSERT_NE(spelling, nullptr);
  EXPECT_EQ(respelled("HTTP/1.1 200 OK\r\netag: 1\r\nx-own: 2\r\nx-own: 3\r\nx-low: 4\r\nx-new: 5\r\n\r\n", spelling, true),
            "HTTP/1.1 200 OK\r\nETag: 1\r\nX-OWN: 2\r\nX-OWN: 3\r\nx-low: 4\r\nx-new: 5\r\n\r\n");
}

TEST_F(HeaderCase, NamesThatWereAddedMayHaveCapitals) {
  EXPECT_EQ(respelled("HTTP/1.1 200 OK\r\nx-own: 2\r\nx-low: 3\r\nx-new: 5\r\n\r\n", record("x-OWN: 1\r\nx-low: 3\r\n", true), false),
            "HTTP/1.1 200 OK\r\nx-OWN: 2\r\nx-low: 3\r\nX-New: 5\r\n\r\n");
}

TEST_F(HeaderCase, WhoWritesLowerCaseGetsLowerCase) {
  EXPECT_EQ(respelled("HTTP/1.1 200 OK\r\nx-own: 2\r\nx-new: 5\r\n\r\n", record("x-own: 1\r\n"), true),
            "HTTP/1.1 200 OK\r\nx-own: 2\r\nx-new: 5\r\n\r\n");
}

TEST_F(HeaderCase, BrokenLinesAreLeftAlone) {
  EXPECT_EQ(record("no colon\r\nno end")->count, 0u);
  EXPECT_EQ(respelled("no line", nullptr, true), "no line");
  EXPECT_EQ(respelled("first\r\nno colon\r\n\r\n", nullptr, true), "first\r\nno colon\r\n\r\n");
}

TEST_F(HeaderCase, AHeadLargerThanABlockIsSpelledToo) {
  ResponseHead head(*arena_);
  head.status = 200;
  const std::string large(base::kBlockSize, 'v');
  head.headers.add(std::string_view("x-large"), large);
  head.headers.setSpelling(record("X-LARGE: 1\r\n"));
  base::Buffer out;
  ASSERT_TRUE(encodeResponseHead(head, Protocol::kHttp11, true, OutBody::kNone, ConnectionLine::kNone, out));
  std::string text(out.size(), 0);
  out.copyOut(text.size(), text.data());
  EXPECT_EQ(text, "HTTP/1.1 200 OK\r\nX-LARGE: " + large + "\r\ncontent-length: 0\r\n\r\n");
}

}  // namespace
}  // namespace outrider::http::h1
