#include "source/net/connection.h"

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "source/net/acceptor.h"
#include "source/net/listen_socket.h"

namespace outrider::net {
namespace {

// A sink that keeps what it hears.
struct Recorder final : ConnectionSink {
  void onConnected() override { connected = true; }
  void onBytes(base::Buffer& in, bool end) override {
    if (!leave) {
      text += in.str();
      in.clear();
    }
    eof |= end;
  }
  void onFlush(base::Buffer&) override {
    ++flushes;
    if (finishes != nullptr) finishes->finishWriting();
  }
  void onRoom() override { ++rooms; }
  void onClosed(CloseReason why) override { closed = why; }
  std::string text;
  bool connected = false, eof = false, leave = false;
  Connection* finishes = nullptr;  // half-closed from every flush
  int flushes = 0, rooms = 0;
  CloseReason closed = CloseReason::kNone;
};

class ConnectionTest : public testing::Test {
 protected:
  ConnectionTest() {
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds_), 0);
    connection_ = std::make_unique<Connection>(loop_, fds_[0], makePlainTransport(), base::Address(), base::Address());
    connection_->setSink(sink_);
    base::Buffer none;
    connection_->startAccepted(none);
    turns();
  }
  ~ConnectionTest() override {
    connection_.reset();
    if (fds_[1] >= 0) ::close(fds_[1]);
  }
  void turns() {
    while (loop_.turn(0)) {
    }
  }
  std::string peerReads() {
    char text[4096];
    const ssize_t n = ::recv(fds_[1], text, sizeof text, MSG_DONTWAIT);
    return n <= 0 ? std::string() : std::string(text, static_cast<size_t>(n));
  }

  base::FakeClock clock_;
  event::Loop loop_{clock_};
  Recorder sink_;
  int fds_[2];
  std::unique_ptr<Connection> connection_;
};

TEST_F(ConnectionTest, ReadsWhatComesAndSeesTheEnd) {
  EXPECT_TRUE(sink_.connected);
  ASSERT_EQ(::write(fds_[1], "hello", 5), 5);
  turns();
  EXPECT_EQ(sink_.text, "hello");
  ASSERT_EQ(::write(fds_[1], "bye", 3), 3);
  ::close(fds_[1]);
  fds_[1] = -1;
  turns();
  EXPECT_EQ(sink_.text, "hellobye");
  EXPECT_TRUE(sink_.eof);
}

TEST_F(ConnectionTest, WritesOnceATurn) {
  connection_->out().append("one ");
  connection_->markDirty();
  connection_->out().append("two");
  connection_->markDirty();
  turns();
  EXPECT_EQ(peerReads(), "one two");
  EXPECT_EQ(sink_.flushes, 1);
}

TEST_F(ConnectionTest, APausedConnectionReadsNothingAndMissesNothing) {
  connection_->pauseReading(Connection::kPauseUpstream);
  ASSERT_EQ(::write(fds_[1], "later", 5), 5);
  turns();
  EXPECT_EQ(sink_.text, "");
  connection_->resumeReading(Connection::kPauseUpstream);
  turns();
  EXPECT_EQ(sink_.text, "later");
}

TEST_F(ConnectionTest, BytesLeftBehindComeAgainWhenAskedFor) {
  sink_.leave = true;
  ASSERT_EQ(::write(fds_[1], "abc", 3), 3);
  turns();
  sink_.leave = false;
  connection_->wantFeed();
  turns();
  EXPECT_EQ(sink_.text, "abc");
}

TEST_F(ConnectionTest, ASlowPeerMakesTheBufferFullAndLaterGivesRoom) {
  connection_->setBufferLimit(1000);
  connection_->out().append(std::string(4 << 20, 'x'));
  connection_->markDirty();
  turns();
  EXPECT_TRUE(connection_->overLimit());
  size_t got = 0;
  for (int i = 0; i < 10000 && got < (4u << 20); ++i) {
    got += peerReads().size();
    turns();
  }
  EXPECT_EQ(got, 4u << 20);
  EXPECT_EQ(sink_.rooms, 1);
}

TEST_F(ConnectionTest, FinishesOnceThoughEveryFlushAsksForIt) {
  sink_.finishes = connection_.get();
  connection_->out().append("last words");
  connection_->markDirty();
  turns();
  EXPECT_EQ(peerReads(), "last words");
  char byte;
  EXPECT_EQ(::recv(fds_[1], &byte, 1, MSG_DONTWAIT), 0);
  EXPECT_LT(sink_.flushes, 4);
  ASSERT_EQ(::write(fds_[1], "on", 2), 2);  // the other way goes on
  turns();
  EXPECT_EQ(sink_.text, "on");
}

TEST_F(ConnectionTest, CloseAfterFlushWritesAllThenEnds) {
  connection_->out().append("last words");
  connection_->closeAfterFlush(base::kSecond);
  turns();
  EXPECT_EQ(peerReads(), "last words");
  EXPECT_EQ(sink_.closed, CloseReason::kNone);  // the peer did not finish yet
  clock_.advance(2 * base::kSecond);
  turns();
  EXPECT_EQ(sink_.closed, CloseReason::kLocal);
}

TEST_F(ConnectionTest, APeerThatIsDoneIsNotWaitedFor) {
  connection_->out().append("last words");
  connection_->closeAfterFlush(base::kSecond, true);
  turns();
  EXPECT_EQ(sink_.closed, CloseReason::kLocal);
  EXPECT_EQ(peerReads(), "last words");
  char byte;
  EXPECT_EQ(::recv(fds_[1], &byte, 1, MSG_DONTWAIT), 0);
}

TEST_F(ConnectionTest, APeerThatIsDoneGetsAllOfAnAnswerThatTheSocketDoesNotTakeAtOnce) {
  connection_->out().append(std::string(4 << 20, 'x'));
  connection_->closeAfterFlush(base::kSecond, true);
  turns();
  EXPECT_EQ(sink_.closed, CloseReason::kNone);
  size_t got = 0;
  for (int i = 0; i < 10000 && got < (4u << 20); ++i) {
    got += peerReads().size();
    turns();
  }
  EXPECT_EQ(got, 4u << 20);
  EXPECT_EQ(sink_.closed, CloseReason::kLocal);
}

TEST_F(ConnectionTest, UnreadBytesOfAPeerThatClaimedToBeDoneDoNotCostItTheAnswer) {
  connection_->pauseReading(Connection::kPauseUpstream);
  ASSERT_EQ(::write(fds_[1], "more", 4), 4);
  turns();
  connection_->out().append("last words");
  connection_->closeAfterFlush(base::kSecond, true);
  turns();
  EXPECT_EQ(sink_.closed, CloseReason::kLocal);
  EXPECT_EQ(peerReads(), "last words");
  char byte;
  EXPECT_EQ(::recv(fds_[1], &byte, 1, MSG_DONTWAIT), 0);  // an end, not a reset
}

TEST_F(ConnectionTest, WhileClosingItReadsOnlySoMuchAway) {  // matrix: 089
  connection_->closeAfterFlush(base::kSecond);
  const std::string piece(65536, 'x');
  size_t taken = 0;
  for (ssize_t n = 1; n > 0 && taken < (16u << 20);) {
    n = ::write(fds_[1], piece.data(), piece.size());
    if (n > 0) taken += static_cast<size_t>(n);
    turns();
  }
  EXPECT_LT(taken, 4u << 20);
  EXPECT_EQ(sink_.text, "");
}

TEST_F(ConnectionTest, APeerThatEndsAfterTheLastBytesEndsTheLinger) {
  connection_->closeAfterFlush(base::kSecond);
  turns();
  ::shutdown(fds_[1], SHUT_WR);
  turns();
  EXPECT_EQ(sink_.closed, CloseReason::kLocal);
}

TEST(Connection, ThatTheKernelDoesNotWatchEndsAtOnce) {
  event::Loop loop;
  // epoll refuses a regular file, as it refuses a socket when there is no memory or the user has too many watches.
  const int file = ::memfd_create("unwatched", MFD_CLOEXEC);
  ASSERT_GE(file, 0);
  Recorder sink;
  Connection connection(loop, file, makePlainTransport(), base::Address(), base::Address());
  connection.setSink(sink);
  base::Buffer none;
  connection.startAccepted(none);
  EXPECT_EQ(sink.closed, CloseReason::kNone);  // never from within the call
  loop.turn(0);
  EXPECT_EQ(sink.closed, CloseReason::kUnwatched);
  EXPECT_EQ(connection.error(), EPERM);
  EXPECT_FALSE(connection.open());
}

TEST(ListenSocket, RefusesAPortThatSomebodyElseHoldsAndServesAllWorkersItself) {
  auto first = ListenSocket::open(*base::Address::parseIpPort("127.0.0.1:0"), {}, 3);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE((*first)->shared());
  EXPECT_NE((*first)->fd(0), (*first)->fd(1));
  const auto second = ListenSocket::open((*first)->local(), {}, 1);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(std::string(second.status().message()).find("Address already in use"), std::string::npos) << second.status();
}

TEST(Connection, ConnectsThroughTheLoopAndTellsAFailedConnect) {
  event::Loop loop;
  auto listening = ListenSocket::open(*base::Address::parseIpPort("127.0.0.1:0"), {}, 1);
  ASSERT_TRUE(listening.ok());
  struct Accepted final : AcceptSink {
    void onAccepted(int fd, const base::Address&) override {
      ++count;
      ::close(fd);
    }
    void onAcceptFailed(int) override {}
    int count = 0;
  } accepted;
  Acceptor acceptor(loop, (*listening)->fd(0), true, accepted);
  const base::Address to = (*listening)->local();
  Recorder good;
  Connection connection(loop, makeSocket(to), makePlainTransport(), base::Address(), to);
  connection.setSink(good);
  connection.startConnect(5 * base::kSecond);
  for (int i = 0; i < 1000 && !(good.connected && accepted.count == 1); ++i) loop.turn(10);
  EXPECT_TRUE(good.connected);
  EXPECT_EQ(connection.local().ip(), "127.0.0.1");

  acceptor.stop();
  const base::Address gone = to;
  *listening = nullptr;
  Recorder bad;
  Connection refused(loop, makeSocket(gone), makePlainTransport(), base::Address(), gone);
  refused.setSink(bad);
  refused.startConnect(5 * base::kSecond);
  for (int i = 0; i < 1000 && bad.closed == CloseReason::kNone; ++i) loop.turn(10);
  EXPECT_EQ(bad.closed, CloseReason::kConnectFailed);
  EXPECT_EQ(refused.error(), ECONNREFUSED);
}

// A handshake that costs much: one byte of the peer's completes it.
class SlowTransport final : public Transport {
 public:
  SlowTransport(int& calls, std::vector<int>& order, int number) : calls_(calls), order_(order), number_(number) {}
  void prime(base::Buffer& prefix) override { prefix.clear(); }
  IoState handshake(int fd) override {
    ++calls_;
    char byte;
    const ssize_t n = ::recv(fd, &byte, 1, 0);
    if (n == 0) return IoState::kEof;
    if (n < 0) return IoState::kAgain;
    if (byte == '.') return IoState::kAgain;  // there is more to come
    order_.push_back(number_);
    return IoState::kOk;
  }
  bool slowHandshake() const override { return true; }
  bool peerSpeaksFirst() const override { return true; }
  IoResult read(int, base::Buffer&, size_t) override { return {IoState::kAgain, 0, true}; }
  IoResult write(int, base::Buffer&) override { return {}; }
  bool hasSealed() const override { return false; }
  bool pending() const override { return false; }
  IoState finishWriting(int) override { return IoState::kOk; }
  std::string_view alpn() const override { return {}; }
  const SecurityInfo* security() override { return nullptr; }
  std::string_view failure() const override { return {}; }

 private:
  int& calls_;
  std::vector<int>& order_;
  const int number_;
};

class SteppingClock final : public base::Clock {
 public:
  base::Nanos mono() const override { return mono_ += step; }
  base::Nanos wall() const override { return mono_; }
  base::Nanos step = 0;  // with each reading

 private:
  mutable base::Nanos mono_ = base::kSecond;
};

class SlowHandshakes : public testing::Test {
 protected:
  struct End {
    std::unique_ptr<Connection> connection;
    Recorder sink;
    int peer = -1;
    ~End() {
      if (peer >= 0) ::close(peer);
    }
  };
  void accept() {
    int fds[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    ends_.push_back(std::make_unique<End>());
    End& end = *ends_.back();
    end.peer = fds[1];
    end.connection =
        std::make_unique<Connection>(loop_, fds[0], std::make_unique<SlowTransport>(calls_, order_, static_cast<int>(ends_.size()) - 1),
                                     base::Address(), base::Address());
    end.connection->setSink(end.sink);
    base::Buffer none;
    end.connection->startAccepted(none);
  }
  void speak(size_t which) { ASSERT_EQ(::write(ends_[which]->peer, "!", 1), 1); }

  SteppingClock clock_;
  event::Loop loop_{clock_};
  int calls_ = 0;
  std::vector<int> order_;
  std::vector<std::unique_ptr<End>> ends_;
};

TEST_F(SlowHandshakes, AreAFewATurnInOrderOfArrival) {
  for (int i = 0; i < 20; ++i) accept();
  loop_.turn(0);
  EXPECT_EQ(calls_, 0);  // the peers have not spoken: nothing to do for them
  for (size_t i = 0; i < 20; ++i) speak(i);
  int turns = 0;
  for (int before = 0; order_.size() < 16 && turns < 50; before = calls_, ++turns) {
    loop_.turn(0);
    EXPECT_LE(calls_ - before, 4);
    if (turns == 1) {  // one that comes later does not push forward
      accept();
      speak(20);
    }
  }
  EXPECT_EQ(turns, 4);
  ends_[19]->connection->closeNow();  // while it waits
  while (loop_.turn(0)) {
  }
  ASSERT_EQ(order_.size(), 20u);
  for (int i = 0; i < 19; ++i) EXPECT_EQ(order_[static_cast<size_t>(i)], i);
  EXPECT_EQ(order_.back(), 20);
  EXPECT_EQ(calls_, 20);
}

TEST_F(SlowHandshakes, LeaveATurnThatHasLastedLong) {
  for (int i = 0; i < 3; ++i) accept();
  loop_.turn(0);
  for (size_t i = 0; i < 3; ++i) speak(i);
  // Each reading of the clock after the turn began is a millisecond later: one handshake is all that a turn has time for.
  clock_.step = base::kMilli;
  for (int turn = 1; turn <= 3; ++turn) {
    loop_.turn(0);
    EXPECT_EQ(calls_, turn);
  }
  EXPECT_EQ(order_.size(), 3u);
}

TEST_F(SlowHandshakes, EndWithThePeerThatLeavesInTheMiddle) {
  accept();
  loop_.turn(0);
  ASSERT_EQ(::write(ends_[0]->peer, ".", 1), 1);
  ::close(ends_[0]->peer);
  ends_[0]->peer = -1;
  while (loop_.turn(0)) {
  }
  EXPECT_EQ(ends_[0]->sink.closed, CloseReason::kRemoteFin);
}

}  // namespace
}  // namespace outrider::net
