// HTTP/2 codecs over random frames in random pieces, and a client and a server codec that talk to each other while both owners do
// what the input says. First byte: what is driven and how the settings are; second: the seed of the cuts and events, and of
// stranger settings.
// Invariants: the same outcome however the bytes are cut; no head of ours is a forbidden one (a value with a line end, a name in
// upper case, a field of the connection); an owner hears one end and nothing behind it, no body before a head, no byte that was not
// sent; what nobody broke off arrives whole;
// no arena, no block and no piece of memory is left behind.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "source/http/h2/harness.h"
#include "source/http/h2/keepalive.h"
#include "source/http/h2/memory.h"
#include "test/fuzz/require.h"

using namespace outrider::http;
using namespace outrider::http::h2;
namespace base = outrider::base;
namespace h2 = outrider::http::h2;
using outrider::http::h2::testing::Call;
using outrider::http::h2::testing::Exchange;
using outrider::http::h2::testing::RawClient;
using outrider::http::h2::testing::RawServer;
using outrider::test::require;

namespace {

Settings settingsOf(uint8_t bits, uint8_t seed) {
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
  settings.max_outbound_frames = 10000;  // looked at between pieces: their number would show
  if ((bits & 16) == 0) return settings;
  settings.max_outbound_control_frames = 6;
  settings.max_continuations = 3;
  settings.max_informational = 2;
  settings.max_priority_frames_per_stream = 2;
  settings.max_window_updates_per_data_frame = 1;
  settings.resets = settings.pings = settings.peer_settings = settings.glitches = {3, 1};
  settings.hpack_table_size = (seed & 1) != 0 ? 100 : 8192;
  settings.max_frame_size = (seed & 2) != 0 ? 20000 : 16384;
  settings.allow_underscore_twins = (seed & 4) != 0;
  if ((seed & 8) != 0) settings.underscores = Underscores::kReject;
  settings.allow_host_mismatch = (seed & 16) != 0;
  settings.secure = (seed & 32) != 0;
  settings.match_transport_scheme = (seed & 64) != 0;
  if ((seed & 128) != 0) settings.initial_stream_window = settings.initial_connection_window = 1 << 20;
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
  static const std::string kLong(300, 'v');
  static const std::string_view kNames[] = {":method",
                                            ":path",
                                            ":scheme",
                                            ":authority",
                                            ":protocol",
                                            ":status",
                                            "host",
                                            "cookie",
                                            "content-length",
                                            "te",
                                            "connection",
                                            "x",
                                            "x_y",
                                            "X",
                                            "expect",
                                            "trailer",
                                            "x_forwarded_for",
                                            "content_length",
                                            "http2-settings",
                                            "content-type",
                                            "upgrade",
                                            "transfer-encoding",
                                            "x-request-id",
                                            "x-long",
                                            "",
                                            "accept",
                                            "x y",
                                            ":odd",
                                            "etag",
                                            "host",
                                            "cookie",
                                            "x"};
  static const std::string_view kValues[] = {"GET", "/",        "http",     "h",    "websocket", "200",          "a=1",
                                             "5",   "trailers", "close",    "",     " x",        "a\r\nb",       "CONNECT",
                                             "103", "0",        "[::1]:80", "h:80", "h:99999",   "[zz]",         "h_x",
                                             "a b", "https",    "OPTIONS",  "*",    "/\x80",     "100-continue", "application/grpc",
                                             "999", kLong,      "[::1]x",   "ftp"};
  std::string out;
  size_t last = 0;
  while (bytes.size() >= 4) {
    uint8_t type = static_cast<uint8_t>(bytes[0]) % 14;
    const uint8_t flags = static_cast<uint8_t>(bytes[1]), stream = static_cast<uint8_t>(bytes[2]);
    size_t size = std::min<size_t>(static_cast<uint8_t>(bytes[3]), bytes.size() - 4);
    std::string payload(bytes.substr(4, size));
    bytes.remove_prefix(4 + size);
    if (type == 13) {  // the last frame, again and again
      const std::string again = out.substr(last);
      for (int i = 0; i < flags % 32 && out.size() < 40000; ++i) out += again;
      continue;
    }
    if (type == 12) type = NGHTTP2_PRIORITY_UPDATE;
    last = out.size();
    if ((flags & 0x80) != 0 && (type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION)) {
      outrider::http::h2::testing::Fields fields;
      if ((flags & 0x40) != 0) fields = outrider::http::h2::testing::request();
      if ((flags & 0x10) != 0) fields.emplace_back(":status", "200");
      for (size_t i = 0; i + 1 < payload.size(); i += 2) {
        fields.emplace_back(std::string(kNames[static_cast<uint8_t>(payload[i]) % 32]),
                            std::string(kValues[static_cast<uint8_t>(payload[i + 1]) % 32]));
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
    require(name != "connection" && name != "transfer-encoding" && name != "keep-alive" && name != "upgrade", "field of the connection",
            name);
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
        if (random.below(6) == 0)
          call.reset(ResetReason::kTimeout);
        else
          call.stream->pause(random.below(2) == 0);
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
  if (random.below(2) == 0)
    peer.client.codec->onPeerFinished();
  else
    peer.client.codec->resetAll(ResetReason::kConnectionClosed);
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
        exchange.reset(static_cast<ResetReason>(random.below(11)));
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
      default: peer.server.now += base::kSecond / 10; break;
    }
  }
  peer.collect();
  if (random.below(2) == 0) peer.server.codec->resetAll(ResetReason::kConnectionClosed);
}

// ---- both ends ----

class Script {
 public:
  explicit Script(std::string_view bytes) : bytes_(bytes) {}
  uint8_t next() {
    if (bytes_.empty()) return 0;
    const char c = bytes_.front();
    bytes_.remove_prefix(1);
    return static_cast<uint8_t>(c);
  }
  std::string_view take(size_t size) {
    const std::string_view out = bytes_.substr(0, size);
    bytes_.remove_prefix(out.size());
    return out;
  }
  bool empty() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
};

// One direction of one exchange, as its receiver hears it.
struct Heard {
  std::string body;
  bool head = false, complete = false, ended = false;
  void onHead(bool last) {
    require(!ended && !head && !complete, "a head behind a head or an end");
    head = true;
    complete = last;
  }
  void onData(base::Buffer& data, bool last) {
    require(!ended && head && !complete, "a body before a head or behind an end");
    body += data.str();
    data.clear();
    complete = last;
  }
  void onTrailers() {
    require(!ended && head && !complete, "trailers before a head or behind an end");
    complete = true;
  }
  void onEnd() {
    require(!ended, "two ends");
    ended = true;
  }
};

struct Said {
  std::string body;
  bool head = false, complete = false;
  std::string more(size_t size, char seed) {
    std::string out(size, 'a');
    for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + (body.size() + i + static_cast<size_t>(seed)) % 26);
    body += out;
    return out;
  }
};

class Asker final : public ResponseSink {
 public:
  Asker() : arena_(base::Arena::create()) {}
  ~Asker() { arena_->unref(); }
  base::Arena& arena() override { return *arena_; }
  void onInformational(ResponseHead& head) override {
    require(!heard.head && !heard.ended, "1xx behind a head");
    checkHead(head.headers);
  }
  void onResponseHead(ResponseHead& head, bool last) override {
    heard.onHead(last);
    checkResponse(head);
  }
  void onResponseData(base::Buffer& data, bool last) override { heard.onData(data, last); }
  void onResponseTrailers(HeaderMap& map) override {
    heard.onTrailers();
    checkHead(map);
  }
  void onRoom() override { require(!heard.ended, "room behind an end"); }
  void onEnd(ResetReason why, std::string_view) override {
    heard.onEnd();
    reason = why;
    stream = nullptr;
  }
  // An upgrade that the peer accepted is told as 101 with the name of the protocol.
  void checkResponse(ResponseHead& head) {
    if (head.status == 101) head.headers.remove(HeaderId::kUpgrade);
    checkHead(head.headers);
  }
  ClientStream* stream = nullptr;
  Heard heard;
  Said said;
  ResetReason reason = ResetReason::kNone;
  base::Arena* arena_;
};

class Answerer final : public RequestSink {
 public:
  explicit Answerer(ServerStream& from) : stream(&from), arena_(base::Arena::create()) {}
  ~Answerer() { arena_->unref(); }
  base::Arena& arena() override { return *arena_; }
  void onRequestHead(RequestHead& head, bool last) override {
    heard.onHead(last);
    checkHead(head.headers);
    const std::string_view number = head.headers.get(HeaderId::kContentType);
    if (number.starts_with("n/")) asked_by = static_cast<size_t>(number[2] - '0') * 10 + static_cast<size_t>(number[3] - '0');
  }
  void onRequestData(base::Buffer& data, bool last) override { heard.onData(data, last); }
  void onRequestTrailers(HeaderMap& map) override {
    heard.onTrailers();
    checkHead(map);
  }
  void onMalformed(const CodecError&) override { require(!heard.ended, "a fault behind an end"); }
  void onRoom() override { require(!heard.ended, "room behind an end"); }
  void onEnd(ResetReason) override {
    heard.onEnd();
    stream = nullptr;
  }
  ServerStream* stream;
  Heard heard;
  Said said;
  size_t asked_by = ~size_t{0};
  base::Arena* arena_;
};

class Both final : public ServerCodecSink, public ClientCodecSink {
 public:
  Both(const Settings& at_server, const Settings& at_client)
      : server(std::make_unique<h2::ServerCodec>(at_server, server_counters, *this, now)),
        client(std::make_unique<h2::ClientCodec>(at_client, client_counters, *this, now)) {}
  RequestSink& onNewStream(ServerStream& stream) override {
    answers.push_back(std::make_unique<Answerer>(stream));
    return *answers.back();
  }
  void onOutput() override {}
  void onWantFeed() override {}
  void onIdle() override {}
  void onConnectionError(std::string_view details) override {
    require(!details.empty(), "an error without words");
    broken = true;
  }
  void onStreamDone() override {}
  void onGoAway() override { broken = true; }
  void onCapacity() override {}

  // Moves what is on a wire, at most `size` bytes of it.
  template <class Codec>
  static void pass(base::Buffer& wire, Codec& codec, size_t size) {
    base::Buffer piece;
    piece.move(wire, std::min(size, wire.size()));
    codec.feed(piece);
  }
  void exchange(size_t size) {
    client->fill(up);
    pass(up, *server, size);
    server->fill(down);
    pass(down, *client, size);
  }
  void play(std::string_view input);
  void op(uint8_t what, Script& script);
  void ask(uint8_t how);
  void answer(Answerer& with, uint8_t how);

  base::Nanos now = base::kSecond;
  Counters server_counters, client_counters;
  base::Buffer up, down;
  std::vector<std::unique_ptr<Asker>> asks;
  std::vector<std::unique_ptr<Answerer>> answers;
  bool broken = false;  // somebody broke something off: what is under way need not arrive
  Keepalive server_pings, client_pings;
  std::unique_ptr<h2::ServerCodec> server;
  std::unique_ptr<h2::ClientCodec> client;
};

void Both::ask(uint8_t how) {
  if (client->freeStreams() == 0 || asks.size() >= 60) return;
  asks.push_back(std::make_unique<Asker>());
  Asker& call = *asks.back();
  call.stream = &client->newStream(call);
  if (how == 0xff) {  // given up before it was asked
    call.stream->reset(ResetReason::kLocal);
    call.stream = nullptr;
    call.heard.ended = true;
    return;
  }
  auto* head = call.arena_->make<RequestHead>(*call.arena_);
  static constexpr std::string_view kMethods[] = {"GET", "POST", "POST", "HEAD", "CONNECT", "GET", "OPTIONS", "PUT"};
  head->method = kMethods[how & 7];
  head->scheme = "http";
  head->authority = (how & 7) == 7 ? "[::1]:80" : (how & 7) == 6 ? "h-1.test:8080" : "host.test";
  head->path = (how & 7) == 6 ? "*" : "/path";
  if ((how & 7) == 5) head->upgrade = "websocket";
  const size_t number = asks.size() - 1;
  const char digits[] = {'n', '/', static_cast<char>('0' + number / 10), static_cast<char>('0' + number % 10)};
  head->headers.addCopy("content-type", std::string_view(digits, 4));
  head->headers.addCopy("connection", "close");
  head->headers.addCopy("te", (how & 16) != 0 ? "trailers" : "gzip");
  if ((how & 32) != 0) {
    head->headers.addCopy("cookie", "a=1");
    head->headers.addCopy("cookie", "b=2");
    head->headers.addCopy("x-request-id", "12");
  }
  if ((how & 64) != 0) head->headers.addCopy("expect", "100-continue");
  if ((how & 128) != 0) head->headers.addCopy("x_y", "under");
  const bool last = (how & 8) != 0;
  call.said.head = true;
  call.said.complete = last;
  call.stream->sendHead(*head, last);
}

void Both::answer(Answerer& with, uint8_t how) {
  if (with.stream == nullptr || with.said.complete) return;
  if (!with.heard.head) return;  // a malformed one is the codec's
  const size_t length = static_cast<size_t>(how >> 4) * static_cast<size_t>(how >> 4) * 97;
  const bool last = (how & 8) != 0;
  if (!with.said.head) {
    auto* head = with.arena_->make<ResponseHead>(*with.arena_);
    static constexpr uint16_t kStatus[] = {200, 100, 103, 404, 101, 204, 999, 200};
    head->status = kStatus[how & 7];
    if (head->status == 101) head->headers.addCopy("upgrade", "websocket");
    head->headers.addCopy("x-answer", "y");
    if (head->status == 100 || head->status == 103) return with.stream->sendInformational(*head);
    if (head->status == 999) head->status = 599;
    if ((how & 0x70) == 0x70) {
      head->headers.addCopy("x-large", std::string(2500, 'l'));
      broken = true;
    }
    with.said.head = true;
    with.said.complete = last;
    with.stream->sendHead(*head, last);
    return;
  }
  if ((how & 7) == 7) {
    auto* map = with.arena_->make<HeaderMap>(*with.arena_);
    if ((how & 16) != 0) map->addCopy("x-trailer", "t");
    with.said.complete = true;
    with.stream->sendTrailers(*map);
    return;
  }
  base::Buffer data;
  data.append(with.said.more(length, 1));
  with.said.complete = last;
  (void)with.stream->sendData(data, last);
}

void Both::op(uint8_t what, Script& script) {
  const uint8_t arg = script.next();
  Asker* call = asks.empty() ? nullptr : asks[(arg & 7) % asks.size()].get();
  Answerer* with = answers.empty() ? nullptr : answers[(arg & 7) % answers.size()].get();
  switch (what % 24) {
    case 0:
    case 1: ask(arg); break;
    case 2:
    case 3:
      if (call != nullptr && call->stream != nullptr && !call->said.complete) {
        base::Buffer data;
        const size_t size = static_cast<size_t>(arg >> 4) * static_cast<size_t>(arg >> 4) * 113;
        data.append(call->said.more(size, 2));
        call->said.complete = (arg & 8) != 0;
        (void)call->stream->sendData(data, call->said.complete);
      }
      break;
    case 4:
      if (call != nullptr && call->stream != nullptr && !call->said.complete) {
        auto* map = call->arena_->make<HeaderMap>(*call->arena_);
        if ((arg & 8) != 0) map->addCopy("x-trailer", "t");
        call->said.complete = true;
        call->stream->sendTrailers(*map);
      }
      break;
    case 5:
      if (call != nullptr && call->stream != nullptr) {
        broken = true;
        call->stream->reset(static_cast<ResetReason>((arg >> 3) % 11));
        call->stream = nullptr;
        call->heard.ended = true;
      }
      break;
    case 6:
      if (call != nullptr && call->stream != nullptr) call->stream->pause((arg & 8) != 0);
      break;
    case 7:
    case 8:
      if (with != nullptr) answer(*with, script.next());
      break;
    case 9:
      if (with != nullptr && with->stream != nullptr) {
        broken = true;
        with->stream->reset(static_cast<ResetReason>((arg >> 3) % 11));
        with->stream = nullptr;
        with->heard.ended = true;
        if ((arg & 128) != 0) {  // the owner's memory goes: what the codec still needs it pinned
          with->arena_->unref();
          with->arena_ = base::Arena::create();
        }
      }
      break;
    case 10:
      if (with != nullptr && with->stream != nullptr) {
        with->stream->pause((arg & 8) != 0);
        require(with->stream->id() % 2 == 1 && with->stream->bytesIn() >= with->heard.body.size(), "bytes");
      }
      break;
    case 11: exchange(1u + arg); break;
    case 12: exchange(size_t{arg} * 1000); break;
    case 13:
      client->fill(up);
      if ((arg & 1) != 0) pass(up, *server, size_t{arg} * 40);
      break;
    case 14:
      server->fill(down);
      if ((arg & 1) != 0) pass(down, *client, size_t{arg} * 40);
      break;
    case 15:
      broken |= (arg & 1) == 0;
      if ((arg & 1) != 0)
        server->announceDrain();
      else if ((arg & 2) != 0)
        server->drain();
      else
        client->drain();
      break;
    case 16:
      server_pings.start(*server, {2 * base::kSecond, base::kSecond, 15}, now, arg);
      client_pings.start(*client, {2 * base::kSecond, base::kSecond, 15}, now, arg);
      break;
    case 17:
      now += base::kSecond / 4 * (arg % 16);
      if (!server_pings.onTime()) broken = true;
      if (!client_pings.onTime()) broken = true;
      (void)server_pings.deadline();
      break;
    case 18: (arg & 1) != 0 ? server->sendPing() : client->sendPing(); break;
    case 19:
      server->onOutputDrained();
      client->onOutputDrained();
      require(server->openStreams() <= answers.size() && client->openStreams() <= asks.size(), "open streams");
      break;
    case 20:
      // Frames that no codec of ours writes, between two of its own.
      if (up.empty()) {
        client->fill(up);
        pass(up, *server, up.size());
        broken = true;
        up.append(framesOf(script.take(arg % 64)));
      }
      break;
    case 21:
      if (down.empty()) {
        server->fill(down);
        pass(down, *client, down.size());
        broken = true;
        down.append(framesOf(script.take(arg % 64)));
      }
      break;
    case 22:
      broken = true;
      switch (arg % 8) {
        case 0: server->onPeerFinished(); break;
        case 1: client->onPeerFinished(); break;
        case 2: server->resetAll(ResetReason::kConnectionClosed); break;
        case 3: client->resetAll(ResetReason::kTimeout); break;
        default: Memory::trimThisThread(); break;
      }
      break;
    default: exchange(100000); break;
  }
}

void Both::play(std::string_view input) {
  const auto check = [this] {
    for (const auto& each : answers) {
      if (each->asked_by >= asks.size()) continue;
      const Asker& from = *asks[each->asked_by];
      require(std::string_view(from.said.body).starts_with(each->heard.body) || broken, "another request's bytes", from.said.body,
              each->heard.body);
      require(std::string_view(each->said.body).starts_with(from.heard.body) || broken, "another response's bytes", each->said.body,
              from.heard.body);
    }
  };
  for (Script script(input); !script.empty();) {
    op(script.next(), script);
    check();
  }
  // Everybody does his part.
  for (const auto& each : asks) {
    if (each->stream == nullptr) continue;
    each->stream->pause(false);
    if (each->said.complete) continue;
    base::Buffer none;
    each->said.complete = true;
    (void)each->stream->sendData(none, true);
  }
  for (int i = 0; i < 5000; ++i) {
    exchange(1 << 20);
    for (size_t k = 0; k < answers.size(); ++k) {
      if (answers[k]->stream == nullptr) continue;
      answers[k]->stream->pause(false);
      if (answers[k]->said.complete) continue;
      answer(*answers[k], answers[k]->said.head ? 0x1d : 0x00);
    }
    if (client->openStreams() == 0 && server->openStreams() == 0) break;
  }
  check();
  if (!broken) {
    require(client->openStreams() == 0 && server->openStreams() == 0, "everybody did his part and a stream lives on");
    for (const auto& each : answers) {
      if (each->asked_by >= asks.size()) continue;
      const Asker& from = *asks[each->asked_by];
      if (from.reason != ResetReason::kNone || !from.heard.complete) continue;
      require(from.heard.body == each->said.body, "a response is not whole", each->said.body, from.heard.body);
    }
  }
  server->resetAll(ResetReason::kConnectionClosed);
  client->resetAll(ResetReason::kConnectionClosed);
  for (const auto& each : asks) require(each->heard.ended, "an end was not told");
  for (const auto& each : answers) require(each->heard.ended, "an end was not told");
}

void driveBoth(const Settings& settings, std::string_view input, uint8_t seed) {
  Settings at_client = settings;
  if ((seed & 1) != 0) {
    at_client.max_concurrent_streams = 40;  // more than the server wants
    at_client.underscores = Underscores::kAllow;
  }
  Settings at_server = settings;
  if ((seed & 4) != 0) at_server.max_outbound_frames = at_client.max_outbound_frames = 12;
  if ((seed & 8) != 0) at_server.premature_reset_age_ns = 0;
  Both both(at_server, at_client);
  both.play(input);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3 || size > 8000) return 0;
  const size_t arenas = base::Arena::liveOnThisThread(), blocks = base::Block::liveOnThisThread(), pieces = Memory::live();
  const Settings settings = settingsOf(data[0] >> 3, data[1]);
  const std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string bytes = (data[0] & 4) != 0 ? std::string(rest) : framesOf(rest);
  switch (data[0] & 3) {
    case 0: driveServer(settings, bytes, data[1]); break;
    case 1: driveClient(settings, bytes, data[1]); break;
    case 2: driveEvents(settings, bytes, data[1]); break;
    default: driveBoth(settings, rest, data[1]); break;
  }
  require(base::Arena::liveOnThisThread() == arenas, "an arena is left");
  require(base::Block::liveOnThisThread() == blocks, "a block is left");
  require(Memory::live() == pieces, "a piece is left");
  return 0;
}
