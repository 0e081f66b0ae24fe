// HTTP/1 codecs over random bytes in random pieces. First byte: what is driven and how the settings are.
// Invariants: the same outcome however the bytes are cut; with or without vector instructions the same; never Content-Length and
// Transfer-Encoding together in what is sent on, nor two of either; what the client codec writes is read by the server codec as
// the same message, one and no more; no arena and no block is left behind.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "source/http/h1/harness.h"
#include "source/http/h1/scan.h"
#include "test/fuzz/require.h"

using namespace outrider::http;
using namespace outrider::http::h1;
namespace base = outrider::base;
using outrider::http::h1::testing::Call;
using outrider::http::h1::testing::Client;
using outrider::http::h1::testing::Exchange;
using outrider::http::h1::testing::Server;
using outrider::test::require;

namespace {

Settings settingsOf(uint8_t bits) {
  Settings settings = (bits & 1) != 0 ? Settings::upstream() : Settings();
  if ((bits & 2) != 0) settings.lenient = Lenient::all();
  settings.enable_trailers = (bits & 4) != 0;
  settings.accept_http_10 = (bits & 8) != 0;
  settings.allow_chunked_length = (bits & 16) != 0;
  settings.allow_custom_methods = (bits & 32) != 0;
  settings.max_headers = 20;
  settings.max_head_bytes = 2000;
  return settings;
}

// Cut by a small generator, so that pieces are not part of the input.
class Pieces {
 public:
  Pieces(std::string_view bytes, uint32_t seed) : left_(bytes), state_(seed * 2654435761u + 1) {}
  bool next(std::string_view& piece) {
    if (left_.empty()) return false;
    state_ = state_ * 1664525u + 1013904223u;
    const uint32_t roll = state_ >> 24;
    piece = left_.substr(0, roll < 100 ? 1 : roll < 200 ? 1 + (state_ >> 8) % 16 : 1 + (state_ >> 8) % 300);
    left_.remove_prefix(piece.size());
    return true;
  }

 private:
  std::string_view left_;
  uint32_t state_;
};

size_t countLines(std::string_view head, std::string_view start) {
  size_t found = 0;
  for (size_t at = head.find(start); at != std::string_view::npos; at = head.find(start, at + 1)) ++found;
  return found;
}

// What a proxy does with each complete request: it goes out by a client codec, and a strict server reads that back.
void sendOn(const Exchange& exchange, bool trailers) {
  const RequestHead& head = *exchange.head;
  Settings upstream = Settings::upstream();
  upstream.enable_trailers = trailers;
  Client client(upstream);
  Call& call = client.open();
  const bool tunnel = head.isConnect() || !head.upgrade.empty();
  const bool empty = exchange.body.empty() && !tunnel;
  call.stream->sendHead(head, empty);
  if (!empty && !tunnel) client.send(call, exchange.body, true);
  client.turn();
  const std::string out = client.takeOut();
  // The writer refuses only what would split the message.
  if (call.ended) return require(out.empty() || !empty, "a refused head left bytes", out);

  const std::string_view text(out);
  const size_t end = text.find("\r\n\r\n");
  require(end != std::string_view::npos, "no end of the head", text);
  const std::string_view lines = text.substr(0, end + 2);
  const size_t lengths = countLines(lines, "\r\ncontent-length:");
  const size_t encodings = countLines(lines, "\r\ntransfer-encoding:");
  require(lengths + encodings <= 1, "framed twice", text);
  require(countLines(lines, "\r\nhost:") == 1, "not one host", text);
  require(countLines(lines, "\n") == countLines(lines, "\r\n") && countLines(lines, "\r") == countLines(lines, "\r\n"), "bare line end",
          text);

  Settings again;
  again.lenient = Lenient::all();
  again.lenient.bare_lf = again.lenient.obs_fold = again.lenient.request_line_space = false;
  again.allow_custom_methods = true;
  again.max_headers = 200;
  again.max_head_bytes = 100000;
  Server server(again);
  server.feed(text);
  // A target that is only a query, and two hosts made one by a lenient switch, are the connection manager's to refuse; a codec
  // does not read them.
  if (head.path.starts_with('?') || head.path.starts_with('#') || head.authority.find(',') != std::string_view::npos) return;
  require(server.exchanges.size() == 1, "not one message", text);
  const Exchange& read = server.last();
  require(read.error.empty(), "what was sent on is refused", text, read.error);
  require(read.head->method == (head.isConnect() && !head.upgrade.empty() ? "GET" : head.method), "method", text, read.head->method);
  require(read.head->path == head.path, "path", head.path, read.head->path);
  require(read.head->authority == head.authority, "authority", head.authority, read.head->authority);
  require(read.head->upgrade == head.upgrade, "upgrade", head.upgrade, read.head->upgrade);
  require(read.body == exchange.body, "body", exchange.body, read.body);
  require(read.complete == !tunnel, "completeness", text);
  require(server.in.empty(), "bytes behind the message", text);
  // Every field but those that frame.
  const auto fields = [](const HeaderMap& map) {
    std::string all;
    map.forEach([&](const Header& header) {
      if (header.id == HeaderId::kContentLength) return;
      all.append(header.name()).append("=").append(header.value()).append("\n");
    });
    return all;
  };
  require(fields(read.head->headers) == fields(head.headers), "fields", fields(head.headers), fields(read.head->headers));
}

void driveServer(const Settings& settings, std::string_view bytes, uint8_t shape) {
  const bool finish = (shape & 1) != 0;
  Server whole(settings);
  whole.answers_all = true;
  whole.feed(bytes);
  if (finish) whole.finish();
  const std::string trace = whole.trace();
  const std::string out = whole.out.str();
  for (uint32_t seed = shape; seed < shape + 3u; ++seed) {
    Server cut(settings);
    cut.answers_all = true;
    Pieces pieces(bytes, seed);
    for (std::string_view piece; pieces.next(piece);) cut.feed(piece);
    if (finish) cut.finish();
    // Behind the end of a connection bytes may or may not have been taken in; what was told and answered may not differ.
    require(cut.out.str() == out, "answers depend on cuts", out, cut.out.str());
    require(cut.exchanges.size() == whole.exchanges.size(), "requests depend on cuts", trace, cut.trace());
    for (size_t i = 0; i < cut.exchanges.size(); ++i) {
      const Exchange& a = *whole.exchanges[i];
      const Exchange& b = *cut.exchanges[i];
      // A body that breaks is told up to where it was read: how far differs.
      if (a.error.empty()) require(a.trace() == b.trace(), "an exchange depends on cuts", a.trace(), b.trace());
      require(a.error == b.error && a.status == b.status && a.head_text == b.head_text, "a refusal depends on cuts", a.trace(), b.trace());
    }
    require(cut.codec.finished() == whole.codec.finished(), "the end depends on cuts", trace, cut.trace());
  }
  for (const auto& exchange : whole.exchanges) {
    if (exchange->head != nullptr && exchange->error.empty() &&
        (exchange->complete || !exchange->head->upgrade.empty() || exchange->head->isConnect())) {
      sendOn(*exchange, settings.enable_trailers);
    }
  }
}

// The first eight bytes are a script of events that come between the pieces.
class Script {
 public:
  explicit Script(std::string_view& bytes) : left_(bytes.substr(0, 8)) { bytes.remove_prefix(left_.size()); }
  bool next(uint8_t& event) {
    if (left_.empty()) return false;
    event = static_cast<uint8_t>(left_[0]);
    left_.remove_prefix(1);
    return true;
  }

 private:
  std::string_view left_;
};

// Answers at any moment and in parts, pauses, drains, resets: no outcome is compared, only what always holds.
void driveEvents(const Settings& settings, std::string_view bytes, uint8_t shape) {
  Settings tight = settings;
  tight.buffer_limit = 64;
  tight.drain_limit = 40;
  tight.answer_half_closed = (shape & 1) == 0;
  tight.underscores = (shape & 2) != 0 ? Underscores::kDrop : (shape & 4) != 0 ? Underscores::kReject : Underscores::kAllow;
  if ((shape & 8) != 0) tight.default_host_for_http_10 = "default.test";
  if ((shape & 16) != 0) tight.allow_absolute_url = false;
  Script script(bytes);
  Server server(tight);
  bool peer_finished = false;
  bool head_sent = false;
  size_t of = 0;  // the exchange that head_sent is about
  const auto act = [&](uint8_t event) {
    if (server.exchanges.size() != of) {
      of = server.exchanges.size();
      head_sent = false;
    }
    Exchange* open = server.exchanges.empty() ? nullptr : &server.last();
    if (open != nullptr && (open->ended || open->stream == nullptr || server.answered == of)) open = nullptr;
    switch (event % 14) {
      case 0: server.codec.drain(); break;
      case 1: server.codec.announceDrain(); break;
      case 2:
        peer_finished = true;
        server.codec.onPeerFinished();
        break;
      case 3:
        server.out.clear();
        server.codec.onOutputDrained();
        break;
      case 4:
      case 5:
        if (open != nullptr) open->stream->pause(event % 14 == 4);
        break;
      case 6:
        if (open != nullptr) {
          ServerStream* const stream = std::exchange(open->stream, nullptr);
          stream->reset(ResetReason::kLocal);
        }
        break;
      case 7:
        if (open != nullptr && !head_sent) {
          ResponseHead head(open->arena());
          head.status = 100;
          open->stream->sendInformational(head);
        }
        break;
      case 8:
      case 9:
      case 10:
        if (open != nullptr && !head_sent) {
          const bool tunnel = open->head != nullptr && open->error.empty() && !open->head->upgrade.empty() && event % 14 == 8;
          const int status = open->status != 0 ? open->status
                             : tunnel          ? 101
                             : event < 100     ? 200
                             : event < 120     ? 204
                             : event < 140     ? 304
                                               : 500;
          const bool last = event % 14 == 9;
          const bool split = event > 240;
          server.sendHead(*open, status, {{"x-a", split ? "a\nb" : "b"}}, last, event % 3 == 0 ? event % 40 : -1);
          head_sent = true;
          if (last) server.answered = of;
        }
        break;
      case 11:
      case 12:
        if (open != nullptr && head_sent) {
          base::Buffer data;
          data.append(std::string(event / 4, 'd'));
          const bool last = event % 14 == 12;
          (void)open->stream->sendData(data, last);
          require(data.empty(), "data left behind");
          if (last) server.answered = of;
        }
        break;
      case 13:
        if (open != nullptr && head_sent) {
          HeaderMap trailers(open->arena());
          trailers.add("x-t", event > 100 ? "v" : "v\r");
          open->stream->sendTrailers(trailers);
          server.answered = of;
        }
        break;
    }
  };
  Pieces pieces(bytes, shape);
  uint8_t event = 0;
  for (std::string_view piece; pieces.next(piece);) {
    if (peer_finished) break;
    server.feed(piece);
    if (script.next(event)) {
      act(event);
      server.turn();
    }
  }
  while (script.next(event)) {
    act(event);
    server.turn();
  }
  server.codec.resetAll(ResetReason::kConnectionClosed);
  require(server.codec.finished() && server.codec.openStreams() == 0, "a stream outlives its connection");
  for (const auto& each : server.exchanges) require(each->ended || each->stream == nullptr, "a stream without an end");
}

void driveClientEvents(const Settings& settings, std::string_view bytes, uint8_t shape) {
  Settings tight = settings;
  tight.buffer_limit = 64;
  Script script(bytes);
  Client client(tight);
  Call* call = nullptr;
  bool last_sent = false;
  bool peer_finished = false;
  const auto open = [&] {
    if (client.codec.freeStreams() == 0) return;
    call = &client.open();
    RequestHead head(call->arena());
    head.method = (shape & 3) == 0 ? "CONNECT" : (shape & 3) == 1 ? "HEAD" : "POST";
    head.path = "/";
    head.authority = "h:80";
    if ((shape & 3) == 2) head.upgrade = "websocket";
    if ((shape & 4) != 0) head.headers.add(HeaderId::kContentLength, "9");
    last_sent = (shape & 8) != 0;
    call->stream->sendHead(head, last_sent);
  };
  const auto act = [&](uint8_t event) {
    const bool live = call != nullptr && !call->ended && call->stream != nullptr;
    switch (event % 9) {
      case 0: client.codec.drain(); break;
      case 1:
        peer_finished = true;
        client.codec.onPeerFinished();
        break;
      case 2:
        client.out.clear();
        client.codec.onOutputDrained();
        break;
      case 3:
      case 4:
        if (live) call->stream->pause(event % 9 == 3);
        break;
      case 5:
        if (live) std::exchange(call->stream, nullptr)->reset(ResetReason::kLocal);
        break;
      case 6:
        if (live && !last_sent) {
          last_sent = event > 100;
          client.send(*call, std::string(event / 8, 'd'), last_sent);
        }
        break;
      case 7:
        if (live && !last_sent) {
          HeaderMap trailers(call->arena());
          trailers.add("x-t", "v");
          call->stream->sendTrailers(trailers);
          last_sent = true;
        }
        break;
      case 8: open(); break;
    }
  };
  open();
  Pieces pieces(bytes, shape);
  uint8_t event = 0;
  for (std::string_view piece; pieces.next(piece);) {
    if (peer_finished) break;
    client.feed(piece);
    if (script.next(event)) {
      act(event);
      client.turn();
    }
  }
  while (script.next(event)) {
    act(event);
    client.turn();
  }
  client.codec.resetAll(ResetReason::kConnectionClosed);
  require(client.codec.finished() && client.codec.openStreams() == 0 && client.codec.freeStreams() == 0,
          "a stream outlives its connection");
  for (const auto& each : client.calls) require(each->ended || each->stream == nullptr, "a call without an end");
}

void driveClient(const Settings& settings, std::string_view bytes, uint8_t shape) {
  const char* const method = (shape & 6) == 2 ? "HEAD" : (shape & 6) == 4 ? "POST" : "GET";
  const char* const upgrade = (shape & 6) == 6 ? "websocket" : "";
  const bool finish = (shape & 1) != 0;
  std::string trace;
  for (uint32_t round = 0; round < 4; ++round) {
    Client client(settings);
    Call& call = client.call(method, "/", {}, *upgrade == '\0', upgrade);
    if (round == 0) {
      client.feed(bytes);
    } else {
      Pieces pieces(bytes, shape + round);
      for (std::string_view piece; pieces.next(piece);) client.feed(piece);
    }
    if (finish) client.finish();
    // Reuse may differ: glued bytes that came with the response spoil it, those that come later are unasked. Both end it.
    require(!call.ended || call.complete || call.end != ResetReason::kNone, "a clean end of half a response");
    if (round == 0) {
      trace = call.trace();
    } else {
      require(call.trace() == trace, "a response depends on cuts", trace, call.trace());
    }
    if (call.complete && call.ended && call.status >= 200 && finish) require(client.codec.finished(), "reuse after FIN");
  }
}

// What a response becomes on its way to a client, read back by a client codec.
void relay(const Settings& settings, std::string_view bytes) {
  Client up(settings);
  class Keeper final : public ResponseSink {
   public:
    Keeper() : arena_(base::Arena::create()) {}
    ~Keeper() { arena_->unref(); }
    base::Arena& arena() override { return *arena_; }
    void onInformational(ResponseHead&) override {}
    void onResponseHead(ResponseHead& head, bool) override { response = &head; }
    void onResponseData(base::Buffer& data, bool last) override {
      body += data.str();
      data.clear();
      complete |= last;
    }
    void onResponseTrailers(HeaderMap&) override { complete = true; }
    void onRoom() override {}
    void onEnd(ResetReason reason, std::string_view) override { clean = reason == ResetReason::kNone; }
    ResponseHead* response = nullptr;
    std::string body;
    bool complete = false;
    bool clean = false;

   private:
    base::Arena* arena_;
  } keeper;
  base::Arena* arena = base::Arena::create();
  {
    RequestHead head(*arena);
    head.method = "GET";
    head.path = "/";
    head.authority = "h";
    up.codec.newStream(keeper).sendHead(head, true);
  }
  up.feed(bytes);
  up.finish();
  if (keeper.response != nullptr && keeper.clean) {
    Server down;
    down.feed("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    const bool empty = keeper.body.empty();
    down.last().stream->sendHead(*keeper.response, empty);
    if (!empty) {
      base::Buffer data;
      data.append(keeper.body);
      (void)down.last().stream->sendData(data, true);
    }
    down.turn();
    const std::string out = down.takeOut();
    const std::string_view lines = std::string_view(out).substr(0, out.find("\r\n\r\n") + 2);
    require(countLines(lines, "\r\ncontent-length:") + countLines(lines, "\r\ntransfer-encoding:") <= 1, "an answer framed twice", out);
    Settings again;
    again.max_headers = 200;
    again.max_head_bytes = 100000;
    Client client(again);
    Call& call = client.call("GET", "/");
    client.feed(out);
    require(call.ended && call.end == ResetReason::kNone, "an answer is refused", out, call.details);
    require(call.body == keeper.body && call.status == keeper.response->status, "another answer", out, keeper.body);
    require(client.in.empty(), "bytes behind the answer", out);
  }
  arena->unref();
}

void compareKernels(std::string_view bytes, uint8_t shape) {
  const bool bare = (shape & 1) != 0;
  const bool fold = (shape & 2) != 0;
  const auto run = [&](const Kernels& kernels, std::string& text) {
    ScanState state;
    std::string outcome;
    size_t at = 0;
    Pieces pieces(bytes, shape);
    for (std::string_view piece; pieces.next(piece); at += piece.size()) {
      const std::vector<char> copy(piece.begin(), piece.end());
      const ScanResult result = kernels.scan(copy.data(), copy.size(), state);
      if (result.kind == ScanResult::Kind::kMore) continue;
      outcome += std::to_string(static_cast<int>(result.kind)) + " ";
      if (result.kind == ScanResult::Kind::kEnd) outcome += std::to_string(at + result.size);
      break;
    }
    text.assign(bytes);
    text += "\r\n\r\n";
    const size_t size = text.size();
    text.resize(size + kPadding, '\0');
    RawField fields[16];
    const FieldsResult result = kernels.fields(text.data(), text.data() + size, fields, 16, bare, fold);
    outcome += " " + std::to_string(static_cast<int>(result.status)) + " " + std::to_string(result.count);
    if (result.status == FieldsStatus::kOk) {
      for (uint32_t i = 0; i < result.count; ++i) {
        outcome += "\n" + std::string(fields[i].name, fields[i].name_size) + "=" + std::string(fields[i].value, fields[i].value_size) +
                   (fields[i].underscore ? "_" : "");
      }
    } else {
      text.clear();  // how far it came is nobody's
    }
    outcome += "\n" + std::to_string(kernels.controls(bytes.data(), bytes.size()));
    return outcome;
  };
  std::string scalar;
  const std::string expected = run(kScalarKernels, scalar);
  for (const Kernels* kernels : {sse42Kernels(), avx2Kernels()}) {
    if (kernels == nullptr) continue;
    std::string text;
    const std::string got = run(*kernels, text);
    require(got == expected, kernels->name, expected, got);
    require(text == scalar, kernels->name, scalar, text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const size_t arenas = base::Arena::liveOnThisThread();
  const size_t blocks = base::Block::liveOnThisThread();
  const uint8_t mode = data[0];
  const uint8_t shape = data[1];
  const Settings settings = settingsOf(data[2]);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 3, size - 3);
  switch (mode % 6) {
    case 0: driveServer(settings, bytes, shape); break;
    case 1: driveEvents(settings, bytes, shape); break;
    case 2: driveClient(settings, bytes, shape); break;
    case 3: relay(settings, bytes); break;
    case 5: driveClientEvents(settings, bytes, shape); break;
    default: compareKernels(bytes, shape); break;
  }
  require(base::Arena::liveOnThisThread() == arenas, "an arena is left behind");
  require(base::Block::liveOnThisThread() == blocks, "a block is left behind");
  return 0;
}
