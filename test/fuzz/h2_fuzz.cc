// HTTP/2 codecs over random frames in random pieces. First byte: what is driven and how the settings are; second: the seed of
// the cuts and events.
// Invariants: the same outcome however the bytes are cut; no head of ours is a forbidden one (a value with a line end, a name in
// upper case, a field of the connection); an owner hears one end and nothing behind it;
// no arena, no block and no piece of memory is left behind.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "source/http/h2/harness.h"
#include "source/http/h2/memory.h"
#include "test/fuzz/require.h"

using namespace outrider::http;
using namespace outrider::http::h2;
namespace base = outrider::base;
using outrider::test::require;
using outrider::http::h2::testing::Call;
using outrider::http::h2::testing::Exchange;
using outrider::http::h2::testing::RawClient;
using outrider::http::h2::testing::RawServer;

namespace {

Settings settingsOf(uint8_t bits) {
  Settings settings;
  settings.allow_connect = (bits & 1) != 0;
  settings.stream_error_on_invalid_http_message = (bits & 2) == 0;
  settings.underscores = (bits & 4) != 0 ? Underscores::kDrop : Underscores::kAllow;
  settings.allow_high_bytes_in_path = (bits & 8) != 0;
  settings.max_header_count = 20;
  settings.max_header_bytes = 2000;
  settings.max_concurrent_streams = 5;
  settings.initial_stream_window = 1000;
  settings.stream_buffer_limit = 500;
  settings.max_outbound_frames = 200;
  return settings;
}

class Random {
 public:
  explicit Random(uint32_t seed) : state_(seed * 2654435761u + 1) {}
  uint32_t below(uint32_t n) {
    state_ = state_ * 1664525u + 1013904223u;
    return (state_ >> 8) % n;
  }

 private:
  uint32_t state_;
};

std::string_view cut(std::string_view& left, Random& random) {
  const uint32_t roll = random.below(10);
  const std::string_view piece = left.substr(0, roll < 4 ? 1 : roll < 8 ? 1 + random.below(16) : 1 + random.below(300));
  left.remove_prefix(piece.size());
  return piece;
}

// Input to frames: random bytes seldom have a length that fits. Type, flags, stream, size, payload. A head's payload is made of
// fields if its flag byte's highest bit is set: pairs of indices into words that matter, or literals.
std::string framesOf(std::string_view bytes) {
  static constexpr std::string_view kNames[] = {":method", ":path", ":scheme", ":authority", ":protocol", ":status", "host", "cookie",
                                                "content-length", "te", "connection", "x", "x_y", "X", "expect", "trailer"};
  static constexpr std::string_view kValues[] = {"GET", "/", "http", "h", "websocket", "200", "a=1", "5", "trailers", "close", "",
                                                 " x", "a\r\nb", "CONNECT", "103", "0"};
  std::string out;
  while (bytes.size() >= 4) {
    const uint8_t type = static_cast<uint8_t>(bytes[0]) % 12, flags = static_cast<uint8_t>(bytes[1]), stream = static_cast<uint8_t>(bytes[2]);
    size_t size = std::min<size_t>(static_cast<uint8_t>(bytes[3]), bytes.size() - 4);
    std::string payload(bytes.substr(4, size));
    bytes.remove_prefix(4 + size);
    if ((flags & 0x80) != 0 && (type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION)) {
      outrider::http::h2::testing::Fields fields;
      if ((flags & 0x40) != 0) fields = outrider::http::h2::testing::request();
      if ((flags & 0x10) != 0) fields.emplace_back(":status", "200");
      for (size_t i = 0; i + 1 < payload.size(); i += 2) {
        fields.emplace_back(std::string(kNames[static_cast<uint8_t>(payload[i]) % 16]), std::string(kValues[static_cast<uint8_t>(payload[i + 1]) % 16]));
      }
      payload = outrider::http::h2::testing::block(fields);
      out += outrider::http::h2::testing::frame(type, flags & 0x05, stream % 16, payload);
      continue;
    }
    out += outrider::http::h2::testing::frame(type, flags, stream % 16, payload);
  }
  return out;
}

// What went out that ends something, in an order that does not hang on how far the codec had got.
std::string endings(std::string_view wire) {
  std::vector<std::string> lines;
  while (!wire.empty()) {
    const size_t end = std::min(wire.find('\n'), wire.size() - 1);
    const std::string_view line = wire.substr(0, end);
    if (line.starts_with("GOAWAY")) lines.emplace_back(line);
    wire.remove_prefix(end + 1);
  }
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

void checkHead(const HeaderMap& headers) {
  headers.forEach([](const Header& header) {
    const std::string_view name = header.name(), value = header.value();
    require(!name.empty() && name.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ: \r\n") == std::string_view::npos, "name", name);
    require(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos, "value", value);
    require(name != "connection" && name != "transfer-encoding" && name != "keep-alive" && name != "upgrade", "field of the connection", name);
  });
}

std::string traceOf(const Exchange& exchange) {
  // The body of a request that was cut off is told up to where it was read: how far differs.
  return exchange.text + (exchange.complete ? exchange.body + exchange.trailers : "") + exchange.fault + std::to_string(exchange.status) +
         (exchange.complete ? "c" : "") + (exchange.ended ? "e" : "") + outrider::http::h2::testing::reasonName(exchange.reason);
}

void driveServer(const Settings& settings, std::string_view bytes, uint8_t seed) {
  RawClient whole(settings);
  whole.feedOnly(bytes);
  for (const auto& exchange : whole.server.exchanges) {
    if (exchange->head != nullptr) checkHead(exchange->head->headers);
  }
  for (uint32_t each = seed; each < seed + 2u; ++each) {
    Random random(each);
    RawClient slow(settings);
    for (std::string_view left = bytes; !left.empty();) slow.feedOnly(cut(left, random));
    require(slow.server.error == whole.server.error, "the error depends on cuts", whole.server.error, slow.server.error);
    require(slow.server.count() == whole.server.count(), "requests depend on cuts");
    for (size_t i = 0; i < slow.server.count(); ++i) {
      const Exchange &a = whole.server.at(i), &b = slow.server.at(i);
      // A reset behind a complete request overtakes its undelivered body.
      if (!a.ended && !b.ended) require(traceOf(a) == traceOf(b), "an exchange depends on cuts", traceOf(a), traceOf(b));
      require(a.text == b.text && a.fault == b.fault && a.status == b.status, "a head depends on cuts", traceOf(a), traceOf(b));
    }
    slow.collect();
    RawClient again(settings);
    again.feedOnly(bytes);
    again.collect();
    require(endings(slow.wire) == endings(again.wire), "the end depends on cuts", again.wire, slow.wire);
  }
}

void driveClient(const Settings& settings, std::string_view bytes, uint8_t seed) {
  Random random(seed);
  RawServer peer(settings);
  const size_t most = std::min<size_t>(peer.client.codec->freeStreams(), 4);
  for (size_t i = 0; i < most; ++i) {
    Call& call = peer.client.open();
    call.sendHead(i == 1 ? "HEAD" : "POST", "/", {{"x", "y"}}, i != 0);
    if (i == 0) call.send(std::string(3000, 'b'), random.below(2) == 0);
  }
  peer.collect();
  for (std::string_view left = bytes; !left.empty();) {
    base::Buffer in;
    in.append(cut(left, random));
    peer.client.codec->feed(in);
    switch (random.below(8)) {
      case 0: peer.collect(); break;
      case 1:
      case 2: {
        Call& call = *peer.client.calls[random.below(static_cast<uint32_t>(peer.client.calls.size()))];
        if (call.stream == nullptr) break;
        if (random.below(6) == 0) call.reset(ResetReason::kTimeout);
        else call.stream->pause(random.below(2) == 0);
        break;
      }
      case 3:
        if (peer.client.codec->freeStreams() > 0) peer.client.get("/again");
        break;
      case 4:
        if (random.below(20) == 0) peer.client.codec->drain();
        break;
      default: break;
    }
  }
  peer.collect();
  if (random.below(2) == 0) peer.client.codec->onPeerFinished();
  else peer.client.codec->resetAll(ResetReason::kConnectionClosed);
  for (const auto& call : peer.client.calls) require(call->ended || call->stream == nullptr, "an end was not told");
  require(peer.client.codec->openStreams() == 0, "open streams");
}

// Answers, pauses, resets and drains at random moments.
void driveEvents(const Settings& settings, std::string_view bytes, uint8_t seed) {
  Random random(seed);
  RawClient peer(settings);
  for (std::string_view left = bytes; !left.empty();) {
    peer.feedOnly(cut(left, random));
    if (random.below(3) == 0) peer.collect();
    if (peer.server.count() == 0) continue;
    Exchange& exchange = peer.server.at(random.below(static_cast<uint32_t>(peer.server.count())));
    if (exchange.stream == nullptr) {
      exchange.letGo();
      continue;
    }
    switch (random.below(8)) {
      case 0: exchange.stream->pause(true); break;
      case 1: exchange.stream->pause(false); break;
      case 2:
        exchange.reset(random.below(2) == 0 ? ResetReason::kNone : ResetReason::kLocal);
        exchange.letGo();
        break;
      case 3:
      case 4:
        if (exchange.pieces < 0) {
          exchange.send(std::string(random.below(2000), 'd'), false);
          break;
        }
        exchange.pieces = -1000000;
        exchange.reply(200, {{"x", "y"}}, std::string(random.below(3000), 'a'), random.below(2) == 0);
        if (random.below(3) == 0) {
          exchange.reset(ResetReason::kNone);
          exchange.letGo();
        } else {
          exchange.pieces = exchange.stream == nullptr ? 0 : -1000000;
        }
        break;
      case 5:
        if (random.below(30) == 0) peer.server.codec->drain();
        break;
      case 6:
        if (random.below(30) == 0) peer.server.codec->onPeerFinished();
        break;
      default:
        peer.server.now += base::kSecond / 10;
        break;
    }
  }
  peer.collect();
  if (random.below(2) == 0) peer.server.codec->resetAll(ResetReason::kConnectionClosed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3 || size > 8000) return 0;
  const size_t arenas = base::Arena::liveOnThisThread(), blocks = base::Block::liveOnThisThread(), pieces = Memory::live();
  const Settings settings = settingsOf(data[0] >> 3);
  const std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string bytes = (data[0] & 4) != 0 ? std::string(rest) : framesOf(rest);
  switch (data[0] & 3) {
    case 0: driveServer(settings, bytes, data[1]); break;
    case 1: driveClient(settings, bytes, data[1]); break;
    default: driveEvents(settings, bytes, data[1]); break;
  }
  require(base::Arena::liveOnThisThread() == arenas, "an arena is left");
  require(base::Block::liveOnThisThread() == blocks, "a block is left");
  require(Memory::live() == pieces, "a piece is left");
  return 0;
}
