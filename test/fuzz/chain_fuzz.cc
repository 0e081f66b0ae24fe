// Random chains of the proving filters, and of filters that do whatever the input says, driven by random events of the client, the
// upstream, timers, limits and side answers.
// Invariants: nothing is sent after the end or a reset, or before a head, either way; at most one final head; the upstream hears a
// beginning of what the client sent, in order; what nobody replaced arrives whole; a stream ends once everybody did his part;
// no arena, no block and no source of a body is left behind.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "source/config/names.h"
#include "test/fakes/filter_harness.h"
#include "test/fakes/proving_filters.h"
#include "test/fuzz/require.h"

using namespace outrider::test;
namespace base = outrider::base;
namespace config = outrider::config;
namespace filter = outrider::filter;
namespace http = outrider::http;

namespace {

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  uint8_t next() { return size_ == 0 ? 0 : (--size_, *data_++); }
  bool empty() const { return size_ == 0; }

 private:
  const uint8_t* data_;
  size_t size_;
};

struct Play {
  explicit Play(Bytes& from) : bytes(from) {}
  Bytes& bytes;
  bool rewritten = false;  // bodies are not what was sent
  bool over = false;       // no more decisions: everything passes
  std::vector<StreamHandle> questions;
};

// A source whose pieces come when they want.
struct Pieces final : filter::BodySource {
  explicit Pieces(uint8_t kind) : left(kind & 3), waits((kind & 4) != 0) { ++live; }
  ~Pieces() override { --live; }
  State read(base::Buffer& out, size_t) override {
    if (waits) {
      waits = false;
      return State::kWait;
    }
    out.append(std::string(150, 's'));
    return left-- == 0 ? State::kDone : State::kMore;
  }
  static inline int live = 0;
  int left;
  bool waits;
};

filter::Reply& replyOf(filter::HttpStream& stream, Bytes& bytes) {
  static constexpr uint16_t kStatus[] = {400, 401, 403, 404, 429, 503, 500, 200, 302, 504, 413, 418, 502, 204, 431, 501};
  static constexpr std::string_view kBodies[] = {"", "words", "50 % of\n it", "\x01\xff"};
  const uint8_t one = bytes.next(), two = bytes.next();
  filter::Reply& reply = stream.makeReply(kStatus[one & 15], kBodies[(one >> 4) & 3], "said");
  reply.close = (one & 0x40) != 0;
  if ((one & 0x80) != 0) reply.flag = outrider::stream::ResponseFlag::kRateLimited;
  if ((two & 1) != 0) {
    auto* headers = stream.arena().make<http::HeaderMap>(stream.arena());
    headers->add("x-more", "m");
    headers->set(http::HeaderId::kContentLength, "77");
    headers->set(http::HeaderId::kContentType, "text/odd");
    reply.headers = headers;
  }
  if ((two & 2) != 0) reply.content_type = "text/html";
  if ((two & 4) != 0) reply.grpc_status = 9;
  if ((two & 8) != 0) reply.source = new Pieces(two >> 4);
  return reply;
}

// Does at each hook what the input says.
struct DecidesHeads {
  struct Config {
    Play* play;
  };
  DecidesHeads(const Config& config, StreamContext context) : play_(*config.play), context_(context) {}
  Verdict onRequest(http::RequestHead&, bool) { return decide(); }
  Verdict onResponse(http::ResponseHead&, bool) { return decide(); }
  Verdict onInformational(http::ResponseHead&) { return (play_.over || play_.bytes.next() % 4 != 0) ? Verdict::next() : Verdict::hold(); }
  Verdict decide() { return decide(play_.over ? uint8_t{0} : play_.bytes.next()); }
  Verdict decide(uint8_t what) {
    switch (what & 7) {
      case 3:
      case 4: play_.questions.push_back(context_.handle()); return Verdict::hold();
      case 5: return Verdict::reply(replyOf(*context_.handle().stream(), play_.bytes));
      case 6: return Verdict::restart();
      case 7:
        (void)context_.perRoute();
        if (context_.route() == nullptr) context_.clearRoute();
        (void)context_.flags();
        return Verdict::next();
      default: return Verdict::next();
    }
  }
  Play& play_;
  StreamContext context_;
};

struct Decides : DecidesHeads {
  using DecidesHeads::DecidesHeads;
  Verdict onRequestData(base::Buffer& in, base::Buffer& out, bool) { return pass(in, out); }
  Verdict onResponseData(base::Buffer& in, base::Buffer& out, bool) { return pass(in, out); }
  Verdict onRequestTrailers(http::HeaderMap& trailers, base::Buffer& out) { return end(trailers, out); }
  Verdict onResponseTrailers(http::HeaderMap& trailers, base::Buffer& out) { return end(trailers, out); }
  void onReset(http::ResetReason) {}
  Verdict pass(base::Buffer& in, base::Buffer& out) {
    const uint8_t what = play_.over ? uint8_t{0} : play_.bytes.next();
    const size_t part = (what & 8) != 0 ? in.size() / 2 : in.size();
    if ((what & 0x10) == 0) out.move(in, part);
    if ((what & 0xe0) == 0xe0) {
      play_.rewritten = true;
      out.append("added");
    }
    return decide(what);
  }
  Verdict end(http::HeaderMap& trailers, base::Buffer& out) {
    const uint8_t what = play_.over ? uint8_t{0} : play_.bytes.next();
    if ((what & 8) != 0) trailers.clear();
    if ((what & 0xf0) == 0xf0) {
      play_.rewritten = true;
      out.append("added");
    }
    return decide(what);
  }
};

void addFilter(FilterHarness& proxy, uint8_t kind, Play& play, std::vector<std::string>& trace) {
  const bool odd = (kind & 0x10) != 0;
  switch (kind & 0x0f) {
    case 0: proxy.add<WaitsForATimer>("timer", WaitsForATimer::Config{odd ? base::kMilli : 3 * base::kMilli, (kind & 0x60) == 0x60}); break;
    case 1: proxy.add<AsksASide>("ask", AsksASide::Config{&play.questions}); break;
    case 2: proxy.add<HoldsTheBody>("hold", HoldsTheBody::Config{odd, (kind & 0x20) != 0}); break;
    case 3:
      play.rewritten = true;
      proxy.add<RewritesTheBody>("rewrite", RewritesTheBody::Config{});
      break;
    case 4:
      if ((kind & 0xe0) == 0) proxy.add<ServesAStream>("serve", ServesAStream::Config{1 + (kind >> 4), 500});
      break;
    case 5: proxy.add<RestartsElsewhere>("restart", RestartsElsewhere::Config{"/else", odd}); break;
    case 6:
      if ((kind & 0xc0) == 0) {
        proxy.add<RepliesOnTheResponse>("reply", RepliesOnTheResponse::Config{static_cast<RepliesOnTheResponse::When>((kind >> 4) % 3)});
      }
      break;
    case 7:
    case 8: proxy.add<Decides>("decides", Decides::Config{&play}); break;
    case 9: proxy.add<DecidesHeads>("heads", DecidesHeads::Config{&play}); break;
    default: proxy.add<LeavesATrace>("trace", LeavesATrace::Config{&trace, "t"}); break;
  }
  if ((kind & 0x8f) == 0x8a) proxy.disabled();
}

// Routes that switch filters off and on.
std::shared_ptr<const config::RouteTable> routes() {
  config::RouteTableSpec spec;
  spec.hosts.push_back({.name = "h", .domains = {"*"}});
  config::RouteSpec changed;
  changed.match.path = "/else";
  changed.action = config::RouteSpec::Action::kNonForwarding;
  changed.filters.push_back({.filter = "heads", .type_url = {}, .bytes = {}, .disabled = true, .parsed = nullptr});
  changed.filters.push_back({.filter = "trace", .type_url = {}, .bytes = {}, .disabled = false, .parsed = nullptr});
  config::RouteSpec plain;
  plain.action = config::RouteSpec::Action::kNonForwarding;
  spec.hosts[0].routes = {changed, plain};
  config::NameTable names;
  return config::RouteTable::compile(spec, names).value();
}

std::string letters(size_t from, size_t size) {
  std::string out(size, 'A');
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>('A' + (from + i) % 26);
  return out;
}

http::CodecError faultOf(uint8_t event) {
  static constexpr uint16_t kStatus[] = {400, 426, 431, 501, 505, 400, 431, 400};
  return {kStatus[(event >> 4) & 7], "broken", (event & 0x80) != 0};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto table = routes();
  const size_t arenas = base::Arena::liveOnThisThread();
  const size_t blocks = base::Block::liveOnThisThread();
  {
    Bytes bytes(data, size);
    Play play(bytes);
    std::vector<std::string> trace;
    FilterHarness proxy;
    const uint8_t first = bytes.next();
    const int filters = first % 6;
    if ((first & 0x80) != 0) proxy.table = table;
    for (int i = 0; i < filters; ++i) addFilter(proxy, bytes.next(), play, trace);
    const uint8_t shape = bytes.next();
    proxy.limit((shape & 1) != 0 ? 100 : 100000);
    proxy.grpc = (shape & 2) != 0;
    proxy.client.full = (shape & 4) != 0;
    proxy.upstream.full = (shape & 8) != 0;
    bool request_open = (shape & 16) != 0;
    bool head = (shape & 32) != 0;
    if ((shape & 64) != 0) {
      const uint8_t limits = bytes.next();
      if ((limits & 1) != 0) proxy.limits().idle = 5 * base::kMilli;
      if ((limits & 2) != 0) proxy.limits().request = 7 * base::kMilli;
      if ((limits & 4) != 0) proxy.limits().head = 4 * base::kMilli;
      if ((limits & 8) != 0) proxy.limits().duration = 9 * base::kMilli;
      if ((limits & 16) != 0) {
        proxy.on_admit = [&](filter::HttpStream& stream, http::RequestHead&) { return &replyOf(stream, bytes); };
      }
      if ((limits & 32) != 0) {
        proxy.on_matched = [&](filter::HttpStream& stream, http::RequestHead&) { return &replyOf(stream, bytes); };
      }
      if ((limits & 64) != 0) {
        proxy.upstream.refuse = [&](filter::HttpStream& stream) { return &replyOf(stream, bytes); };
      }
      proxy.begin();
      if ((limits & 128) != 0) proxy.pass(5 * base::kMilli);
    }
    // A fault told or a deadline passed before the head: no head comes.
    const bool asks = !proxy.over() && !proxy.client.ended;
    if (asks) proxy.send(head ? "HEAD" : "POST", "/a", !request_open);
    std::string asked, answered;
    bool response_open = true, response_begun = false, faulty = !asks;
    bool told_end = false;
    const auto ask = [&](size_t length, bool last) {
      asked += letters(asked.size(), length);
      proxy.sendBody(std::string_view(asked).substr(asked.size() - length), last);
      request_open = !last;
    };
    const auto answer = [&](size_t length, bool last) {
      answered += letters(answered.size(), length);
      response_open = !last;
      (void)proxy.respondBody(std::string_view(answered).substr(answered.size() - length), last);
    };
    const auto begin = [&](uint16_t status, bool last) {
      response_begun = true;
      response_open = !last;
      proxy.respond(status, last);
    };
    const auto check = [&] {
      require(!proxy.client.late, "sent after the end or before the head");
      require(!proxy.upstream.late, "the upstream heard something after the end or before the head");
      require(proxy.client.heads <= 1, "two heads");
      if (!play.rewritten) {
        require(std::string_view(asked).starts_with(proxy.upstream.body), "another request arrived", asked, proxy.upstream.body);
      }
    };
    while (!bytes.empty() && !proxy.over()) {
      const uint8_t event = bytes.next();
      const size_t length = static_cast<size_t>(event >> 4) * 40;
      switch (event & 0x0f) {
        case 0:
        case 1:
          if (request_open && !faulty) ask(length, (event & 1) != 0);
          break;
        case 2:
          if (request_open && !faulty) {
            request_open = false;
            proxy.sendTrailers();
          }
          break;
        case 3:
        case 4:
          // The scripted upstream answers only what it was asked.
          if (proxy.upstream.heads > 0 && response_open && !response_begun) begin(200, head || (event & 1) != 0);
          break;
        case 5:
        case 6:
          if (response_begun && response_open) answer(length, (event & 1) != 0);
          break;
        case 7:
          if (response_begun && response_open) {
            response_open = false;
            proxy.respondTrailers();
          }
          break;
        case 8: proxy.pass((1 + (event >> 4)) * base::kMilli); break;
        case 9: proxy.clientReads(); break;
        case 10:
          if (auto* stream = proxy.stream()) {
            switch (event >> 4) {
              case 0: stream->setIdleTimeout(3 * base::kMilli); break;
              case 1: stream->setIdleTimeout(0); break;
              case 2: stream->setDuration(4 * base::kMilli); break;
              case 3: stream->setDuration(0); break;
              case 4: (void)stream->route(); break;
              case 5: stream->respondWith(replyOf(*stream, bytes)); break;
              case 6: stream->resetStream(http::ResetReason::kLocal); break;
              default: stream->pauseRequest(false); break;
            }
          }
          proxy.turns();
          break;
        case 11:
          if (!play.questions.empty()) {
            const StreamHandle& asked_one = play.questions[(event >> 4) % play.questions.size()];
            const uint8_t how = bytes.next();
            const auto direction = (how & 1) != 0 ? Direction::kResponse : Direction::kRequest;
            if (asked_one.stream() == nullptr || (how & 6) != 6) {
              asked_one.resume(direction, (how & 14) == 8 ? Verdict::restart() : Verdict::next());
            } else {
              asked_one.resume(direction, Verdict::reply(replyOf(*asked_one.stream(), bytes)));
            }
            if ((how & 0x80) == 0) proxy.turns();
          }
          break;
        case 12:
          if (event > 0xc0) {
            told_end = true;
            static constexpr http::ResetReason kReasons[] = {http::ResetReason::kRemoteReset, http::ResetReason::kConnectionClosed,
                                                             http::ResetReason::kProtocolError, http::ResetReason::kRemoteRefused};
            proxy.ends(kReasons[(event >> 4) & 3]);
          } else if (event > 0x80) {
            told_end = true;
            proxy.stream()->endNow(http::ResetReason::kConnectionClosed);
            proxy.turns();
          }
          break;
        case 13:
          if (request_open && !faulty) {
            faulty = true;
            const http::CodecError fault = faultOf(event);
            proxy.malformed(fault);
            // The codec ends what it answered.
            if (fault.answered) {
              told_end = true;
              proxy.ends(http::ResetReason::kProtocolError);
            }
          }
          break;
        case 14:
          if (proxy.upstream.heads > 0 && !response_begun) proxy.inform(event > 0x80 ? 103 : 100);
          break;
        default: proxy.turns(); break;
      }
      check();
    }
    play.over = true;
    if (!proxy.over() && !faulty && (shape & 128) != 0) {
      // Everybody does his part.
      for (int i = 0; i < 60 && !proxy.over(); ++i) {
        for (const StreamHandle& each : play.questions) {
          each.resume(Direction::kRequest, Verdict::next());
          each.resume(Direction::kResponse, Verdict::next());
        }
        proxy.pass(base::kMilli);
        proxy.clientReads();
        if (request_open) ask(0, true);
        if (proxy.upstream.heads > 0 && !response_begun) begin(200, head);
        if (response_begun && response_open) answer(3, true);
        check();
      }
      if (!proxy.over()) {
        const std::string state = "client heads " + std::to_string(proxy.client.heads) + ", ended " + std::to_string(proxy.client.ended) +
                                  ", reset " + std::to_string(proxy.client.was_reset) + "; upstream heads " +
                                  std::to_string(proxy.upstream.heads) + ", ended " + std::to_string(proxy.upstream.ended) +
                                  "; request open " + std::to_string(request_open) + ", response begun " + std::to_string(response_begun) +
                                  ", open " + std::to_string(response_open);
        require(false, "everybody did his part and the stream lives on", state, proxy.stream()->info().details);
      }
      if (proxy.details.empty() && !play.rewritten && proxy.end_reason == http::ResetReason::kNone) {
        require(proxy.client.body == answered, "the response is not whole", answered, proxy.client.body);
      }
    } else if (!proxy.over()) {
      told_end = true;
      proxy.clientResets();
    }
    require(proxy.over() || !told_end, "told its end and lives on");
    if (proxy.upstream.heads > 0) require(proxy.upstream.over, "the upstream was not told the end");
  }
  require(Pieces::live == 0, "a source is left");
  require(base::Arena::liveOnThisThread() == arenas, "an arena is left");
  require(base::Block::liveOnThisThread() == blocks, "a block is left");
  return 0;
}
