#include "source/http/h2/client_codec.h"

#include <algorithm>
#include <utility>

#include "source/http/h2/head_rules.h"
#include "source/http/h2/nv.h"

namespace outrider::http::h2 {

class ClientCodec::Exchange final : public Stream, public ClientStream {
 public:
  Exchange(ClientCodec& codec, ResponseSink& sink) : Stream(codec, 0), codec_(codec), sink_(sink) {
    arena_ = &sink.arena();
    arena_->ref();
  }

  // ClientStream
  void sendHead(const RequestHead& head, bool last) override {
    if (ownerGone()) return;
    upgrade_ = head.upgrade;
    NvList list;
    list.add(":method", upgrade_.empty() ? head.method : std::string_view("CONNECT"));
    if (!head.isConnect() || !upgrade_.empty()) {
      list.add(":scheme", head.scheme);
      list.add(":path", head.path, worthIndexing(head.path));
    }
    list.add(":authority", head.authority);
    if (!upgrade_.empty()) list.add(":protocol", upgrade_);
    list.addAll(head.headers);
    const bool offered = upgrade_.empty() || codec_.peerAllowsConnect();
    if (!offered || !codec_.submitRequest(*this, list.fields(), last)) codec_.endSoon(*this);
  }
  Room sendData(base::Buffer& data, bool last) override { return sendBody(data, last); }
  void sendTrailers(const HeaderMap& trailers) override { sendTrailerFields(trailers); }
  void reset(ResetReason reason) override {
    resetWith(reason == ResetReason::kNone            ? NGHTTP2_NO_ERROR
              : reason == ResetReason::kProtocolError ? NGHTTP2_PROTOCOL_ERROR
                                                      : NGHTTP2_CANCEL);
  }
  void pause(bool on) override { setPaused(on); }

 private:
  void onBlockBegins() override {
    if (head_done_) {
      trailers_in_ = arena_->make<HeaderMap>(*arena_);
    } else {
      head_ = arena_->make<ResponseHead>(*arena_);
      head_->protocol = Protocol::kHttp2;
    }
  }

  Field onField(std::string_view name, std::string_view value, bool static_name, bool static_value) override {
    if (head_done_) return keepField(*trailers_in_, name, value, static_name, static_value, true);
    if (name == ":status") {
      // nghttp2 has seen to three digits.
      for (const char c : value) head_->status = static_cast<uint16_t>(head_->status * 10 + (c - '0'));
      return head_->status >= 100 && head_->status <= 599 ? Field::kKeep : Field::kMalformed;
    }
    return keepField(head_->headers, name, value, static_name, static_value, false);
  }

  bool onBlockEnds(bool last) override {
    if (last) remote_done_ = true;
    if (head_done_) {
      codec_.markReady(*this);
      return true;
    }
    head_->wire_bytes = block_bytes_;
    if (head_->status < 200) {
      if (++informational_ > codec_.settings_.max_informational) return false;
      sink_.onInformational(*head_);
      return true;
    }
    if (!upgrade_.empty() && head_->status < 300) {
      head_->status = 101;
      head_->headers.set(HeaderId::kUpgrade, upgrade_);
    }
    head_done_ = true;
    last_told_ = last;
    sink_.onResponseHead(*head_, last);
    return true;
  }

  void onOverflow(std::string_view details) override {
    reason_ = ResetReason::kProtocolError;
    details_ = details;
    codec_.submitReset(*this, NGHTTP2_CANCEL);
  }

  void emitData(base::Buffer& data, bool last) override { sink_.onResponseData(data, last); }
  void emitTrailers(HeaderMap& trailers) override { sink_.onResponseTrailers(trailers); }
  void emitRoom() override { sink_.onRoom(); }
  void emitMalformed(std::string_view) override {}  // onEnd says it
  void emitEnd(ResetReason reason, std::string_view details) override { sink_.onEnd(reason, details); }

  ClientCodec& codec_;
  ResponseSink& sink_;
  ResponseHead* head_ = nullptr;
  std::string_view upgrade_;
  uint32_t informational_ = 0;
};

ClientCodec::ClientCodec(const Settings& settings, Counters& counters, ClientCodecSink& sink, const base::Nanos& now)
    : Session(settings, counters, now, false), sink_(sink) {}

ClientCodec::~ClientCodec() = default;

ClientStream& ClientCodec::newStream(ResponseSink& sink) {
  OUTRIDER_DCHECK(freeStreams() > 0);
  auto* exchange = new Exchange(*this, sink);
  adopt(*exchange);
  ++alive_;
  return *exchange;
}

size_t ClientCodec::freeStreams() const {
  if (closing_ || peer_finished_ || broken()) return 0;
  constexpr uint32_t kLastId = 0x7fffffff;
  const uint32_t next = nextStreamId();
  if (next > kLastId) return 0;
  const size_t most =
      std::min({remoteSetting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS), settings_.max_concurrent_streams, (kLastId - next) / 2 + 1});
  return most > alive_ ? most - alive_ : 0;
}

uint32_t ClientCodec::peerStreams() const { return remoteSetting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS); }
bool ClientCodec::peerAllowsConnect() const { return remoteSetting(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1; }

// nghttp2 sends GOAWAY ahead of requests that still wait for their turn, and then refuses those: it goes behind them.
void ClientCodec::drain() {
  if (broken() || std::exchange(closing_, true)) return;
  goaway_owed_ = true;
  emitOutput();
}

void ClientCodec::fill(base::Buffer& out) {
  fillBytes(out);
  if (!goaway_owed_ || broken() || nghttp2_session_want_write(session_) != 0) return;
  goaway_owed_ = false;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, nullptr, 0);
  fillBytes(out);
}

void ClientCodec::onPeerGoAway() {
  if (std::exchange(closing_, true)) return;
  sink_.onGoAway();
}

void ClientCodec::onPeerFinished() {
  if (peer_finished_ || broken()) return;
  peer_finished_ = true;
  endAll(ResetReason::kConnectionClosed);
  settleGone();
}

}  // namespace outrider::http::h2
