#include "source/event/loop.h"

#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace outrider::event {
namespace {

struct Story {
  std::vector<std::string> lines;
};

TEST(Loop, ATurnGoesSocketsDeferredTimersMailboxFlushGraveyard) {
  base::FakeClock clock;
  Loop loop(clock);
  Story story;
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);

  struct Grave final : Retired {
    explicit Grave(Story& s) : story(s) {}
    ~Grave() override { story.lines.push_back("grave"); }
    Story& story;
  };
  struct Socket final : IoHandler, Dirty {
    Socket(Loop& l, Story& s)
        : loop(l), story(s), later(Deferred::to<&Socket::run>(this)), timer(Timer::to<&Socket::tick>(l.timers(), this)) {}
    void onReady(uint32_t) override {
      story.lines.push_back("socket");
      loop.retire(new Grave(story));
      loop.dirty(*this);
      loop.defer(later);
    }
    void run() { story.lines.push_back("deferred"); }
    void tick() { story.lines.push_back("timer"); }
    void flush() override { story.lines.push_back("flush"); }
    Loop& loop;
    Story& story;
    Deferred later;
    Timer timer;
  } socket(loop, story);

  ASSERT_EQ(loop.add(fds[0], socket, EPOLLIN | EPOLLET), 0);
  socket.timer.armIn(base::kMilli);
  loop.mailbox().post([&] { story.lines.push_back("letter"); });
  ASSERT_EQ(::write(fds[1], "x", 1), 1);
  clock.advance(2 * base::kMilli);
  EXPECT_TRUE(loop.turn(0));
  EXPECT_EQ(story.lines, (std::vector<std::string>{"socket", "deferred", "timer", "letter", "flush", "grave"}));
  EXPECT_FALSE(loop.turn(0));
  loop.remove(fds[0], socket);
  ::close(fds[0]);
  ::close(fds[1]);
}

TEST(Loop, ATimerArmedAfterALongWaitCountsFromItsEnd) {
  base::FakeClock clock;
  Loop loop(clock);
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  struct Socket final : IoHandler {
    explicit Socket(Loop& l) : timer(Timer::to<&Socket::tick>(l.timers(), this)) {}
    void onReady(uint32_t) override { timer.armIn(100 * base::kMilli); }
    void tick() { fired = true; }
    Timer timer;
    bool fired = false;
  } socket(loop);
  ASSERT_EQ(loop.add(fds[0], socket, EPOLLIN | EPOLLET), 0);
  ASSERT_EQ(::write(fds[1], "x", 1), 1);
  clock.advance(10 * base::kSecond);  // the loop slept
  loop.turn(0);
  EXPECT_FALSE(socket.fired);
  clock.advance(99 * base::kMilli);
  loop.turn(0);
  EXPECT_FALSE(socket.fired);
  clock.advance(2 * base::kMilli);
  loop.turn(0);
  EXPECT_TRUE(socket.fired);
  loop.remove(fds[0], socket);
  ::close(fds[0]);
  ::close(fds[1]);
}

TEST(Loop, AHandlerRemovedByAnotherInTheSameBatchIsNotCalled) {
  base::FakeClock clock;
  Loop loop(clock);
  int a[2], b[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
  struct Killer final : IoHandler {
    Loop* loop = nullptr;
    Killer* other = nullptr;
    int other_fd = -1;
    int calls = 0;
    void onReady(uint32_t) override {
      ++calls;
      loop->remove(other_fd, *other);
    }
  } one, two;
  one.loop = two.loop = &loop;
  one.other = &two, one.other_fd = b[0];
  two.other = &one, two.other_fd = a[0];
  loop.add(a[0], one, EPOLLIN);
  loop.add(b[0], two, EPOLLIN);
  ASSERT_EQ(::write(a[1], "x", 1), 1);
  ASSERT_EQ(::write(b[1], "x", 1), 1);
  loop.turn(0);
  EXPECT_EQ(one.calls + two.calls, 1);
  for (int fd : {a[0], a[1], b[0], b[1]}) ::close(fd);
}

TEST(Loop, LettersOfOtherThreadsArriveInOrderAndNoneIsLost) {
  Loop loop;
  constexpr int kThreads = 4, kEach = 5000;
  std::vector<std::vector<int>> seen(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) loop.mailbox().post([&seen, t, i] { seen[t].push_back(i); });
    });
  }
  size_t total = 0;
  while (total < size_t{kThreads} * kEach) {
    loop.turn(1000);
    total = 0;
    for (const auto& each : seen) total += each.size();
  }
  for (auto& thread : threads) thread.join();
  for (const auto& each : seen) {
    for (int i = 0; i < kEach; ++i) ASSERT_EQ(each[i], i);
  }
}

TEST(Loop, LettersThatATurnHasNoTimeForWaitInOrder) {
  base::FakeClock clock;
  Loop loop(clock);
  std::vector<int> seen;
  for (int i = 0; i < 4; ++i) {
    loop.mailbox().post([&, i] {
      seen.push_back(i);
      clock.advance(1500 * base::kMicro);
    });
  }
  EXPECT_TRUE(loop.turn(0));
  EXPECT_EQ(seen, (std::vector<int>{0, 1}));  // then the turn was longer than its 2 ms
  loop.mailbox().post([&] { seen.push_back(4); });
  EXPECT_TRUE(loop.turn(-1));  // does not wait
  EXPECT_EQ(seen, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_TRUE(loop.turn(-1));
  EXPECT_EQ(seen, (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT_FALSE(loop.turn(0));
}

TEST(Loop, AnswersToALetterAreForTheNextTurn) {
  base::FakeClock clock;
  Loop loop(clock);
  int runs = 0;
  loop.mailbox().post([&] {
    ++runs;
    loop.mailbox().post([&] { ++runs; });
  });
  loop.turn(0);
  EXPECT_EQ(runs, 1);
  loop.turn(0);
  EXPECT_EQ(runs, 2);
}

TEST(Loop, LettersThatNobodyReadsAreDestroyedUnread) {
  base::FakeClock clock;
  const auto carried = std::make_shared<int>(1);
  int runs = 0;
  {
    Loop loop(clock);
    for (int i = 0; i < 3; ++i) {
      loop.mailbox().post([&, carried] {
        ++runs;
        clock.advance(base::kSecond);
      });
    }
    loop.turn(0);
    EXPECT_EQ(carried.use_count(), 3);
  }
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(carried.use_count(), 1);
}

struct Turns {
  std::vector<base::Nanos> took, late;
  static void see(void* owner, const Loop::Turn& turn) {
    static_cast<Turns*>(owner)->took.push_back(turn.took);
    static_cast<Turns*>(owner)->late.push_back(turn.late);
  }
};

TEST(Loop, TellsOfTurnsThatTookLongerThanAllBefore) {
  base::FakeClock clock;
  Loop loop(clock);
  Turns turns;
  loop.observeTurns(&Turns::see, &turns, false);
  for (const int ms : {5, 3, 5, 8, 1}) {
    loop.mailbox().post([&, ms] { clock.advance(ms * base::kMilli); });
    loop.turn(0);
  }
  EXPECT_EQ(turns.took, (std::vector<base::Nanos>{5 * base::kMilli, 8 * base::kMilli}));
  EXPECT_EQ(loop.figures().longest_turn, 8 * base::kMilli);
}

TEST(Loop, TellsOfEveryTurnAndOfWaitsThatEndedLate) {
  struct SlowClock final : base::Clock {  // every look at it costs a millisecond
    base::Nanos mono() const override { return at += base::kMilli; }
    base::Nanos wall() const override { return at; }
    mutable base::Nanos at = base::kSecond;
  } clock;
  Loop loop(clock);
  Turns turns;
  loop.observeTurns(&Turns::see, &turns, true);
  loop.turn(0);
  loop.mailbox().post([] {});
  loop.turn(-1);
  EXPECT_EQ(turns.took.size(), 2u);
  EXPECT_GE(turns.took[0], base::kMilli);
  EXPECT_EQ(turns.late[0], base::kMilli);  // from the end of the turn before to the start of this one
  EXPECT_EQ(turns.late[1], base::kMilli);  // a waiting letter makes it a wait of 0 ms
}

TEST(Loop, StopFromAnotherThreadEndsTheWait) {
  Loop loop;
  std::thread stopper([&] { loop.stop(); });
  loop.run();
  stopper.join();
}

}  // namespace
}  // namespace outrider::event
