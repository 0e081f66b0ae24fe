#include "source/net/acceptor.h"

#include <sys/socket.h>
#include <unistd.h>

#include <vector>

#include <gtest/gtest.h>

namespace outrider::net {
namespace {

class AcceptorTest : public testing::Test, protected AcceptSink {
 protected:
  AcceptorTest() : listening_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    const auto any = *base::Address::parseIp("127.0.0.1", 0);
    EXPECT_EQ(::bind(listening_, any.sockAddr(), any.length()), 0);
    EXPECT_EQ(::listen(listening_, 128), 0);
    socklen_t size = sizeof at_;
    EXPECT_EQ(::getsockname(listening_, reinterpret_cast<sockaddr*>(&at_), &size), 0);
    loop_.turn(0);
  }
  ~AcceptorTest() override {
    for (const int fd : fds_) ::close(fd);
    ::close(listening_);
  }
  void onAccepted(int fd, const base::Address&) override {
    ++accepted_;
    fds_.push_back(fd);
  }
  void onAcceptFailed(int) override {}
  // Loopback: connected, and so in the queue, when this returns.
  void connect(int count) {
    for (int i = 0; i < count; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&at_), sizeof at_), 0);
      fds_.push_back(fd);
    }
  }
  // How many connections the next turn takes.
  size_t turn() {
    accepted_ = 0;
    loop_.turn(0);
    return accepted_;
  }

  event::Loop loop_;
  const int listening_;
  sockaddr_in at_{};
  std::vector<int> fds_;
  size_t accepted_ = 0;
};

TEST_F(AcceptorTest, OneThatComesAloneIsTakenAlone) {
  Acceptor acceptor(loop_, listening_, false, *this);
  for (int i = 0; i < 3; ++i) {
    loop_.turn(0);
    loop_.turn(0);
    connect(1);
    EXPECT_EQ(turn(), 1u);
    EXPECT_EQ(turn(), 0u);
  }
}

TEST_F(AcceptorTest, OfABurstTheSecondTurnTakesAsManyAsItMay) {
  Acceptor acceptor(loop_, listening_, false, *this);
  loop_.turn(0);
  loop_.turn(0);
  connect(30);
  EXPECT_EQ(turn(), 1u);
  EXPECT_EQ(turn(), 16u);
  EXPECT_EQ(turn(), 13u);
  EXPECT_EQ(turn(), 0u);
}

TEST_F(AcceptorTest, WhoAllowsOneATurnGetsOneATurn) {
  Acceptor acceptor(loop_, listening_, false, *this);
  acceptor.setMostPerTurn(1);
  connect(3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(turn(), 1u);
  EXPECT_EQ(turn(), 0u);
}

TEST_F(AcceptorTest, TheQueueIsTakenWholeBeforeTheDescriptorCloses) {
  Acceptor acceptor(loop_, listening_, false, *this);
  connect(40);
  acceptor.drainQueue();
  EXPECT_EQ(accepted_, 40u);
  EXPECT_FALSE(acceptor.active());
}

}  // namespace
}  // namespace outrider::net
