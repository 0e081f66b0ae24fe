// What the tests, the fuzzer and the benchmark drive the codecs with: sinks that write down what they are told, a pair of codecs
// joined in memory, and a peer that writes raw frames.
// Thread: the test's. Units: bytes.
#pragma once

#include <cstring>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nghttp2/nghttp2.h>

#include "source/http/h2/client_codec.h"
#include "source/http/h2/server_codec.h"

namespace outrider::http::h2::testing {

using Fields = std::vector<std::pair<std::string, std::string>>;

inline std::string describe(const HeaderMap& headers) {
  std::string out;
  headers.forEach([&](const Header& header) { out.append(header.name()).append("=").append(header.value()).append("\n"); });
  return out;
}

inline const char* reasonName(ResetReason reason) {
  switch (reason) {
    case ResetReason::kNone: return "none";
    case ResetReason::kLocal: return "local";
    case ResetReason::kRemoteReset: return "remote-reset";
    case ResetReason::kRemoteRefused: return "remote-refused";
    case ResetReason::kConnectionClosed: return "connection-closed";
    case ResetReason::kProtocolError: return "protocol-error";
    case ResetReason::kOverflow: return "overflow";
    case ResetReason::kConnectFailure: return "connect-failure";
    case ResetReason::kConnectTimeout: return "connect-timeout";
    case ResetReason::kPoolOverflow: return "pool-overflow";
    case ResetReason::kTimeout: return "timeout";
  }
  return "?";
}

// The server's view of one exchange.
class Exchange final : public RequestSink {
 public:
  explicit Exchange(ServerStream& stream) : stream(&stream), arena_(base::Arena::create()) {}
  ~Exchange() { arena_->unref(); }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  base::Arena& arena() override { return *arena_; }
  void onRequestHead(RequestHead& from, bool last) override {
    head = &from;
    text = std::string(from.method) + " " + std::string(from.scheme) + "://" + std::string(from.authority) + std::string(from.path) + "\n" +
           (from.upgrade.empty() ? "" : "(upgrade " + std::string(from.upgrade) + ")\n") + describe(from.headers);
    complete |= last;
  }
  void onRequestData(base::Buffer& data, bool last) override {
    body += data.str();
    data.clear();
    ++pieces;
    complete |= last;
  }
  void onRequestTrailers(HeaderMap& from) override {
    trailers = describe(from);
    complete = true;
  }
  void onMalformed(const CodecError& error) override {
    status = error.status;
    fault = error.details;
  }
  void onRoom() override { ++rooms; }
  void onEnd(ResetReason why) override {
    ended = true;
    reason = why;
    stream = nullptr;
  }

  // Answers with arena bytes, so that a frame that outlives them would show.
  Room reply(uint16_t code, const Fields& fields, std::string_view bytes, bool last = true) {
    auto* answer = arena_->make<ResponseHead>(*arena_);
    answer->status = code;
    for (const auto& [name, value] : fields) answer->headers.addCopy(name, value);
    stream->sendHead(*answer, bytes.empty() && last);
    if (bytes.empty()) return Room::kMore;
    return send(bytes, last);
  }
  Room send(std::string_view bytes, bool last) {
    base::Buffer data;
    data.append(bytes);
    return stream->sendData(data, last);
  }
  void sendTrailers(const Fields& fields) {
    auto* map = arena_->make<HeaderMap>(*arena_);
    for (const auto& [name, value] : fields) map->addCopy(name, value);
    stream->sendTrailers(*map);
  }
  void reset(ResetReason why) {
    stream->reset(why);
    stream = nullptr;
  }
  // The owner lets its memory go, as after onEnd(): what the codec still needs it must have pinned.
  void letGo() {
    arena_->unref();
    arena_ = base::Arena::create();
  }

  ServerStream* stream;
  RequestHead* head = nullptr;
  std::string text, body, trailers, fault;
  uint16_t status = 0;
  int pieces = 0, rooms = 0;
  bool complete = false, ended = false;
  ResetReason reason = ResetReason::kNone;

 private:
  base::Arena* arena_;
};

class ServerSide final : public ServerCodecSink {
 public:
  explicit ServerSide(const Settings& settings = {}) : codec(std::make_unique<ServerCodec>(settings, counters, *this, now)) {}

  RequestSink& onNewStream(ServerStream& stream) override {
    exchanges.push_back(std::make_unique<Exchange>(stream));
    return *exchanges.back();
  }
  void onOutput() override { output = true; }
  void onWantFeed() override { want_feed = true; }
  void onIdle() override { ++idles; }
  void onConnectionError(std::string_view details) override { error = details; }

  Exchange& at(size_t i) { return *exchanges.at(i); }
  Exchange& last() { return *exchanges.back(); }
  size_t count() const { return exchanges.size(); }

  base::Nanos now = base::kSecond;
  Counters counters;
  std::vector<std::unique_ptr<Exchange>> exchanges;
  bool output = false, want_feed = false;
  int idles = 0;
  std::string error;
  std::unique_ptr<ServerCodec> codec;
};

// The client's view of one exchange.
class Call final : public ResponseSink {
 public:
  Call() : arena_(base::Arena::create()) {}
  ~Call() { arena_->unref(); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  base::Arena& arena() override { return *arena_; }
  void onInformational(ResponseHead& head) override { informational += std::to_string(head.status) + " "; }
  void onResponseHead(ResponseHead& head, bool last) override {
    status = head.status;
    text = describe(head.headers);
    complete |= last;
  }
  void onResponseData(base::Buffer& data, bool last) override {
    body += data.str();
    data.clear();
    complete |= last;
  }
  void onResponseTrailers(HeaderMap& from) override {
    trailers = describe(from);
    complete = true;
  }
  void onRoom() override { ++rooms; }
  void onEnd(ResetReason why, std::string_view what) override {
    ended = true;
    reason = why;
    details = what;
    stream = nullptr;
  }

  void sendHead(std::string_view method, std::string_view path, const Fields& fields, bool last, std::string_view upgrade = {}) {
    auto* head = arena_->make<RequestHead>(*arena_);
    head->method = method;
    head->scheme = "http";
    head->authority = arena_->copy("host.test");
    head->path = arena_->copy(path);
    head->upgrade = upgrade;
    for (const auto& [name, value] : fields) head->headers.addCopy(name, value);
    stream->sendHead(*head, last);
  }
  Room send(std::string_view bytes, bool last) {
    base::Buffer data;
    data.append(bytes);
    return stream->sendData(data, last);
  }
  void sendTrailers(const Fields& fields) {
    auto* map = arena_->make<HeaderMap>(*arena_);
    for (const auto& [name, value] : fields) map->addCopy(name, value);
    stream->sendTrailers(*map);
  }
  void reset(ResetReason why) {
    stream->reset(why);
    stream = nullptr;
  }

  ClientStream* stream = nullptr;
  uint16_t status = 0;
  std::string text, body, trailers, informational, details;
  int rooms = 0;
  bool complete = false, ended = false;
  ResetReason reason = ResetReason::kNone;

 private:
  base::Arena* arena_;
};

class ClientSide final : public ClientCodecSink {
 public:
  explicit ClientSide(const Settings& settings = {}) : codec(std::make_unique<ClientCodec>(settings, counters, *this, now)) {}

  void onOutput() override { output = true; }
  void onWantFeed() override { want_feed = true; }
  void onStreamDone() override { ++done; }
  void onGoAway() override { ++goaways; }
  void onCapacity() override { ++capacities; }
  void onConnectionError(std::string_view details) override { error = details; }

  Call& open() {
    calls.push_back(std::make_unique<Call>());
    calls.back()->stream = &codec->newStream(*calls.back());
    return *calls.back();
  }
  Call& get(std::string_view path, const Fields& fields = {}) {
    Call& call = open();
    call.sendHead("GET", path, fields, true);
    return call;
  }

  base::Nanos now = base::kSecond;
  Counters counters;
  std::vector<std::unique_ptr<Call>> calls;
  bool output = false, want_feed = false;
  int done = 0, goaways = 0, capacities = 0;
  std::string error;
  std::unique_ptr<ClientCodec> codec;
};

// A client and a server with two wires between.
class Pair {
 public:
  explicit Pair(const Settings& settings = {}) : Pair(settings, settings) {}
  Pair(const Settings& server_settings, const Settings& client_settings) : server(server_settings), client(client_settings) {}

  // Moves bytes until nothing moves; `piece` splits the wire (0: whole).
  void run(size_t piece = 0) {
    while (turn(piece)) {
    }
  }
  bool turn(size_t piece = 0) {
    bool moved = false;
    base::Buffer to_server, to_client;
    client.codec->fill(to_server);
    moved |= pass(to_server, *server.codec, piece);
    server.codec->fill(to_client);
    moved |= pass(to_client, *client.codec, piece);
    if (std::exchange(server.want_feed, false)) {
      base::Buffer none;
      server.codec->feed(none);
      moved = true;
    }
    if (std::exchange(client.want_feed, false)) {
      base::Buffer none;
      client.codec->feed(none);
      moved = true;
    }
    return moved;
  }

  ServerSide server;
  ClientSide client;

 private:
  template <class Codec>
  static bool pass(base::Buffer& bytes, Codec& codec, size_t piece) {
    if (bytes.empty()) return false;
    if (piece == 0) {
      codec.feed(bytes);
      return true;
    }
    const std::string all = bytes.str();
    for (size_t at = 0; at < all.size(); at += piece) {
      base::Buffer part;
      part.append(std::string_view(all).substr(at, piece));
      codec.feed(part);
    }
    return true;
  }
};

// ---- Raw frames ----

enum Flag : uint8_t { kNoFlags = 0, kAck = 1, kEndStream = 1, kEndHeaders = 4, kPadded = 8, kPriorityFlag = 0x20 };

struct Frame {
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t stream = 0;
  std::string payload;
};

inline void put32(std::string& to, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<char>(value >> shift));
}
inline uint32_t get32(std::string_view from) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(from[i]);
  return value;
}

inline std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string out;
  out.push_back(static_cast<char>(payload.size() >> 16));
  out.push_back(static_cast<char>(payload.size() >> 8));
  out.push_back(static_cast<char>(payload.size()));
  out.push_back(static_cast<char>(type));
  out.push_back(static_cast<char>(flags));
  put32(out, stream);
  out.append(payload);
  return out;
}
inline std::string settingsFrame(std::initializer_list<std::pair<uint16_t, uint32_t>> entries = {}) {
  std::string payload;
  for (const auto& [id, value] : entries) {
    payload.push_back(static_cast<char>(id >> 8));
    payload.push_back(static_cast<char>(id));
    put32(payload, value);
  }
  return frame(NGHTTP2_SETTINGS, 0, 0, payload);
}
inline std::string number(uint32_t value) {
  std::string out;
  put32(out, value);
  return out;
}
inline std::string resetFrame(uint32_t stream, uint32_t code) { return frame(NGHTTP2_RST_STREAM, 0, stream, number(code)); }
inline std::string windowFrame(uint32_t stream, uint32_t by) { return frame(NGHTTP2_WINDOW_UPDATE, 0, stream, number(by)); }
inline std::string dataFrame(uint32_t stream, std::string_view bytes, bool last = false) {
  return frame(NGHTTP2_DATA, last ? kEndStream : kNoFlags, stream, bytes);
}
inline std::string pingFrame() { return frame(NGHTTP2_PING, 0, 0, "12345678"); }

// A header block of plain literals, each string in the clear: whatever bytes a test wants.
inline std::string literal(std::string_view bytes) {
  std::string out;
  if (bytes.size() < 127) {
    out.push_back(static_cast<char>(bytes.size()));
  } else {
    out.push_back(127);
    size_t rest = bytes.size() - 127;
    for (; rest >= 128; rest >>= 7) out.push_back(static_cast<char>(rest % 128 + 128));
    out.push_back(static_cast<char>(rest));
  }
  return out.append(bytes);
}
inline std::string block(const Fields& fields) {
  std::string out;
  for (const auto& [name, value] : fields) {
    out.push_back(0);  // literal without indexing, new name
    out += literal(name);
    out += literal(value);
  }
  return out;
}
inline std::string headersFrame(uint32_t stream, const Fields& fields, bool last = true) {
  return frame(NGHTTP2_HEADERS, kEndHeaders | (last ? kEndStream : 0), stream, block(fields));
}
inline Fields request(std::string_view method = "GET", std::string_view path = "/") {
  return {{":method", std::string(method)}, {":scheme", "http"}, {":path", std::string(path)}, {":authority", "h"}};
}
inline Fields with(Fields fields, const Fields& more) {
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}
inline const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Reads frames back out of what a codec wrote.
class FrameReader {
 public:
  FrameReader() { nghttp2_hd_inflate_new(&inflater_); }
  ~FrameReader() { nghttp2_hd_inflate_del(inflater_); }
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;

  std::vector<Frame> read(base::Buffer& from) {
    rest_ += from.str();
    from.clear();
    std::vector<Frame> out;
    if (rest_.starts_with(kPreface)) rest_.erase(0, kPreface.size());
    while (rest_.size() >= 9) {
      const size_t size = get32(std::string("\0", 1) + rest_.substr(0, 3));
      if (rest_.size() < 9 + size) break;
      out.push_back({static_cast<uint8_t>(rest_[3]), static_cast<uint8_t>(rest_[4]), get32(rest_.substr(5, 4)), rest_.substr(9, size)});
      rest_.erase(0, 9 + size);
    }
    return out;
  }
  // Frames as text: "HEADERS 1 end :status=200 ...".
  std::string text(base::Buffer& from) {
    std::string out;
    for (const Frame& each : read(from)) out += describeFrame(each) + "\n";
    return out;
  }
  std::string describeFrame(const Frame& each) {
    static const char* const kNames[] = {"DATA", "HEADERS", "PRIORITY", "RST", "SETTINGS", "PUSH", "PING", "GOAWAY", "WINDOW"};
    std::string out = each.type < 9 ? kNames[each.type] : "?";
    out += " " + std::to_string(each.stream);
    switch (each.type) {
      case NGHTTP2_DATA:
        out += " " + std::to_string(each.payload.size());
        if ((each.flags & kEndStream) != 0) out += " end";
        break;
      case NGHTTP2_HEADERS:
        if ((each.flags & kEndStream) != 0) out += " end";
        for (const auto& [name, value] : inflate(each.payload)) out += " " + name + "=" + value;
        break;
      case NGHTTP2_RST_STREAM: out += std::string(" ") + nghttp2_http2_strerror(get32(each.payload)); break;
      case NGHTTP2_GOAWAY:
        out = std::string("GOAWAY ") + std::to_string(get32(each.payload) & 0x7fffffff) + " " +
              nghttp2_http2_strerror(get32(each.payload.substr(4)));
        break;
      case NGHTTP2_WINDOW_UPDATE: out += " " + std::to_string(get32(each.payload)); break;
      case NGHTTP2_SETTINGS:
      case NGHTTP2_PING:
        if ((each.flags & kAck) != 0) out += " ack";
        break;
      default: break;
    }
    return out;
  }

 private:
  Fields inflate(const std::string& bytes) {
    Fields out;
    std::string copy = bytes;
    auto* at = reinterpret_cast<uint8_t*>(copy.data());
    size_t left = copy.size();
    for (;;) {
      nghttp2_nv nv;
      int flags = 0;
      const ssize_t n = nghttp2_hd_inflate_hd2(inflater_, &nv, &flags, at, left, 1);
      if (n < 0) break;
      at += n;
      left -= static_cast<size_t>(n);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        out.emplace_back(std::string(reinterpret_cast<char*>(nv.name), nv.namelen),
                         std::string(reinterpret_cast<char*>(nv.value), nv.valuelen));
      }
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    }
    nghttp2_hd_inflate_end_headers(inflater_);
    return out;
  }

  nghttp2_hd_inflater* inflater_ = nullptr;
  std::string rest_;
};

// A client that writes raw frames to a server codec.
class RawClient {
 public:
  explicit RawClient(const Settings& settings = {}, bool preface = true) : server(settings) {
    if (preface) send(kPreface + settingsFrame());
  }
  // Feeds and collects what comes back.
  Feed send(std::string_view bytes) {
    base::Buffer in;
    in.append(bytes);
    const Feed answer = server.codec->feed(in);
    collect();
    return answer;
  }
  void feedOnly(std::string_view bytes) {
    base::Buffer in;
    in.append(bytes);
    server.codec->feed(in);
  }
  void collect() {
    for (;;) {
      base::Buffer out;
      server.codec->fill(out);
      if (out.empty()) break;
      wire += reader.text(out);
    }
  }
  std::string takeWire() { return std::exchange(wire, {}); }
  bool wrote(std::string_view text) const { return wire.find(text) != std::string::npos; }

  ServerSide server;
  FrameReader reader;
  std::string wire;
};

// A server that writes raw frames to a client codec.
class RawServer {
 public:
  explicit RawServer(const Settings& settings = {}) : client(settings) { send(settingsFrame()); }
  Feed send(std::string_view bytes) {
    base::Buffer in;
    in.append(bytes);
    const Feed answer = client.codec->feed(in);
    collect();
    return answer;
  }
  void collect() {
    for (;;) {
      base::Buffer out;
      client.codec->fill(out);
      if (out.empty()) break;
      wire += reader.text(out);
    }
  }
  bool wrote(std::string_view text) const { return wire.find(text) != std::string::npos; }

  ClientSide client;
  FrameReader reader;
  std::string wire;
};

}  // namespace outrider::http::h2::testing
