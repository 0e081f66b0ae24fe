#include "source/base/buffer.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace outrider::base {
namespace {

TEST(Buffer, KeepsBytesInOrderAcrossBlocks) {
  Buffer buffer;
  std::string expected;
  for (int i = 0; i < 4000; ++i) {
    const std::string piece = "piece " + std::to_string(i) + ";";
    buffer.append(piece);
    expected += piece;
  }
  EXPECT_EQ(buffer.size(), expected.size());
  EXPECT_EQ(buffer.str(), expected);
  EXPECT_GT(buffer.sliceCount(), 1u);
}

TEST(Buffer, DrainsAcrossSlices) {
  Buffer buffer;
  buffer.appendStatic("hello ");
  buffer.append(std::string(20000, 'x'));
  buffer.appendStatic("tail");
  buffer.drain(6 + 20000);
  EXPECT_EQ(buffer.str(), "tail");
  buffer.drain(4);
  EXPECT_TRUE(buffer.empty());
}

TEST(Buffer, AnEmptyBufferHoldsNoBlock) {
  const size_t before = Block::liveOnThisThread();
  Buffer buffer;
  buffer.append("abc");
  EXPECT_EQ(Block::liveOnThisThread(), before + 1);
  buffer.drain(3);
  EXPECT_EQ(Block::liveOnThisThread(), before);
}

TEST(Buffer, MoveSharesLargeAndFirstPiecesAndCopiesSmallOnesBehindOthers) {
  Buffer from;
  from.append(std::string(5000, 'a'));
  const char* where = from.front().data();
  Buffer to;
  to.move(from, 4000);
  EXPECT_EQ(to.front().data(), where);  // the same bytes
  EXPECT_EQ(from.size(), 1000u);
  to.move(from);
  EXPECT_EQ(to.size(), 5000u);
  EXPECT_TRUE(from.empty());
  Buffer small;
  small.append("tiny");
  const char* tiny = small.front().data();
  Buffer other;
  other.move(small);
  EXPECT_EQ(other.front().data(), tiny);  // alone it moves
  small.append("head ");
  small.move(other);
  EXPECT_EQ(small.sliceCount(), 1u);  // behind another it is copied
  EXPECT_EQ(small.str(), "head tiny");
}

TEST(Buffer, ARingOfSlotsGoesBackWhenTheBufferIsEmpty) {
  Buffer::trimThisThread();
  std::vector<Buffer> many(3);
  for (int round = 0; round < 3; ++round) {
    for (Buffer& buffer : many) {
      for (int i = 0; i < 600; ++i) buffer.append(Slice::ofStatic("ab"));
      EXPECT_EQ(buffer.sliceCount(), 600u);
      buffer.drain(3);
      for (int i = 0; i < 5; ++i) buffer.append(Slice::ofStatic("cd"));
      EXPECT_EQ(buffer.str().substr(0, 3), "bab");
      EXPECT_EQ(buffer.size(), 1207u);
      if (round == 1) {
        buffer.clear();
      } else {
        buffer.drain(1207);
      }
      EXPECT_TRUE(buffer.empty());
      EXPECT_EQ(buffer.sliceCount(), 0u);
    }
  }
  EXPECT_LE(sizeof(Buffer), 72u);  // every connection and stream has several
}

TEST(Buffer, OneByteNeverPinsABlockOfItsOwn) {
  Buffer to;
  for (int i = 0; i < 1000; ++i) {
    Buffer from;
    from.append("x");
    to.move(from);
  }
  EXPECT_EQ(to.size(), 1000u);
  EXPECT_EQ(to.sliceCount(), 1u);
}

TEST(Buffer, SharedBytesDoNotChangeWhenTheOtherBufferGrows) {
  Buffer a;
  a.append(std::string(2000, 'a'));
  Buffer b;
  b.share(a);
  a.append("more");
  b.append("other");
  EXPECT_EQ(b.str(), std::string(2000, 'a') + "other");
  EXPECT_EQ(a.str(), std::string(2000, 'a') + "more");
}

TEST(Buffer, ReserveThenCommitGivesTheBytesWritten) {
  Buffer buffer;
  auto room = buffer.reserve(100);
  ASSERT_GE(room.size, 100u);
  std::memcpy(room.data, "abcdef", 6);
  buffer.commit(6);
  room = buffer.reserve(10);
  std::memcpy(room.data, "gh", 2);
  buffer.commit(2);
  EXPECT_EQ(buffer.str(), "abcdefgh");
  EXPECT_EQ(buffer.sliceCount(), 1u);
}

TEST(Buffer, LinearJoinsTheFrontSlices) {
  Buffer buffer;
  buffer.appendStatic("ab");
  buffer.appendStatic("cd");
  buffer.appendStatic("ef");
  EXPECT_EQ(buffer.linear(3), "abc");
  EXPECT_EQ(buffer.str(), "abcdef");
  EXPECT_EQ(buffer.linear(6), "abcdef");
}

TEST(Buffer, SwapsAndMovesWithInlineAndGrownSlots) {
  Buffer grown;
  for (int i = 0; i < 9; ++i) grown.append(Slice::ofStatic("0123456789"));
  Buffer inlined;
  inlined.append("in");
  grown.swap(inlined);
  EXPECT_EQ(grown.str(), "in");
  EXPECT_EQ(inlined.size(), 90u);
  Buffer moved(std::move(inlined));
  EXPECT_EQ(moved.size(), 90u);
  EXPECT_TRUE(inlined.empty());
  inlined = std::move(grown);
  EXPECT_EQ(inlined.str(), "in");
}

TEST(Buffer, SharedImmutableBytesLiveAsLongAsTheirLastSlice) {
  auto* shared = new SharedBytes("page");
  Buffer buffer;
  buffer.append(Slice::ofShared(*shared));
  shared->unref();
  EXPECT_EQ(buffer.str(), "page");
}

}  // namespace
}  // namespace outrider::base
