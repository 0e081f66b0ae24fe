#include "source/event/io.h"

#include <cerrno>

#include <gtest/gtest.h>
#include <pthread.h>

namespace outrider::event::io {
namespace {

class Io : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds_), 0); }
  void TearDown() override {
    ::close(fds_[0]);
    ::close(fds_[1]);
  }
  int fds_[2];
};

TEST_F(Io, WhatIsSentIsReceivedAndBothAreCounted) {
  const Calls before = calls;
  EXPECT_EQ(send(fds_[0], "hello", 5), 5);
  char got[8] = {};
  EXPECT_EQ(recv(fds_[1], got, sizeof got), 5);
  EXPECT_STREQ(got, "hello");
  EXPECT_EQ(calls.reads - before.reads, 1u);
  EXPECT_EQ(calls.writes - before.writes, 1u);
}

TEST_F(Io, AnEmptySocketAndAPeerThatIsGoneAreErrnosAndNoSignal) {
  char got[8];
  errno = 0;
  EXPECT_EQ(recv(fds_[1], got, sizeof got), -1);
  EXPECT_EQ(errno, EAGAIN);
  ::shutdown(fds_[1], SHUT_RDWR);
  EXPECT_EQ(recv(fds_[1], got, sizeof got), 0);
  errno = 0;
  EXPECT_EQ(send(fds_[0], "x", 1), -1);  // SIGPIPE would end the test here
  EXPECT_EQ(errno, EPIPE);
}

// The library's own calls end a thread there for which a cancellation is pending, and pay for that possibility with each message.
TEST_F(Io, AMessageIsNoPointAtWhichItsThreadMayBeCancelled) {
  if (kLibraryCalls) GTEST_SKIP() << "sanitizers know the library's calls alone";
  pthread_t thread;
  const auto body = [](void* at) -> void* {
    const int* fds = static_cast<const int*>(at);
    ::pthread_cancel(::pthread_self());
    char got;
    const bool went = send(fds[0], "x", 1) == 1 && recv(fds[1], &got, 1) == 1;
    ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
    return went ? at : nullptr;
  };
  ASSERT_EQ(::pthread_create(&thread, nullptr, body, fds_), 0);
  void* result = nullptr;
  ASSERT_EQ(::pthread_join(thread, &result), 0);
  EXPECT_EQ(result, fds_);
}

}  // namespace
}  // namespace outrider::event::io
