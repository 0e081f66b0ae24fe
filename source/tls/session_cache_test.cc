#include "source/tls/session_cache.h"

#include <string>

#include <gtest/gtest.h>

#include "source/tls/openssl_ptr.h"

namespace outrider::tls {
namespace {

constexpr int64_t kNow = 2'000'000'000;

class SessionCacheTest : public ::testing::Test {
 protected:
  // A session with this id, made at kNow, good for an hour by itself.
  SSL_SESSION* session(std::string_view id) {
    SSL_SESSION* made = SSL_SESSION_new();
    SSL_SESSION_set1_id(made, reinterpret_cast<const unsigned char*>(id.data()), static_cast<unsigned>(id.size()));
    SSL_SESSION_set_time(made, kNow);
    SSL_SESSION_set_timeout(made, 3600);
    return made;
  }
  static std::string id(int number) {
    std::string out(32, 'i');
    for (size_t i = 0; i < 4; ++i) out[i] = static_cast<char>(number >> (8 * i));
    return out;
  }
  bool has(uint64_t scope, std::string_view id, std::string_view name = {}, int64_t now = kNow) {
    const SessionPtr found{cache_.find(scope, id, name, now).session};
    return found != nullptr;
  }

  SessionCache cache_{SessionCache::kShards * 4 * SessionCache::kPlainBytes};  // four sessions a shard
  const uint64_t here_ = cache_.newScope(), there_ = cache_.newScope();
};

TEST_F(SessionCacheTest, FindsWhatWasPutAndOnlyThat) {
  cache_.put(here_, session(id(1)), "a.test", kNow + 600);
  const SessionCache::Found found = cache_.find(here_, id(1), "a.test", kNow);
  const SessionPtr owned{found.session};
  ASSERT_NE(found.session, nullptr);
  EXPECT_EQ(found.good_until, kNow + 600);
  EXPECT_FALSE(has(here_, id(2), "a.test"));
  EXPECT_FALSE(has(there_, id(1), "a.test"));
  EXPECT_FALSE(has(here_, id(1), "b.test"));
  EXPECT_FALSE(has(here_, id(1)));
  EXPECT_FALSE(has(here_, id(1).substr(0, 31), "a.test"));
  EXPECT_TRUE(has(here_, id(1), "a.test"));  // none of these misses cost it
}

TEST_F(SessionCacheTest, AShortIdIsNotKept) {
  cache_.put(here_, session("short"), "", kNow + 600);
  EXPECT_EQ(cache_.sessions(), 0u);
}

TEST_F(SessionCacheTest, WhatIsOverIsNotFoundAndGoes) {
  cache_.put(here_, session(id(1)), "", kNow + 600);
  EXPECT_TRUE(has(here_, id(1), "", kNow + 599));
  EXPECT_FALSE(has(here_, id(1), "", kNow + 600));  // what it proved
  EXPECT_EQ(cache_.sessions(), 0u);
  EXPECT_EQ(cache_.bytes(), 0u);
  cache_.put(here_, session(id(1)), "", kNow + 100'000);
  EXPECT_TRUE(has(here_, id(1), "", kNow + 3599));
  EXPECT_FALSE(has(here_, id(1), "", kNow + 3600));  // its own time
}

TEST_F(SessionCacheTest, ASessionThatIsNoLongerResumableGoes) {
  SSL_SESSION* one = session(id(1));
  cache_.put(here_, one, "", kNow + 600);
  const CtxPtr ctx{SSL_CTX_new(TLS_server_method())};
  SSL_CTX_remove_session(ctx.get(), one);  // as the library does after a violation
  EXPECT_FALSE(has(here_, id(1)));
  EXPECT_EQ(cache_.sessions(), 0u);
}

TEST_F(SessionCacheTest, TheOneThatWasUsedLongestAgoMakesRoom) {
  // All of one shard: their ids begin with the same byte.
  const auto at = [](int i) { return id(i << 8); };
  for (int i = 0; i < 4; ++i) cache_.put(here_, session(at(i)), "", kNow + 600);
  EXPECT_TRUE(has(here_, at(0)));
  cache_.put(here_, session(at(4)), "", kNow + 600);
  EXPECT_TRUE(has(here_, at(0)));
  EXPECT_FALSE(has(here_, at(1)));
  for (int i = 2; i < 5; ++i) EXPECT_TRUE(has(here_, at(i))) << i;
  EXPECT_EQ(cache_.sessions(), 4u);
}

TEST_F(SessionCacheTest, StaysWithinItsBytesWhateverComes) {
  for (int i = 0; i < 1000; ++i) cache_.put(i % 2 == 0 ? here_ : there_, session(id(i)), "", kNow + 600);
  EXPECT_LE(cache_.bytes(), SessionCache::kShards * 4 * SessionCache::kPlainBytes);
  EXPECT_EQ(cache_.bytes(), cache_.sessions() * SessionCache::kPlainBytes);
  EXPECT_GE(cache_.sessions(), SessionCache::kShards * 4);
}

TEST_F(SessionCacheTest, TheSameIdAgainReplacesTheOld) {
  cache_.put(here_, session(id(1)), "a.test", kNow + 600);
  cache_.put(here_, session(id(1)), "b.test", kNow + 600);
  EXPECT_EQ(cache_.sessions(), 1u);
  EXPECT_TRUE(has(here_, id(1), "b.test"));
}

}  // namespace
}  // namespace outrider::tls
