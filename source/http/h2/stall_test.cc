// Nothing of one user ever reaches another, however the peer's window, the wire and the owners stall: two users alternate with
// secrets of their own in every field and every byte of body, and owners give their memory back as early as they may.
#include <random>

#include <gtest/gtest.h>

#include "source/http/h2/harness.h"
#include "source/http/h2/memory.h"

namespace outrider::http::h2::testing {
namespace {

constexpr std::string_view kSecrets[2] = {"alice-ALICE-alice-0123456789-alice", "bobbb-BOBBB-bobbb-9876543210-bobbb"};

std::string body(size_t user, size_t size) {
  std::string out;
  while (out.size() < size) out += kSecrets[user];
  out.resize(size);
  return out;
}

size_t userOf(std::string_view text) {
  if (text.find("alice") != std::string_view::npos) return 0;
  if (text.find("bobbb") != std::string_view::npos) return 1;
  return 2;
}
void expectOnly(size_t user, std::string_view text) {
  const std::string_view other = kSecrets[1 - user].substr(0, 5);
  EXPECT_EQ(text.find(other), std::string_view::npos) << text.substr(0, 300);
  // Freed memory is filled: its filling must not go out either.
  EXPECT_EQ(text.find('\xdd'), std::string_view::npos);
}

// matrix: 220, 221 and the lifetime rule of heads that are not copied
TEST(H2Stall, TwoUsersSecretsNeverMix) {
  size_t finished = 0, reset = 0, stalled = 0;
  for (uint32_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    std::minstd_rand random(seed);
    const size_t arenas = base::Arena::liveOnThisThread(), blocks = base::Block::liveOnThisThread(), pieces = Memory::live();
    {
      Settings small;  // what the client grants, so that answers stall
      small.initial_stream_window = static_cast<uint32_t>(random() % 3 == 0 ? 1 : 500 + random() % 20000);
      small.initial_connection_window = 65535 + static_cast<uint32_t>(random() % 65536);
      small.stream_buffer_limit = 4000;
      Settings wide;
      wide.stream_buffer_limit = 4000;
      wide.resets.burst = 0;
      Pair pair(wide, small);
      std::vector<size_t> users;  // by call
      std::vector<std::string> posted, answers;
      std::vector<bool> answered;
      base::Buffer to_server, to_client;
      const auto feedSome = [&](base::Buffer& wire, auto& codec) {
        if (wire.empty()) return;
        base::Buffer part;
        part.move(wire, 1 + random() % wire.size());
        codec.feed(part);
        base::Buffer none;
        if (random() % 2 == 0) codec.feed(none);
      };
      for (int step = 0; step < 600; ++step) {
        switch (random() % 10) {
          case 0:
          case 1: {
            if (pair.client.codec->freeStreams() == 0 || users.size() > 60) break;
            const size_t user = users.size() % 2;
            users.push_back(user);
            posted.push_back(body(user, random() % 9000));
            Call& call = pair.client.open();
            call.sendHead("POST", "/" + std::string(kSecrets[user]) + "/" + std::to_string(users.size() - 1),
                          {{"x-secret", std::string(kSecrets[user])}, {std::string(kSecrets[user].substr(0, 5)), "v"}}, false);
            call.send(posted.back(), true);
            break;
          }
          case 2:
          case 3: pair.client.codec->fill(to_server); break;
          case 4: feedSome(to_server, *pair.server.codec); break;
          case 5: pair.server.codec->fill(to_client); break;
          case 6: feedSome(to_client, *pair.client.codec); break;
          case 7: {  // a server owner answers, and perhaps leaves at once
            if (pair.server.count() == 0) break;
            const size_t i = random() % pair.server.count();
            answered.resize(pair.server.count());
            answers.resize(pair.server.count());
            Exchange& exchange = pair.server.at(i);
            if (exchange.stream == nullptr || exchange.head == nullptr || answered[i]) break;
            const size_t user = userOf(exchange.text);
            ASSERT_LT(user, 2u);
            expectOnly(user, exchange.text);
            answered[i] = true;
            answers[i] = body(user, random() % 12000);
            const Fields fields = {{"x-answer", std::string(kSecrets[user])}, {std::string(kSecrets[user].substr(0, 5)), "v"}};
            if (random() % 3 == 0) {
              exchange.reply(200, fields, answers[i], false);
              exchange.sendTrailers({{"x-sum", std::string(kSecrets[user])}});
            } else {
              exchange.reply(200, fields, answers[i]);
            }
            if (random() % 4 == 0) {
              exchange.reset(random() % 2 == 0 ? ResetReason::kNone : ResetReason::kLocal);
              exchange.letGo();
              ++reset;
            }
            break;
          }
          case 8: {
            if (users.empty()) break;
            Call& call = *pair.client.calls[random() % users.size()];
            if (call.stream == nullptr) break;
            if (random() % 8 == 0) {
              call.reset(ResetReason::kLocal);
              ++reset;
            } else {
              call.stream->pause(random() % 2 == 0);
              ++stalled;
            }
            break;
          }
          case 9: {
            if (pair.server.count() == 0) break;
            Exchange& exchange = pair.server.at(random() % pair.server.count());
            if (exchange.ended)
              exchange.letGo();
            else if (exchange.stream != nullptr)
              exchange.stream->pause(random() % 2 == 0);
            break;
          }
        }
      }
      // Everything opens again, and what is left comes to its end.
      for (auto& call : pair.client.calls) {
        if (call->stream != nullptr) call->stream->pause(false);
      }
      for (auto& exchange : pair.server.exchanges) {
        if (exchange->stream != nullptr) exchange->stream->pause(false);
      }
      for (int i = 0; i < 20; ++i) {
        pair.client.codec->fill(to_server);
        if (!to_server.empty()) pair.server.codec->feed(to_server);
        pair.server.codec->fill(to_client);
        if (!to_client.empty()) pair.client.codec->feed(to_client);
      }
      pair.run();
      EXPECT_EQ(pair.server.error, "");
      EXPECT_EQ(pair.client.error, "");
      for (size_t i = 0; i < users.size(); ++i) {
        Call& call = *pair.client.calls[i];
        expectOnly(users[i], call.text);
        expectOnly(users[i], call.body);
        expectOnly(users[i], call.trailers);
        if (!call.complete) continue;
        ++finished;
        EXPECT_EQ(call.status, 200);
        EXPECT_NE(call.text.find(kSecrets[users[i]]), std::string::npos);
        EXPECT_EQ(call.body, body(users[i], call.body.size()));
      }
      for (size_t i = 0; i < pair.server.count(); ++i) {
        Exchange& exchange = pair.server.at(i);
        if (exchange.text.empty()) continue;
        const size_t user = userOf(exchange.text);
        ASSERT_LT(user, 2u);
        expectOnly(user, exchange.text);
        expectOnly(user, exchange.body);
        if (!exchange.complete) continue;
        const size_t slash = exchange.text.find('/', exchange.text.find("//") + 2);
        const size_t number = std::stoul(exchange.text.substr(exchange.text.find('/', slash + 1) + 1));
        EXPECT_EQ(exchange.body, posted.at(number));
      }
    }
    EXPECT_EQ(base::Arena::liveOnThisThread(), arenas);
    EXPECT_EQ(base::Block::liveOnThisThread(), blocks);
    EXPECT_EQ(Memory::live(), pieces);
  }
  EXPECT_GT(finished, 150u);
  EXPECT_GT(reset, 50u);
  EXPECT_GT(stalled, 150u);
}

// A head waits in nghttp2's queue while its stream is reset from both ends and its owner has left: the bytes stay, and go with it.
TEST(H2Stall, AQueuedHeadKeepsItsArena) {
  const size_t arenas = base::Arena::liveOnThisThread();
  {
    RawClient peer;
    peer.send(headersFrame(1, request()) + headersFrame(3, request()));
    peer.server.at(0).reply(200, {{"x", std::string(kSecrets[0])}}, "", false);
    peer.server.at(0).reset(ResetReason::kNone);
    peer.server.at(0).letGo();
    const size_t pinned = base::Arena::liveOnThisThread();
    // Whoever takes memory now must not get that arena.
    base::Arena* other = base::Arena::create();
    (void)other->copy(body(1, 4000));
    peer.server.at(1).reply(200, {{"x", std::string(kSecrets[1])}}, "");
    peer.collect();
    expectOnly(1, peer.wire.substr(std::min(peer.wire.find("HEADERS 3"), peer.wire.size())));
    EXPECT_TRUE(peer.wrote("x=" + std::string(kSecrets[1]))) << peer.wire;
    other->unref();
    EXPECT_LT(base::Arena::liveOnThisThread(), pinned + 1);
  }
  EXPECT_EQ(base::Arena::liveOnThisThread(), arenas);
}

// matrix: 221
TEST(H2Stall, ManyStreamsWithoutWindowHoldNoMoreThanTheirLimits) {
  Settings settings;
  settings.max_concurrent_streams = 1000;
  RawClient peer(settings, false);
  peer.send(kPreface + settingsFrame({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}}));
  size_t taken = 0;
  const std::string piece(8192, 'x');
  for (uint32_t i = 0; i < 1000; ++i) {
    peer.send(headersFrame(1 + 2 * i, request()));
    Exchange& exchange = peer.server.last();
    // An owner that heeds kFull, with 1 MB to say.
    Room room = exchange.reply(200, {}, piece, false);
    for (taken += piece.size(); room == Room::kMore; taken += piece.size()) room = exchange.send(piece, false);
  }
  EXPECT_EQ(peer.server.error, "");
  EXPECT_FALSE(peer.wrote("DATA"));
  EXPECT_LE(taken, 1000 * (settings.stream_buffer_limit + piece.size()));
  const size_t blocks = base::Block::liveOnThisThread();
  peer.server.codec->resetAll(ResetReason::kOverflow);
  EXPECT_LT(base::Block::liveOnThisThread(), blocks / 10);
}

}  // namespace
}  // namespace outrider::http::h2::testing
