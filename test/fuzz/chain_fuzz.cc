// Random chains of the proving filters, driven by random events of the client, the upstream, timers and side answers.
// Invariants: nothing is sent after the end or before a head; at most one final head; a stream that was told its end ends once;
// no arena and no block is left behind.
#include <cstdint>
#include <cstdlib>

#include "test/fakes/filter_harness.h"
#include "test/fakes/proving_filters.h"

using namespace outrider::test;
namespace base = outrider::base;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  uint8_t next() { return size_ == 0 ? 0 : (--size_, *data_++); }
  bool empty() const { return size_ == 0; }

 private:
  const uint8_t* data_;
  size_t size_;
};

void addFilter(FilterHarness& proxy, uint8_t kind, std::vector<StreamHandle>& questions, std::vector<std::string>& trace) {
  const bool odd = (kind & 0x10) != 0;
  switch (kind & 0x0f) {
    case 0: proxy.add<WaitsForATimer>("timer", WaitsForATimer::Config{odd ? base::kMilli : 3 * base::kMilli, (kind & 0x60) == 0x60}); break;
    case 1: proxy.add<AsksASide>("ask", AsksASide::Config{&questions}); break;
    case 2: proxy.add<HoldsTheBody>("hold", HoldsTheBody::Config{odd, (kind & 0x20) != 0}); break;
    case 3: proxy.add<RewritesTheBody>("rewrite", RewritesTheBody::Config{}); break;
    case 4: if ((kind & 0xe0) == 0) proxy.add<ServesAStream>("serve", ServesAStream::Config{1 + (kind >> 4), 500}); break;
    case 5: proxy.add<RestartsElsewhere>("restart", RestartsElsewhere::Config{"/else", odd}); break;
    case 6:
      if ((kind & 0xc0) == 0) {
        proxy.add<RepliesOnTheResponse>("reply", RepliesOnTheResponse::Config{static_cast<RepliesOnTheResponse::When>((kind >> 4) % 3)});
      }
      break;
    default: proxy.add<LeavesATrace>("trace", LeavesATrace::Config{&trace, "t"}); break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const size_t arenas = base::Arena::liveOnThisThread();
  const size_t blocks = base::Block::liveOnThisThread();
  {
    Bytes bytes(data, size);
    std::vector<StreamHandle> questions;
    std::vector<std::string> trace;
    FilterHarness proxy;
    const int filters = bytes.next() % 6;
    for (int i = 0; i < filters; ++i) addFilter(proxy, bytes.next(), questions, trace);
    const uint8_t shape = bytes.next();
    proxy.limit((shape & 1) != 0 ? 100 : 100000);
    proxy.grpc = (shape & 2) != 0;
    proxy.client.full = (shape & 4) != 0;
    proxy.upstream.full = (shape & 8) != 0;
    bool request_open = (shape & 16) != 0;
    proxy.send("POST", "/a", !request_open);
    bool response_open = true, response_begun = false;
    bool told_end = false;
    while (!bytes.empty() && !proxy.over()) {
      const uint8_t event = bytes.next();
      const size_t length = static_cast<size_t>(event >> 4) * 40;
      switch (event & 0x0f) {
        case 0:
        case 1:
          if (request_open) {
            const bool last = (event & 1) != 0;
            proxy.sendBody(std::string(length, 'b'), last);
            request_open = !last;
          }
          break;
        case 2:
          if (request_open) {
            proxy.sendTrailers();
            request_open = false;
          }
          break;
        case 3:
        case 4:
          // The scripted upstream answers only what it was asked.
          if (proxy.upstream.heads > 0 && response_open && !response_begun) {
            response_begun = true;
            response_open = (event & 1) == 0;
            proxy.respond(200, !response_open);
          }
          break;
        case 5:
        case 6:
          if (response_begun && response_open) {
            response_open = (event & 1) == 0;
            (void)proxy.respondBody(std::string(length, 'r'), !response_open);
          }
          break;
        case 7:
          if (response_begun && response_open) {
            response_open = false;
            proxy.respondTrailers();
          }
          break;
        case 8: proxy.pass(2 * base::kMilli); break;
        case 9: proxy.clientReads(); break;
        case 10:
          if (auto* stream = proxy.stream()) stream->pauseRequest(false);
          proxy.turns();
          break;
        case 11:
          if (!questions.empty()) {
            questions[event % questions.size()].resume(Direction::kRequest, Verdict::next());
            proxy.turns();
          }
          break;
        case 12:
          if (event > 0xc0) {
            told_end = true;
            proxy.clientResets();
          }
          break;
        default: proxy.turns(); break;
      }
      require(!proxy.client.late);
      require(proxy.client.heads <= 1);
    }
    if (!proxy.over()) {
      told_end = true;
      proxy.clientResets();
    }
    require(proxy.over() || !told_end);
    if (proxy.upstream.heads > 0) require(proxy.upstream.over);
  }
  require(base::Arena::liveOnThisThread() == arenas);
  require(base::Block::liveOnThisThread() == blocks);
  return 0;
}
