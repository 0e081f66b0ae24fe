// What the tests and the fuzzer drive the codecs with: sinks that write down what they are told, as text.
// Thread: the test's. Units: bytes.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "source/http/h1/client_codec.h"
#include "source/http/h1/server_codec.h"

namespace outrider::http::h1::testing {

using Fields = std::initializer_list<std::pair<std::string_view, std::string_view>>;

inline std::string describe(const HeaderMap& headers) {
  std::string out;
  headers.forEach([&](const Header& header) { out.append(header.name()).append("=").append(header.value()).append("\n"); });
  return out;
}

inline std::string describe(const RequestHead& head) {
  std::string out;
  out.append(head.method).append(" ").append(head.path).append(" ").append(protocolName(head.protocol)).append("\n");
  out.append("scheme=").append(head.scheme).append(" authority=").append(head.authority).append("\n");
  if (head.expect_continue) out += "(expects 100)\n";
  if (!head.keep_alive) out += "(closes)\n";
  if (head.absolute_form) out += "(absolute)\n";
  if (!head.upgrade.empty()) out.append("(upgrade ").append(head.upgrade).append(")\n");
  return out + describe(head.headers);
}

inline std::string describe(const ResponseHead& head) {
  std::string out = std::to_string(head.status);
  out.append(" ").append(protocolName(head.protocol)).append(head.keep_alive ? "\n" : " (closes)\n");
  return out + describe(head.headers);
}

// The server's view of one exchange.
class Exchange final : public RequestSink {
 public:
  explicit Exchange(ServerStream& stream) : stream(&stream), arena_(base::Arena::create()) {}
  ~Exchange() { arena_->unref(); }

  base::Arena& arena() override { return *arena_; }
  void onRequestHead(RequestHead& head, bool last) override {
    this->head = &head;
    head_text = describe(head);
    complete = last;
  }
  void onRequestData(base::Buffer& data, bool last) override {
    body += data.str();
    data.clear();
    complete |= last;
  }
  void onRequestTrailers(HeaderMap& map) override {
    trailers = describe(map);
    complete = true;
  }
  void onMalformed(const CodecError& error) override {
    this->error = std::string(error.details);
    status = error.status;
  }
  void onRoom() override { ++rooms; }
  void onEnd(ResetReason reason) override {
    ended = true;
    end = reason;
    stream = nullptr;
  }

  // Everything that a proxy could act on; the same however the bytes were cut.
  std::string trace() const {
    std::string out = head_text + "body=" + body + "\ntrailers=" + trailers + (complete ? "complete\n" : "open\n");
    if (!error.empty()) out += "error=" + error + " " + std::to_string(status) + "\n";
    if (ended) out += "ended " + std::to_string(static_cast<int>(end)) + "\n";
    return out;
  }

  ServerStream* stream;
  RequestHead* head = nullptr;
  std::string head_text;
  std::string body;
  std::string trailers;
  std::string error;
  int status = 0;
  int rooms = 0;
  bool complete = false;
  bool ended = false;
  ResetReason end = ResetReason::kNone;

 private:
  base::Arena* arena_;
};

class Server final : public ServerCodecSink {
 public:
  explicit Server(Settings with = {}) : settings(std::move(with)), codec(settings, counters, *this, out, "http") {}

  RequestSink& onNewStream(ServerStream& stream) override {
    exchanges.push_back(std::make_unique<Exchange>(stream));
    return *exchanges.back();
  }
  void onOutput() override {}
  void onWantFeed() override { wants_feed = true; }
  void onIdle() override { ++idles; }
  void onConnectionError(std::string_view) override {}

  Feed feed(std::string_view bytes) {
    in.append(bytes);
    return turn();
  }
  // What the loop does: feeds, and feeds again while asked to; answers complete requests if told to.
  Feed turn() {
    do {
      wants_feed = false;
      last_feed = codec.feed(in);
      if (answers_all) answerAll();
    } while (wants_feed);
    return last_feed;
  }
  Feed finish() {
    codec.onPeerFinished();
    return turn();
  }

  void answerAll() {
    for (; answered < exchanges.size(); ++answered) {
      Exchange& each = *exchanges[answered];
      if (each.ended) continue;
      if (!each.error.empty()) {
        answer(each, each.status, {}, each.error);
      } else if (each.complete) {
        answer(each, 200, {}, "ok");
      } else {
        break;
      }
    }
  }
  void answer(Exchange& exchange, int status, Fields fields, std::string_view body, bool with_length = true) {
    sendHead(exchange, status, fields, body.empty() && with_length, with_length ? static_cast<long>(body.size()) : -1);
    if (body.empty() && with_length) return;
    base::Buffer data;
    data.append(body);
    (void)exchange.stream->sendData(data, true);
  }
  void sendHead(Exchange& exchange, int status, Fields fields, bool last, long length = -1) {
    base::Arena& arena = exchange.arena();
    ResponseHead head(arena);
    head.status = static_cast<uint16_t>(status);
    for (const auto& [name, value] : fields) head.headers.addCopy(name, value);
    if (length >= 0) head.headers.addCopy(HeaderId::kContentLength, std::to_string(length));
    exchange.stream->sendHead(head, last);
  }

  Exchange& last() { return *exchanges.back(); }
  std::string takeOut() {
    std::string text = out.str();
    out.clear();
    return text;
  }
  std::string trace() const {
    std::string text;
    for (const auto& each : exchanges) text += each->trace();
    return text + (codec.finished() ? "finished\n" : "open\n") + "left=" + in.str() + "\n";
  }

  Settings settings;
  Counters counters;
  base::Buffer in;
  base::Buffer out;
  bool wants_feed = false;
  bool answers_all = false;
  int idles = 0;
  size_t answered = 0;
  Feed last_feed = Feed::kMore;
  std::vector<std::unique_ptr<Exchange>> exchanges;
  ServerCodec codec;
};

// The client's view of one exchange.
class Call final : public ResponseSink {
 public:
  Call() : arena_(base::Arena::create()) {}
  ~Call() { arena_->unref(); }

  base::Arena& arena() override { return *arena_; }
  void onInformational(ResponseHead& head) override { informational += std::to_string(head.status) + " "; }
  void onResponseHead(ResponseHead& head, bool last) override {
    status = head.status;
    head_text = describe(head);
    keep_alive = head.keep_alive;
    complete = last;
  }
  void onResponseData(base::Buffer& data, bool last) override {
    body += data.str();
    data.clear();
    complete |= last;
  }
  void onResponseTrailers(HeaderMap& map) override {
    trailers = describe(map);
    complete = true;
  }
  void onRoom() override { ++rooms; }
  void onEnd(ResetReason reason, std::string_view text) override {
    ended = true;
    end = reason;
    details = std::string(text);
    stream = nullptr;
  }

  std::string trace() const {
    std::string out = informational + head_text + "body=" + body + "\ntrailers=" + trailers + (complete ? "complete\n" : "open\n");
    if (ended) out += "ended " + std::to_string(static_cast<int>(end)) + " " + details + "\n";
    return out;
  }

  ClientStream* stream = nullptr;
  std::string informational;
  std::string head_text;
  std::string body;
  std::string trailers;
  std::string details;
  int status = 0;
  int rooms = 0;
  bool keep_alive = false;
  bool complete = false;
  bool ended = false;
  ResetReason end = ResetReason::kNone;

 private:
  base::Arena* arena_;
};

class Client final : public ClientCodecSink {
 public:
  explicit Client(Settings with = Settings::upstream()) : settings(std::move(with)), codec(settings, counters, *this, out) {}

  void onOutput() override {}
  void onWantFeed() override { wants_feed = true; }
  void onStreamDone() override { ++done; }
  void onGoAway() override {}
  void onCapacity() override {}
  void onConnectionError(std::string_view details) override { connection_error = std::string(details); }

  Call& open() {
    calls.push_back(std::make_unique<Call>());
    calls.back()->stream = &codec.newStream(*calls.back());
    return *calls.back();
  }
  // A request with no body unless `last` is false.
  Call& call(std::string_view method, std::string_view path, Fields fields = {}, bool last = true, std::string_view upgrade = {}) {
    Call& call = open();
    RequestHead head(call.arena());
    head.method = method;
    head.path = path;
    head.scheme = "http";
    head.authority = "h";
    head.upgrade = upgrade;
    for (const auto& [name, value] : fields) head.headers.addCopy(name, value);
    call.stream->sendHead(head, last);
    return call;
  }
  void send(Call& call, std::string_view bytes, bool last) {
    base::Buffer data;
    data.append(bytes);
    (void)call.stream->sendData(data, last);
  }
  Feed feed(std::string_view bytes) {
    in.append(bytes);
    return turn();
  }
  Feed turn() {
    do {
      wants_feed = false;
      last_feed = codec.feed(in);
    } while (wants_feed);
    return last_feed;
  }
  Feed finish() {
    codec.onPeerFinished();
    return turn();
  }
  std::string takeOut() {
    std::string text = out.str();
    out.clear();
    return text;
  }

  Settings settings;
  Counters counters;
  base::Buffer in;
  base::Buffer out;
  bool wants_feed = false;
  int done = 0;
  Feed last_feed = Feed::kMore;
  std::string connection_error;
  std::vector<std::unique_ptr<Call>> calls;
  ClientCodec codec;
};

// Feeds the same bytes in pieces of one byte, and cut in two at every place; calls check(server) for each way.
template <class Check>
void inEveryCut(std::string_view bytes, const Settings& settings, Check&& check) {
  {
    Server server(settings);
    server.answers_all = true;
    for (char c : bytes) server.feed({&c, 1});
    check(server);
  }
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    Server server(settings);
    server.answers_all = true;
    server.feed(bytes.substr(0, cut));
    server.feed(bytes.substr(cut));
    check(server);
  }
}

}  // namespace outrider::http::h1::testing
