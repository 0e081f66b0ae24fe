#include "source/http/h2/server_codec.h"

#include "source/http/h2/head_rules.h"
#include "source/http/h2/nv.h"
#include "source/http/h2/status_text.h"

namespace outrider::http::h2 {
namespace {

uint32_t resetCode(ResetReason reason) {
  switch (reason) {
    case ResetReason::kNone: return NGHTTP2_NO_ERROR;
    case ResetReason::kTimeout: return NGHTTP2_CANCEL;
    case ResetReason::kRemoteRefused: return NGHTTP2_REFUSED_STREAM;
    case ResetReason::kProtocolError: return NGHTTP2_PROTOCOL_ERROR;
    case ResetReason::kPoolOverflow:
    case ResetReason::kOverflow: return NGHTTP2_ENHANCE_YOUR_CALM;
    case ResetReason::kLocal:
    case ResetReason::kRemoteReset:
    case ResetReason::kConnectionClosed:
    case ResetReason::kConnectFailure:
    case ResetReason::kConnectTimeout: return NGHTTP2_INTERNAL_ERROR;
  }
  OUTRIDER_UNREACHABLE();
}

}  // namespace

class ServerCodec::Exchange final : public Stream, public ServerStream {
 public:
  Exchange(ServerCodec& codec, int32_t id) : Stream(codec, id), codec_(codec) {}
  void attach(RequestSink& sink) {
    sink_ = &sink;
    arena_ = &sink.arena();
    arena_->ref();
  }

  // ServerStream
  void sendInformational(const ResponseHead& head) override {
    if (ownerGone() || head_sent_) return;
    NvList list;
    list.add(":status", statusText(head.status));
    list.addAll(head.headers);
    codec_.submitHead(*this, list.fields(), false, true);
  }
  void sendHead(const ResponseHead& head, bool last) override {
    if (ownerGone()) return;
    const bool switches = head.status == 101 && head_ != nullptr && !head_->upgrade.empty();
    tunnel_ = switches || (head_ != nullptr && (head_->isConnect() || !head_->upgrade.empty()) && head.status / 100 == 2);
    NvList list;
    list.add(":status", switches ? std::string_view("200") : statusText(head.status));
    list.addAll(head.headers);
    codec_.submitHead(*this, list.fields(), last, false);
  }
  Room sendData(base::Buffer& data, bool last) override { return sendBody(data, last); }
  void sendTrailers(const HeaderMap& trailers) override { sendTrailerFields(trailers); }
  void reset(ResetReason reason) override { resetWith(resetCode(reason)); }
  void pause(bool on) override { setPaused(on); }
  uint64_t bytesIn() const override { return body_bytes_; }
  uint32_t id() const override { return static_cast<uint32_t>(id_); }

 private:
  void onBlockBegins() override {
    if (head_done_) {
      trailers_in_ = arena_->make<HeaderMap>(*arena_);
    } else {
      head_ = arena_->make<RequestHead>(*arena_);
      head_->protocol = Protocol::kHttp2;
    }
  }

  Field onField(std::string_view name, std::string_view value, bool static_name, bool static_value) override {
    if (head_done_) return keepField(*trailers_in_, name, value, static_name, static_value, true);
    if (!name.empty() && name.front() == ':') {
      // nghttp2 knows each of these, and has seen to order and repetition.
      std::string_view& place = name == ":method"      ? head_->method
                                : name == ":path"      ? head_->path
                                : name == ":scheme"    ? head_->scheme
                                : name == ":authority" ? head_->authority
                                                       : head_->upgrade;
      place = static_value ? value : arena_->copy(value);
      has_authority_ |= &place == &head_->authority;
      return Field::kKeep;
    }
    if (name == "host") {
      host_ = arena_->copy(value);
      has_host_ = true;
      return Field::kKeep;
    }
    return keepField(head_->headers, name, value, static_name, static_value, false);
  }

  bool onBlockEnds(bool last) override {
    if (last) remote_done_ = true;
    if (head_done_) {
      codec_.markReady(*this);
      return true;
    }
    joinCookies(head_->headers);
    head_->wire_bytes = block_bytes_;
    if (!checkHead()) return false;
    if (const Header* expect = head_->headers.find(HeaderId::kExpect); expect != nullptr) {
      head_->expect_continue = equalsIgnoreCase(expect->value(), "100-continue");
    }
    head_done_ = true;
    last_told_ = last;
    sink_->onRequestHead(*head_, last);
    return true;
  }

  bool checkHead() {
    const Settings& rules = codec_.settings_;
    RequestHead& head = *head_;
    if (!has_authority_) {
      if (!has_host_) return false;
      head.authority = host_;
    } else if (has_host_ && !rules.allow_host_mismatch && !equalsIgnoreCase(host_, head.authority)) {
      return false;
    }
    if (!validAuthority(head.authority)) return false;
    const bool tunnel = head.isConnect() && head.upgrade.empty();
    if (tunnel) {
      if (!head.path.empty() || !head.scheme.empty()) return false;
    } else {
      const bool https = equalsIgnoreCase(head.scheme, "https");
      if (!https && !equalsIgnoreCase(head.scheme, "http")) return false;
      head.scheme = https ? "https" : "http";
      if (head.path.empty()) return false;
      if (head.path.front() != '/' && !(head.path == "*" && head.method == "OPTIONS")) return false;
      if (!validPath(head.path, rules.allow_high_bytes_in_path)) return false;
    }
    if (tunnel || rules.match_transport_scheme) head.scheme = rules.secure ? "https" : "http";
    return true;
  }

  // Answered here: the owner never saw a head that it could answer.
  void onOverflow(std::string_view details) override {
    reason_ = ResetReason::kOverflow;
    details_ = details;
    sink_->onMalformed({431, details, true});
    if (head_sent_) return codec_.submitReset(*this, NGHTTP2_NO_ERROR);
    NvList list;
    list.add(":status", "431");
    list.add("content-length", "0");
    codec_.submitHead(*this, list.fields(), true, false);
  }

  void emitData(base::Buffer& data, bool last) override { sink_->onRequestData(data, last); }
  void emitTrailers(HeaderMap& trailers) override { sink_->onRequestTrailers(trailers); }
  void emitRoom() override { sink_->onRoom(); }
  void emitMalformed(std::string_view details) override { sink_->onMalformed({400, details, true}); }
  void emitEnd(ResetReason reason, std::string_view) override { sink_->onEnd(reason); }
  bool keepsRequestOpen() const override {
    if (!head_done_ || reason_ != ResetReason::kNone) return false;
    if (head_->isConnect() || !head_->upgrade.empty()) return tunnel_;  // refused: nothing more is meant for anybody
    return head_->headers.get(HeaderId::kContentType).starts_with("application/grpc");
  }

  ServerCodec& codec_;
  RequestSink* sink_ = nullptr;
  RequestHead* head_ = nullptr;
  std::string_view host_;
  bool has_authority_ = false;
  bool has_host_ = false;
  bool tunnel_ = false;  // an upgrade or CONNECT that was accepted
};

ServerCodec::ServerCodec(const Settings& settings, Counters& counters, ServerCodecSink& sink, const base::Nanos& now)
    : Session(settings, counters, now, true), sink_(sink) {}

ServerCodec::~ServerCodec() = default;

Stream* ServerCodec::newInbound(int32_t id) {
  auto* exchange = new Exchange(*this, id);
  adopt(*exchange);
  exchange->attach(sink_.onNewStream(*exchange));
  return exchange;
}

void ServerCodec::onPeerFinished() {
  if (peer_finished_ || broken()) return;
  peer_finished_ = true;
  endAll(ResetReason::kConnectionClosed);
  settleGone();
}

}  // namespace outrider::http::h2
