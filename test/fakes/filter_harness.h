// One stream without sockets: a scripted client codec in front, a scripted upstream as the chain's end, the real HttpStream and
// loop between. Single-stepped: nothing happens but in turn().
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "source/config/route_table.h"
#include "source/config/route_tables.h"
#include "source/filter/http_stream.h"
#include "source/stats/stats.h"

namespace outrider::test {

// The client's side of the wire: records what the stream sends.
class FakeServerStream final : public http::ServerStream {
 public:
  explicit FakeServerStream() = default;
  void sendInformational(const http::ResponseHead& head) override {
    late |= ended_before_ || was_reset || heads > 0;
    informational.push_back(head.status);
  }
  void sendHead(const http::ResponseHead& head, bool last) override {
    ++heads;
    status = head.status;
    headers.clear();
    head.headers.forEach([&](const http::Header& h) { headers[std::string(h.name())] = std::string(h.value()); });
    ended |= last;
    late |= ended_before_ || was_reset;
    ended_before_ = ended;
  }
  http::Room sendData(base::Buffer& data, bool last) override {
    late |= ended_before_ || was_reset || heads == 0;
    body += data.str();
    data.clear();
    ended |= last;
    ended_before_ = ended;
    return full ? http::Room::kFull : http::Room::kMore;
  }
  void sendTrailers(const http::HeaderMap& map) override {
    late |= ended_before_ || was_reset || heads == 0;
    map.forEach([&](const http::Header& h) { trailers[std::string(h.name())] = std::string(h.value()); });
    ended = ended_before_ = true;
  }
  void reset(http::ResetReason reason) override {
    late |= was_reset;
    was_reset = true;
    reset_reason = reason;
  }
  void pause(bool on) override { paused = on; }
  uint64_t bytesIn() const override { return 0; }
  uint32_t id() const override { return 1; }

  std::vector<int> informational;
  int heads = 0;
  int status = 0;
  std::map<std::string, std::string> headers, trailers;
  std::string body;
  bool ended = false, was_reset = false, paused = false;
  bool full = false;  // answers kFull
  bool late = false;  // something came after the end or a reset, or before the head: a broken stream
  http::ResetReason reset_reason = http::ResetReason::kNone;

 private:
  bool ended_before_ = false;
};

// What the scripted upstream saw and does.
struct UpstreamScript {
  bool full = false;
  std::function<const filter::Reply*(filter::HttpStream&)> refuse;  // answers in place of the upstream, if it is set and says so
  // seen
  int heads = 0;
  std::string path, body;
  bool ended = false, got_trailers = false, over = false;
  bool late = false;  // something came after the end, or before the head
  http::ResetReason over_reason = http::ResetReason::kNone;
  bool room = false;
  filter::HttpStream* stream = nullptr;
};

class FakeUpstream final : public filter::Terminal {
 public:
  FakeUpstream(UpstreamScript& script, filter::HttpStream& stream) : script_(script) { script_.stream = &stream; }
  filter::Verdict onRequest(http::RequestHead& head, bool last) override {
    script_.late |= script_.heads > 0;
    ++script_.heads;
    script_.path = head.path;
    script_.ended |= last;
    const filter::Reply* reply = script_.refuse ? script_.refuse(*script_.stream) : nullptr;
    return reply == nullptr ? filter::Verdict::next() : filter::Verdict::reply(*reply);
  }
  http::Room onRequestData(base::Buffer& data, bool last) override {
    script_.late |= script_.ended || script_.heads == 0;
    script_.body += data.str();
    data.clear();
    script_.ended |= last;
    return script_.full ? http::Room::kFull : http::Room::kMore;
  }
  void onRequestTrailers(http::HeaderMap&) override {
    script_.late |= script_.ended || script_.heads == 0;
    script_.got_trailers = script_.ended = true;
  }
  void onResponseRoom() override { script_.room = true; }
  void run() override {}
  void onStreamEnd(http::ResetReason reason) override {
    script_.over = true;
    script_.over_reason = reason;
  }

 private:
  UpstreamScript& script_;
};

inline filter::TerminalOps makeUpstreamOps() {
  filter::TerminalOps ops;
  ops.size = sizeof(FakeUpstream);
  ops.align = alignof(FakeUpstream);
  ops.construct = [](void* at, const void* script, filter::HttpStream& stream) -> filter::Terminal* {
    return new (at) FakeUpstream(*static_cast<UpstreamScript*>(const_cast<void*>(script)), stream);
  };
  ops.destroy = [](filter::Terminal* at) { static_cast<FakeUpstream*>(at)->~FakeUpstream(); };
  return ops;
}

class FilterHarness final : private filter::HttpStreamOwner {
 public:
  FilterHarness() = default;
  ~FilterHarness() {
    if (stream_ != nullptr && !ended_) stream_->endNow(http::ResetReason::kConnectionClosed);
    turns();
  }

  template <class Filter, class Config>
  FilterHarness& add(std::string name, Config config) {
    static constexpr filter::FilterOps ops = filter::makeFilterOps<Filter, Config>();
    entries_.push_back({std::move(name), &ops, std::make_shared<Config>(std::move(config))});
    return *this;
  }
  // The filter added last is off unless a route switches it on.
  FilterHarness& disabled() {
    entries_.back().disabled = true;
    return *this;
  }
  FilterHarness& limit(size_t body) {
    limits_.body = body;
    return *this;
  }

  filter::HttpStream::Limits& limits() { return limits_; }  // of the stream that begins next

  // ---- the client ----
  // HTTP/2: a stream begins with its first frame, its head comes later.
  void begin() {
    static const filter::TerminalOps terminal = makeUpstreamOps();
    chain_ = std::make_unique<filter::HttpChain>(entries_, terminal, std::shared_ptr<const void>(&upstream, [](const void*) {}));
    stream_ = &filter::HttpStream::create(*this, client, connection, limits_, {});
  }
  void send(std::string method, std::string path, bool last = true) {
    if (stream_ == nullptr) begin();
    if (ended_) return;
    auto* head = stream_->arena().make<http::RequestHead>(stream_->arena());
    head->method = stream_->arena().copy(method);
    head->path = stream_->arena().copy(path);
    head->authority = stream_->arena().copy(authority);
    head->protocol = protocol;
    for (const auto& [name, value] : request_headers) head->headers.addCopy(name, value);
    head->scheme = "http";
    if (grpc) head->headers.add(http::HeaderId::kContentType, "application/grpc");
    stream_->onRequestHead(*head, last);
    turns();
  }
  void sendBody(std::string_view bytes, bool last) {
    if (ended_) return;
    base::Buffer data;
    data.append(bytes);
    stream_->onRequestData(data, last);
    turns();
  }
  void sendTrailers() {
    if (ended_) return;
    auto* trailers = stream_->arena().make<http::HeaderMap>(stream_->arena());
    trailers->add("x-trailer", "t");
    stream_->onRequestTrailers(*trailers);
    turns();
  }
  void clientResets() { ends(http::ResetReason::kRemoteReset); }
  void ends(http::ResetReason reason) {
    if (ended_) return;
    stream_->onEnd(reason);
    turns();
  }
  void malformed(const http::CodecError& error) {
    if (ended_) return;
    stream_->onMalformed(error);
    turns();
  }
  void clientReads() {
    if (ended_) return;
    client.full = false;
    stream_->onRoom();
    turns();
  }

  // ---- the upstream ----
  void inform(uint16_t status) {
    if (ended_) return;
    auto* head = stream_->arena().make<http::ResponseHead>(stream_->arena());
    head->status = status;
    stream_->sendInformational(*head);
    settle();
  }
  void respond(uint16_t status, bool last) {
    if (ended_) return;
    auto* head = stream_->arena().make<http::ResponseHead>(stream_->arena());
    head->status = status;
    stream_->respond(*head, last);
    settle();
  }
  http::Room respondBody(std::string_view bytes, bool last) {
    if (ended_) return http::Room::kMore;
    base::Buffer data;
    data.append(bytes);
    const http::Room room = stream_->respondData(data, last);
    settle();
    return room;
  }
  void respondTrailers() {
    if (ended_) return;
    auto* trailers = stream_->arena().make<http::HeaderMap>(stream_->arena());
    trailers->add("x-trailer", "t");
    stream_->respondTrailers(*trailers);
    settle();
  }

  // Runs until nothing happens; tells the stream its codec's end when both halves are done, as a codec does.
  void turns() {
    for (int i = 0; i < 1000 && loop_.turn(0); ++i) {
    }
    if (stream_ != nullptr && !ended_ && client.ended && !client.was_reset && stream_->requestComplete()) {
      stream_->onEnd(http::ResetReason::kNone);
      for (int i = 0; i < 1000 && loop_.turn(0); ++i) {
      }
    }
  }
  void pass(base::Nanos time) {
    clock_.advance(time);
    turns();
  }

  event::Loop& loop() { return loop_; }
  bool over() const { return ended_; }
  filter::HttpStream* stream() { return ended_ ? nullptr : stream_; }

  FakeServerStream client;
  UpstreamScript upstream;
  bool grpc = false;
  std::function<const filter::Reply*(filter::HttpStream&, http::RequestHead&)> on_admit, on_matched;
  std::vector<std::pair<std::string, std::string>> request_headers;  // of the next send()
  std::string authority = "host";
  http::Protocol protocol = http::Protocol::kHttp11;
  stream::ConnectionInfo connection;
  std::shared_ptr<const config::RouteTable> table;  // null: no route
  int matches = 0;
  std::vector<std::string> matched_paths;
  stream::ResponseFlags flags;
  std::string details;
  http::ResetReason end_reason = http::ResetReason::kNone;

 private:
  void settle() { turns(); }
  const filter::Reply* admit(filter::HttpStream& stream, http::RequestHead& head) override {
    return on_admit ? on_admit(stream, head) : nullptr;
  }
  const filter::Reply* afterMatch(filter::HttpStream& stream, http::RequestHead& head) override {
    return on_matched ? on_matched(stream, head) : nullptr;
  }
  void match(filter::HttpStream& stream) override {
    ++matches;
    matched_paths.emplace_back(stream.request().path);
    stream.setRoute(table == nullptr ? nullptr : table->match(stream.request(), {}), {});
  }
  const filter::HttpChain& chainFor(filter::HttpStream&) override { return *chain_; }
  void finishResponse(filter::HttpStream&, http::ResponseHead&) override {}
  bool finishInformational(filter::HttpStream&, http::ResponseHead&) override { return true; }
  void onStreamEnd(filter::HttpStream& stream) override {
    ended_ = true;
    flags = stream.info().flags;
    details = stream.info().details;
    end_reason = stream.endReason();
  }
  filter::WorkerContext& worker() override { return worker_; }

  // Each harness draws its own numbers, the same in every run.
  static uint64_t seed() {
    static uint64_t last = 0;
    return ++last;
  }

  base::FakeClock clock_;
  event::Loop loop_{clock_};
  stats::Store stats_;
  config::RouteTables routes_;
  // The cluster view is never touched: the upstream is scripted.
  filter::WorkerContext worker_{
      loop_, loop_.mailbox(), *reinterpret_cast<upstream::ClusterView*>(this), routes_, stats_, filter::Random(seed()), {}, 1};
  filter::HttpStream::Limits limits_;
  std::vector<filter::HttpChain::Entry> entries_;
  std::unique_ptr<filter::HttpChain> chain_;
  filter::HttpStream* stream_ = nullptr;
  bool ended_ = false;
};

}  // namespace outrider::test
