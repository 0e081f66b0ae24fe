#include "source/http/h2/session.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <nghttp2/nghttp2.h>

#include "source/http/h2/memory.h"
#include "source/http/h2/nv.h"

namespace outrider::http::h2 {
namespace {

constexpr std::string_view kInvalidField = "http2.invalid.header.field";
constexpr std::string_view kInvalidMessage = "http2.violation.of.messaging.rule";

std::string_view view(nghttp2_rcbuf* buf) {
  const nghttp2_vec vec = nghttp2_rcbuf_get_buf(buf);
  return {reinterpret_cast<const char*>(vec.base), vec.len};
}

// Why nghttp2 ended a connection or a stream, in words for the log.
std::string_view codeDetails(uint32_t code) {
  switch (code) {
    case NGHTTP2_PROTOCOL_ERROR: return "http2.protocol_error";
    case NGHTTP2_INTERNAL_ERROR: return "http2.internal_error";
    case NGHTTP2_FLOW_CONTROL_ERROR: return "http2.flow_control_error";
    case NGHTTP2_SETTINGS_TIMEOUT: return "http2.settings_timeout";
    case NGHTTP2_STREAM_CLOSED: return "http2.stream_closed";
    case NGHTTP2_FRAME_SIZE_ERROR: return "http2.frame_size_error";
    case NGHTTP2_COMPRESSION_ERROR: return "http2.compression_error";
    case NGHTTP2_ENHANCE_YOUR_CALM: return "http2.enhance_your_calm";
    default: return "http2.unknown.nghttp2.error";
  }
}

}  // namespace

// nghttp2's callbacks; `user` is the Session.
struct Callbacks {
  static Session& session(void* user) { return *static_cast<Session*>(user); }
  static Stream* stream(nghttp2_session* raw, int32_t id) { return static_cast<Stream*>(nghttp2_session_get_stream_user_data(raw, id)); }
  static int verdict(const Session& session) { return session.failure_.empty() ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE; }

  static int onBeginFrame(nghttp2_session*, const nghttp2_frame_hd* hd, void* user) {
    return session(user).countFrame(hd->type, hd->flags, hd->length, hd->stream_id) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  // Frames of types that we do not know are counted when they begin, and then dropped.
  static int onExtensionChunk(nghttp2_session*, const nghttp2_frame_hd*, const uint8_t*, size_t, void*) { return 0; }
  static int onUnpackExtension(nghttp2_session*, void**, const nghttp2_frame_hd*, void*) { return NGHTTP2_ERR_CANCEL; }

  static int onBeginHeaders(nghttp2_session* raw, const nghttp2_frame* frame, void* user) {
    Session& self = session(user);
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    const int32_t id = frame->hd.stream_id;
    Stream* found = stream(raw, id);
    if (self.server_ && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      ++self.streams_seen_;
      if (self.alive_ >= self.settings_.max_concurrent_streams) {
        // nghttp2 itself would end the connection; it was told twice the limit, and one stream too many costs that stream.
        self.countRefusal();
        if (self.failure_.empty()) nghttp2_submit_rst_stream(raw, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
        return verdict(self);
      }
      found = self.newInbound(id);
      ++self.alive_;
      nghttp2_session_set_stream_user_data(raw, id, found);
    }
    if (found == nullptr || found->told_) {
      ++self.counters_.headers_cb_no_stream;
      return 0;
    }
    found->block_open_ = true;
    found->block_bytes_ = found->block_count_ = 0;
    found->crumbs_ = found->last_crumb_ = nullptr;
    found->crumb_bytes_ = 0;
    found->onBlockBegins();
    return verdict(self);
  }

  static int onHeader(nghttp2_session* raw, const nghttp2_frame* frame, nghttp2_rcbuf* name, nghttp2_rcbuf* value, uint8_t, void* user) {
    Session& self = session(user);
    // A look-up for each block, not for each field.
    Stream* found = self.block_stream_;
    if (found == nullptr || found->id_ != frame->hd.stream_id) {
      found = self.block_stream_ = stream(raw, frame->hd.stream_id);
    }
    if (found == nullptr || found->told_ || found->reason_ != ResetReason::kNone) return 0;
    const std::string_view name_view = view(name);
    const std::string_view value_view = view(value);
    found->block_bytes_ += static_cast<uint32_t>(name_view.size() + value_view.size());
    ++found->block_count_;
    const Settings& limits = self.settings_;
    if (found->block_count_ > limits.max_header_count || found->block_bytes_ > limits.max_header_bytes) {
      if (found->block_fault_.empty()) {
        found->block_fault_ = found->block_count_ > limits.max_header_count ? "http2.too_many_headers" : "http2.header_list_size_too_large";
        ++self.counters_.header_overflow;
      }
      // The table must be kept in step, so the rest is decoded and dropped; but not for ever.
      if (found->block_bytes_ / 4 > limits.max_header_bytes || found->block_count_ / 16 > limits.max_header_count) {
        self.fail(NGHTTP2_ENHANCE_YOUR_CALM, found->block_fault_, nullptr);
      }
      return verdict(self);
    }
    switch (found->onField(name_view, value_view, nghttp2_rcbuf_is_static(name) != 0, nghttp2_rcbuf_is_static(value) != 0)) {
      case Stream::Field::kKeep: return 0;
      case Stream::Field::kMalformed: self.malformed(*found, kInvalidField); break;
      case Stream::Field::kRejected:
        ++self.counters_.requests_rejected_with_underscores_in_headers;
        self.malformed(*found, "http2.unexpected_underscore");
        break;
    }
    if (!self.failure_.empty()) return NGHTTP2_ERR_CALLBACK_FAILURE;
    self.submitReset(*found, NGHTTP2_PROTOCOL_ERROR);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  // nghttp2 would ignore the field; a message with such a field is malformed.
  static int onInvalidHeader(nghttp2_session*, const nghttp2_frame*, nghttp2_rcbuf*, nghttp2_rcbuf*, uint8_t, void*) {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int onInvalidFrame(nghttp2_session* raw, const nghttp2_frame* frame, int error, void* user) {
    Session& self = session(user);
    // Above twice the limit before the peer acknowledged our SETTINGS: nghttp2 refuses the stream by itself.
    if (error == NGHTTP2_ERR_REFUSED_STREAM) self.countRefusal();
    if (error != NGHTTP2_ERR_HTTP_HEADER && error != NGHTTP2_ERR_HTTP_MESSAGING) return verdict(self);
    Stream* found = stream(raw, frame->hd.stream_id);
    if (found != nullptr && !found->told_ && found->reason_ == ResetReason::kNone) {
      self.malformed(*found, error == NGHTTP2_ERR_HTTP_HEADER ? kInvalidField : kInvalidMessage);
    }
    return verdict(self);
  }

  static int onDataChunk(nghttp2_session* raw, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
    Session& self = session(user);
    Stream* found = stream(raw, id);
    if (found == nullptr || found->told_ || found->reason_ != ResetReason::kNone) {
      nghttp2_session_consume_connection(raw, size);
      return 0;
    }
    found->body_bytes_ += size;
    const auto* bytes = reinterpret_cast<const char*>(data);
    const base::Slice& slice = *self.feeding_;
    const bool inside = bytes >= slice.data() && bytes + size <= slice.data() + slice.size();
    if (inside && (size >= base::Buffer::kCopyBelow || found->in_.empty())) {
      base::Slice part = slice;
      part.removePrefix(static_cast<size_t>(bytes - slice.data()));
      part.truncate(size);
      found->in_.append(std::move(part));
    } else {
      found->in_.append(std::string_view(bytes, size));
    }
    self.markReady(*found);
    return 0;
  }

  static int onFrame(nghttp2_session* raw, const nghttp2_frame* frame, void* user) {
    Session& self = session(user);
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS: onHeadersEnd(self, stream(raw, frame->hd.stream_id), (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0); break;
      case NGHTTP2_DATA: {
        // Payload of nothing but padding is as empty as no payload.
        const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
        if (frame->hd.length > 0) self.countEmpty(!end && frame->data.padlen >= frame->hd.length);
        Stream* found = stream(raw, frame->hd.stream_id);
        if (end && found != nullptr && !found->told_) {
          found->remote_done_ = true;
          self.markReady(*found);
        }
        break;
      }
      case NGHTTP2_RST_STREAM: {
        ++self.counters_.rx_reset;
        Stream* found = stream(raw, frame->hd.stream_id);
        if (found != nullptr) {
          found->remote_reset_ = true;
          found->remote_code_ = frame->rst_stream.error_code;
        }
        break;
      }
      case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) break;
        if (!self.peer_settings_.take(self.now_)) {
          self.fail(NGHTTP2_ENHANCE_YOUR_CALM, "http2.inbound_control_flood", &self.counters_.inbound_control_flood);
          break;
        }
        self.onPeerSettings();
        break;
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
          if (self.ping_sink_ != nullptr) self.ping_sink_->onPingAck();
          break;
        }
        // Peers measure bandwidth with a PING for data received (gRPC): those cost nothing.
        if (!self.sent_since_ping_ && !self.pings_.take(self.now_)) {
          self.fail(NGHTTP2_ENHANCE_YOUR_CALM, "http2.inbound_control_flood", &self.counters_.inbound_control_flood);
        }
        self.sent_since_ping_ = false;
        break;
      case NGHTTP2_GOAWAY: self.onPeerGoAway(); break;
      default: break;
    }
    return verdict(self);
  }

  static void onHeadersEnd(Session& self, Stream* found, bool last) {
    if (found == nullptr || found->told_ || found->reason_ != ResetReason::kNone) return;
    found->block_open_ = false;
    if (!found->block_fault_.empty()) {
      const std::string_view details = std::exchange(found->block_fault_, {});
      if (last) found->remote_done_ = true;
      found->onOverflow(details);
      return;
    }
    if (found->onBlockEnds(last)) return;
    self.malformed(*found, kInvalidField);
    if (self.failure_.empty()) self.submitReset(*found, NGHTTP2_PROTOCOL_ERROR);
  }

  static int onStreamClose(nghttp2_session* raw, int32_t id, uint32_t code, void* user) {
    Session& self = session(user);
    Stream* found = stream(raw, id);
    if (found != nullptr) self.closeStream(*found, code);
    return 0;
  }

  static int onFrameSend(nghttp2_session* raw, const nghttp2_frame* frame, void* user) {
    Session& self = session(user);
    switch (frame->hd.type) {
      case NGHTTP2_DATA: ++self.data_frames_out_; [[fallthrough]];
      case NGHTTP2_HEADERS: {
        self.sent_since_ping_ = true;
        Stream* found = stream(raw, frame->hd.stream_id);
        if (found != nullptr && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) self.localDone(*found);
        if (frame->hd.type == NGHTTP2_HEADERS) self.unpin(frame->hd.stream_id, found);
        break;
      }
      case NGHTTP2_RST_STREAM: ++self.counters_.tx_reset; break;
      case NGHTTP2_GOAWAY:
        ++self.counters_.goaway_sent;
        // nghttp2's own verdict on the peer.
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR && self.failure_.empty()) {
          self.failure_code_ = frame->goaway.error_code;
          self.failure_ = codeDetails(frame->goaway.error_code);
        }
        break;
      default: break;
    }
    return 0;
  }

  static int onFrameNotSend(nghttp2_session* raw, const nghttp2_frame* frame, int, void* user) {
    Session& self = session(user);
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    Stream* found = stream(raw, frame->hd.stream_id);
    if (found != nullptr && frame->headers.cat == NGHTTP2_HCAT_REQUEST) found->unsent_ = true;
    self.unpin(frame->hd.stream_id, found);
    return 0;
  }

  static ssize_t onRead(nghttp2_session* raw, int32_t id, uint8_t* to, size_t most, uint32_t* flags, nghttp2_data_source* source,
                        void* user) {
    Session& self = session(user);
    auto& from = *static_cast<Stream*>(source->ptr);
    if (self.out_->size() >= Session::kOutBudget) return NGHTTP2_ERR_PAUSE;
    const size_t n = std::min(most, from.out_.size());
    if ((from.told_ && !from.farewell_) || (n == 0 && !from.out_.last())) {
      from.waiting_data_ = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    if (from.out_.last() && n == from.out_.size()) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (from.trailers_out_ != nullptr) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(raw, id, from.trailers_out_, from.trailers_out_count_) == 0) ++from.pins_;
      }
    }
    if (n >= base::Buffer::kCopyBelow) {
      *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
      return static_cast<ssize_t>(n);
    }
    from.out_.pending().copyOut(n, reinterpret_cast<char*>(to));
    from.out_.pending().drain(n);
    relief(self, from);
    return static_cast<ssize_t>(n);
  }

  static int onSendData(nghttp2_session*, nghttp2_frame*, const uint8_t* head, size_t size, nghttp2_data_source* source, void* user) {
    Session& self = session(user);
    auto& from = *static_cast<Stream*>(source->ptr);
    OUTRIDER_CHECK(from.out_.size() >= size);
    self.out_->append(std::string_view(reinterpret_cast<const char*>(head), 9));
    self.out_->move(from.out_.pending(), size);
    relief(self, from);
    return 0;
  }

  static void relief(Session& self, Stream& from) {
    // An owner that left a response to go out behind it hears nothing any more.
    if (from.told_) return;
    if (from.out_.takeRelief() && !from.base::TaggedNode<RoomTag>::linked()) self.relieved_.pushBack(from);
  }

  static const nghttp2_session_callbacks* table() {
    static const nghttp2_session_callbacks* const kTable = [] {
      nghttp2_session_callbacks* made = nullptr;
      OUTRIDER_CHECK(nghttp2_session_callbacks_new(&made) == 0);
      nghttp2_session_callbacks_set_on_begin_frame_callback(made, onBeginFrame);
      nghttp2_session_callbacks_set_on_begin_headers_callback(made, onBeginHeaders);
      nghttp2_session_callbacks_set_on_header_callback2(made, onHeader);
      nghttp2_session_callbacks_set_on_invalid_header_callback2(made, onInvalidHeader);
      nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(made, onInvalidFrame);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, onDataChunk);
      nghttp2_session_callbacks_set_on_frame_recv_callback(made, onFrame);
      nghttp2_session_callbacks_set_on_stream_close_callback(made, onStreamClose);
      nghttp2_session_callbacks_set_on_frame_send_callback(made, onFrameSend);
      nghttp2_session_callbacks_set_on_frame_not_send_callback(made, onFrameNotSend);
      nghttp2_session_callbacks_set_send_data_callback(made, onSendData);
      nghttp2_session_callbacks_set_on_extension_chunk_recv_callback(made, onExtensionChunk);
      nghttp2_session_callbacks_set_unpack_extension_callback(made, onUnpackExtension);
      return made;
    }();
    return kTable;
  }

  static void* memAlloc(size_t size, void*) { return Memory::alloc(size); }
  static void memFree(void* at, void*) { Memory::free(at); }
  static void* memCalloc(size_t count, size_t size, void*) { return Memory::allocZeroed(count, size); }
  static void* memResize(void* at, size_t size, void*) { return Memory::resize(at, size); }
};

// ---- Stream ----

Stream::Stream(Session& session, int32_t id)
    : session_(session), id_(id), born_(session.now_), out_(session.settings_.stream_buffer_limit) {}

Stream::~Stream() {
  if (session_.block_stream_ == this) session_.block_stream_ = nullptr;
  if (arena_ != nullptr) arena_->unref();
}

void* Stream::operator new(size_t size) {
  void* at = Memory::alloc(size);
  OUTRIDER_CHECK(at != nullptr);
  return at;
}
void Stream::operator delete(void* at) { Memory::free(at); }

Room Stream::sendBody(base::Buffer& data, bool last) {
  if (told_) {
    data.clear();
    return Room::kMore;
  }
  const Room room = out_.write(data, last);
  if (waiting_data_) {
    waiting_data_ = false;
    nghttp2_session_resume_data(session_.session_, id_);
  }
  session_.emitOutput();
  return room;
}

void Stream::sendTrailerFields(const HeaderMap& trailers) {
  if (told_) return;
  NvList list;
  list.addAll(trailers);
  const std::span<nghttp2_nv> fields = list.fields();
  if (!fields.empty()) {
    trailers_out_ = arena_->array<nghttp2_nv>(fields.size());
    std::copy(fields.begin(), fields.end(), trailers_out_);
    trailers_out_count_ = static_cast<uint32_t>(fields.size());
  }
  base::Buffer none;
  (void)sendBody(none, true);
}

void Stream::resetWith(uint32_t code) {
  if (told_) return;
  Session& session = session_;
  told_ = owner_reset_ = true;
  if (session.server_ && code == NGHTTP2_CANCEL && head_sent_ && !local_done_) ++session.counters_.tx_flush_timeout;
  --session.open_;
  session.gone_ = true;
  session.dropInbound(*this);
  // nghttp2 drops what waits behind a RST_STREAM, so a complete response goes first.
  farewell_ = session.server_ && code == NGHTTP2_NO_ERROR && head_sent_ && out_.last() && !local_done_;
  base::TaggedNode<ReadyTag>::unlink();
  base::TaggedNode<RoomTag>::unlink();
  session.emitOutput();
  // So does the beginning of a response that breaks off, as far as the windows let it: the client learns what came.
  if (session.server_ && head_sent_ && !local_done_ && !closed_ && code != NGHTTP2_NO_ERROR && code != NGHTTP2_CANCEL &&
      (pins_ > 0 || out_.size() > 0)) {
    farewell_ = true;
    late_code_ = code;
    session.late_resets_.pushBack(*this);
    return;
  }
  if (!farewell_) out_.pending().clear();
  if (!closed_) {
    if (id_ == 0) {
      closed_ = true;  // never opened
      --session.alive_;
    } else if (!farewell_) {
      session.submitReset(*this, code);
    }
  }
  session.release(*this);
}

void Stream::setPaused(bool on) {
  if (paused_ == on || told_) return;
  paused_ = on;
  if (on) return;
  if (uncredited_ > 0) {
    if (!base::TaggedNode<CreditTag>::linked()) session_.credits_.pushBack(*this);
    session_.emitOutput();
  }
  if (!in_.empty() || (remote_done_ && !last_told_)) {
    session_.markReady(*this);
    session_.emitWantFeed();
  }
}

Stream::Field Stream::keepField(HeaderMap& map, std::string_view name, std::string_view value, bool static_name, bool static_value,
                                bool trailer) {
  const HeaderId id = headerId(name);
  if (id == HeaderId::kHttp2Settings) return Field::kKeep;  // means nothing here, and never goes on
  if (trailer && (headerPolicy(id) & kNoTrailer) != 0) return Field::kMalformed;
  if (session_.server_ && id == HeaderId::kUnknown && name.find('_') != std::string_view::npos) {
    const Settings& rules = session_.settings_;
    if (!rules.allow_underscore_twins && name.size() <= 64) {
      char twin[64];
      std::replace_copy(name.begin(), name.end(), twin, '_', '-');
      if ((headerPolicy(headerId({twin, name.size()})) & (kFraming | kIdentity)) != 0) return Field::kRejected;
    }
    if (rules.underscores == Underscores::kReject) return Field::kRejected;
    if (rules.underscores == Underscores::kDrop) {
      ++session_.counters_.dropped_headers_with_underscores;
      return Field::kKeep;
    }
  }
  const std::string_view kept = static_value ? value : arena_->copy(value);
  if (id == HeaderId::kCookie && map.has(id)) {
    auto* crumb = arena_->make<Crumb>(Crumb{nullptr, kept});
    (last_crumb_ == nullptr ? crumbs_ : last_crumb_->next) = crumb;
    last_crumb_ = crumb;
    crumb_bytes_ += kept.size() + 2;
    return Field::kKeep;
  }
  if (id != HeaderId::kUnknown) {
    map.add(id, kept);
  } else {
    map.add(id, static_name ? name : arena_->copy(name), kept);
  }
  return Field::kKeep;
}

void Stream::joinCookies(HeaderMap& map) {
  if (crumbs_ == nullptr) return;
  Header& first = *map.find(HeaderId::kCookie);
  const size_t size = first.value_size + crumb_bytes_;
  char* joined = arena_->bytes(size);
  char* at = std::copy_n(first.value_data, first.value_size, joined);
  for (const Crumb* crumb = crumbs_; crumb != nullptr; crumb = crumb->next) {
    *at++ = ';';
    *at++ = ' ';
    at = std::copy(crumb->value.begin(), crumb->value.end(), at);
  }
  map.replaceValue(first, {joined, size});
}

// ---- Session ----

Session::Session(const Settings& settings, Counters& counters, const base::Nanos& now, bool server)
    : settings_(settings),
      counters_(counters),
      now_(now),
      server_(server),
      resets_(settings.resets, now),
      pings_(settings.pings, now),
      peer_settings_(settings.peer_settings, now),
      glitches_(settings.glitches, now),
      refusals_({2 * settings.max_concurrent_streams, 20}, now) {
  nghttp2_option* option = nullptr;
  OUTRIDER_CHECK(nghttp2_option_new(&option) == 0);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_option_set_peer_max_concurrent_streams(option, settings.assumed_peer_streams);
  nghttp2_option_set_max_outbound_ack(option, settings.max_outbound_control_frames);
  nghttp2_option_set_max_settings(option, 32);
  // Ours counts first, by the owner's clock; nghttp2's is the net below.
  nghttp2_option_set_stream_reset_rate_limit(option, 10ull * std::max(settings.resets.burst, 100u),
                                             10ull * std::max(settings.resets.per_second, 10u));
  nghttp2_option_set_max_continuations(option, settings.max_continuations);
  nghttp2_option_set_max_deflate_dynamic_table_size(option, settings.hpack_table_size);
  // So that frames of unknown types are seen and counted at all.
  for (int type = NGHTTP2_CONTINUATION + 1; type <= 0xff; ++type) {
    nghttp2_option_set_user_recv_extension_type(option, static_cast<uint8_t>(type));
  }
  nghttp2_option_set_max_send_header_block_length(option, 256 * 1024);
  nghttp2_mem mem{nullptr, Callbacks::memAlloc, Callbacks::memFree, Callbacks::memCalloc, Callbacks::memResize};
  const int made = server ? nghttp2_session_server_new3(&session_, Callbacks::table(), this, option, &mem)
                          : nghttp2_session_client_new3(&session_, Callbacks::table(), this, option, &mem);
  nghttp2_option_del(option);
  OUTRIDER_CHECK(made == 0);
  submitSettings();
}

Session::~Session() {
  // The queue goes first: it reads the arenas.
  nghttp2_session_del(session_);
  streams_.forEach([](Stream& stream) { delete &stream; });
}

void Session::submitSettings() {
  nghttp2_settings_entry entries[8];
  size_t n = 0;
  const auto add = [&](int32_t id, uint32_t value) { entries[n++] = {id, value}; };
  if (settings_.hpack_table_size != 4096) add(NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, settings_.hpack_table_size);
  if (server_) {
    const uint64_t twice = 2ull * settings_.max_concurrent_streams + 1;
    add(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, static_cast<uint32_t>(std::min<uint64_t>(twice, UINT32_MAX)));
    if (settings_.allow_connect) add(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1);
  } else {
    add(NGHTTP2_SETTINGS_ENABLE_PUSH, 0);
  }
  add(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings_.initial_stream_window);
  if (settings_.max_frame_size != 16384) add(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, settings_.max_frame_size);
  add(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1);
  OUTRIDER_CHECK(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, entries, n) == 0);
  OUTRIDER_CHECK(nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                                       static_cast<int32_t>(settings_.initial_connection_window)) == 0);
}

// nghttp2 holds a peer to twice the limit; the peer is told the limit itself.
std::string_view Session::patchSettings(std::string_view frame, char* to) {
  settings_out_ = true;
  std::memcpy(to, frame.data(), frame.size());
  for (size_t at = 9; at + 6 <= frame.size(); at += 6) {
    if (to[at] != 0 || to[at + 1] != NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) continue;
    const uint32_t limit = settings_.max_concurrent_streams;
    for (int i = 0; i < 4; ++i) to[at + 2 + static_cast<size_t>(i)] = static_cast<char>(limit >> (24 - 8 * i));
  }
  return {to, frame.size()};
}

Feed Session::feedBytes(base::Buffer& in) {
  OUTRIDER_DCHECK(feeding_ == nullptr && out_ == nullptr);
  deliverReady();
  while (!in.empty() && !broken()) {
    if (skip_left_ > 0) {
      const size_t n = std::min(skip_left_, in.size());
      in.drain(n);
      skip_left_ -= n;
      continue;
    }
    const base::Slice slice = in.slice(0);
    Scan scan;
    scan.feed = scan.consumed = slice.size();
    if (server_) {
      scan = scanFrames({slice.data(), slice.size()});
      eat({scan.held, scan.held_size});
    }
    feeding_ = &slice;
    eat({slice.data(), scan.feed});
    feeding_ = nullptr;
    in.drain(scan.consumed);
    if (!broken()) act(scan);
  }
  deliverReady();
  if (outboundFrames() > settings_.max_outbound_frames) {
    fail(NGHTTP2_ENHANCE_YOUR_CALM, "http2.outbound_frames_flood", &counters_.outbound_flood);
  }
  settle();
  if (!dead_ && (nghttp2_session_want_write(session_) != 0 || !credits_.empty())) emitOutput();
  if (!broken() && !done()) return Feed::kMore;
  in.clear();
  return Feed::kFinished;
}

void Session::eat(std::string_view bytes) {
  if (bytes.empty() || broken()) return;
  const ssize_t eaten = nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (eaten >= 0) return;  // all: no callback of ours pauses it
  switch (eaten) {
    case NGHTTP2_ERR_FLOODED: fail(NGHTTP2_ENHANCE_YOUR_CALM, "http2.outbound_control_flood", &counters_.outbound_control_flood); break;
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
      fail(NGHTTP2_ENHANCE_YOUR_CALM, "http2.too_many_header_frames", &counters_.too_many_header_frames);
      break;
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC: fail(NGHTTP2_PROTOCOL_ERROR, "http2.bad_preface", nullptr); break;
    default: fail(NGHTTP2_INTERNAL_ERROR, "http2.unknown.nghttp2.error", nullptr); break;
  }
}

void Session::fillBytes(base::Buffer& out) {
  OUTRIDER_DCHECK(feeding_ == nullptr && out_ == nullptr);
  if (dead_ || out.size() >= kOutBudget) return;
  while (!unsendable_.empty()) endStream(unsendable_.popFront(), ResetReason::kRemoteRefused, "http2.not_sent");
  creditStreams();
  out_ = &out;
  ssize_t n = 0;
  while (out.size() < kOutBudget || !late_resets_.empty()) {
    const uint8_t* data = nullptr;
    n = out.size() < kOutBudget ? nghttp2_session_mem_send(session_, &data) : 0;
    if (n == 0 && !late_resets_.empty()) {
      Stream& stream = late_resets_.popFront();
      stream.farewell_ = false;
      stream.out_.pending().clear();
      submitReset(stream, stream.late_code_);
      continue;
    }
    if (n <= 0) break;
    const std::string_view piece(reinterpret_cast<const char*>(data), static_cast<size_t>(n));
    char patched[64];
    const bool first = server_ && !settings_out_ && piece.size() <= sizeof patched && piece[3] == NGHTTP2_SETTINGS;
    out.append(first ? patchSettings(piece, patched) : piece);
  }
  out_ = nullptr;
  if (n < 0) {
    fail(NGHTTP2_INTERNAL_ERROR, codeDetails(NGHTTP2_INTERNAL_ERROR), nullptr);
    settle();
    dead_ = true;
    return;
  }
  while (!relieved_.empty()) relieved_.popFront().emitRoom();
  settle();
  if (!ready_.empty()) emitWantFeed();
  if (nghttp2_session_want_write(session_) != 0 && out.size() >= kOutBudget) emitOutput();
}

void Session::outputDrained() {
  if (!dead_ && (nghttp2_session_want_write(session_) != 0 || !credits_.empty())) emitOutput();
}

void Session::settle() {
  if (!failure_.empty() && !failure_told_) {
    failure_told_ = true;
    nghttp2_session_terminate_session(session_, failure_code_);
    emitConnectionError(failure_);
    streams_.forEach([this](Stream& stream) {
      if (!stream.told_) endStream(stream, ResetReason::kProtocolError, failure_);
    });
    emitOutput();
  }
  settleGone();
}

void Session::settleGone() {
  if (std::exchange(gone_, false)) onStreamGone();
}

void Session::endSoon(Stream& stream) {
  stream.closed_ = true;
  --alive_;
  unsendable_.pushBack(stream);
  emitOutput();
}

void Session::fail(uint32_t code, std::string_view details, uint64_t* counter) {
  if (!failure_.empty()) return;
  failure_ = details;
  failure_code_ = code;
  if (counter != nullptr) ++*counter;
}

void Session::endAll(ResetReason reason) {
  dead_ = true;
  streams_.forEach([&](Stream& stream) {
    stream.closed_ = true;
    if (stream.told_) return;
    // A response that is all here and waits for its reader has come: its owner gets the rest, paused or not.
    if (!server_ && reason == ResetReason::kConnectionClosed && stream.reason_ == ResetReason::kNone && stream.remote_done_ &&
        !stream.last_told_) {
      stream.paused_ = false;
      deliver(stream);
    } else {
      endStream(stream, reason, {});
    }
  });
}

bool Session::done() const {
  if (dead_) return true;
  if (nghttp2_session_want_write(session_) != 0) return false;
  if (peer_finished_ && open_ == 0) return true;
  return nghttp2_session_want_read(session_) == 0;
}

void Session::goAway(bool notice) {
  if (broken()) return;
  if (notice) {
    nghttp2_submit_shutdown_notice(session_);
  } else {
    nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, server_ ? nghttp2_session_get_last_proc_stream_id(session_) : 0, NGHTTP2_NO_ERROR,
                          nullptr, 0);
  }
  emitOutput();
}

void Session::sendPing() {
  if (broken()) return;
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
  emitOutput();
}

size_t Session::outboundFrames() const { return nghttp2_session_get_outbound_queue_size(session_); }
uint32_t Session::nextStreamId() const { return nghttp2_session_get_next_stream_id(session_); }
uint32_t Session::remoteSetting(int32_t id) const {
  return nghttp2_session_get_remote_settings(session_, static_cast<nghttp2_settings_id>(id));
}

bool Session::submitHead(Stream& stream, std::span<nghttp2_nv> fields, bool last, bool informational) {
  if (broken() || stream.closed_) return false;
  int rv;
  if (informational) {
    rv = nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream.id_, nullptr, fields.data(), fields.size(), nullptr);
    rv = std::min(rv, 0);
  } else {
    nghttp2_data_provider body{};
    body.source.ptr = &stream;
    body.read_callback = Callbacks::onRead;
    rv = nghttp2_submit_response(session_, stream.id_, fields.data(), fields.size(), last ? nullptr : &body);
    stream.head_sent_ = true;
    if (last) stream.out_.finish();
  }
  if (rv != 0) return false;
  ++stream.pins_;
  emitOutput();
  return true;
}

bool Session::submitRequest(Stream& stream, std::span<nghttp2_nv> fields, bool last) {
  if (broken()) return false;
  nghttp2_data_provider body{};
  body.source.ptr = &stream;
  body.read_callback = Callbacks::onRead;
  const int32_t id = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), last ? nullptr : &body, &stream);
  if (id < 0) return false;
  stream.id_ = id;
  stream.head_sent_ = true;
  if (last) stream.out_.finish();
  ++stream.pins_;
  ++streams_seen_;
  emitOutput();
  return true;
}

void Session::submitReset(Stream& stream, uint32_t code) {
  if (broken() || stream.closed_) return;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id_, code);
  emitOutput();
}

void Session::malformed(Stream& stream, std::string_view details) {
  ++counters_.rx_messaging_error;
  stream.reason_ = ResetReason::kProtocolError;
  stream.details_ = details;
  stream.emitMalformed(details);
  if (!settings_.stream_error_on_invalid_http_message) {
    fail(NGHTTP2_PROTOCOL_ERROR, details, nullptr);
    return;
  }
  glitch();
  chargeReset();
}

void Session::markReady(Stream& stream) {
  if (!stream.base::TaggedNode<ReadyTag>::linked()) ready_.pushBack(stream);
}

void Session::deliverReady() {
  while (!ready_.empty()) deliver(ready_.popFront());
}

void Session::deliver(Stream& stream) {
  if (stream.told_ || stream.paused_ || stream.reason_ != ResetReason::kNone) return;
  const bool ends = stream.remote_done_ && !stream.last_told_;
  const bool last = ends && stream.trailers_in_ == nullptr;
  if (!stream.in_.empty() || last) {
    stream.uncredited_ += stream.in_.size();
    if (stream.uncredited_ > 0 && !stream.base::TaggedNode<CreditTag>::linked()) credits_.pushBack(stream);
    stream.last_told_ |= last;
    stream.emitData(stream.in_, last);
    stream.in_.clear();
  }
  if (ends && !last) {
    stream.last_told_ = true;
    ++counters_.trailers;
    stream.emitTrailers(*stream.trailers_in_);
  }
  if (stream.closed_ && stream.last_told_) endStream(stream, ResetReason::kNone, {});
}

void Session::endStream(Stream& stream, ResetReason reason, std::string_view details) {
  stream.told_ = true;
  --open_;
  gone_ = true;
  dropInbound(stream);
  stream.out_.pending().clear();
  stream.base::TaggedNode<ReadyTag>::unlink();
  stream.base::TaggedNode<RoomTag>::unlink();
  stream.emitEnd(reason, details);
  release(stream);
}

void Session::closeStream(Stream& stream, uint32_t code) {
  stream.closed_ = true;
  --alive_;
  onSlotFree();
  if (server_ && stream.remote_reset_ && !stream.local_done_ && !stream.owner_reset_ &&
      now_ - stream.born_ < settings_.premature_reset_age_ns) {
    chargeReset();
  }
  if (stream.told_) {
    release(stream);
    return;
  }
  ResetReason reason = stream.reason_;
  std::string_view details = stream.details_;
  if (reason == ResetReason::kNone) {
    if (stream.remote_reset_) {
      if (stream.remote_code_ == NGHTTP2_REFUSED_STREAM) {
        reason = ResetReason::kRemoteRefused;
      } else if (!server_ && stream.remote_code_ == NGHTTP2_PROTOCOL_ERROR) {
        reason = ResetReason::kProtocolError;  // an upstream that calls us wrong, as Envoy has it
      } else if (stream.remote_code_ != NGHTTP2_NO_ERROR || !stream.remote_done_ || (server_ && !stream.local_done_)) {
        reason = ResetReason::kRemoteReset;
      }
      details = reason == ResetReason::kRemoteRefused   ? kRefused
                : reason == ResetReason::kProtocolError ? std::string_view()
                                                        : "http2.remote_reset";
    } else if (!server_ && (code == NGHTTP2_REFUSED_STREAM || stream.unsent_)) {
      reason = ResetReason::kRemoteRefused;
      details = kNotProcessed;
    } else if (code != NGHTTP2_NO_ERROR) {
      // nghttp2 reset it for what the peer did: a body that contradicts its length, a broken window, ...
      reason = ResetReason::kProtocolError;
      details = code == NGHTTP2_PROTOCOL_ERROR ? kInvalidMessage : codeDetails(code);
      ++counters_.rx_messaging_error;
      stream.emitMalformed(details);
      glitch();
      chargeReset();
    }
  }
  if (reason != ResetReason::kNone) {
    if (!server_ && !stream.in_.empty() && !stream.paused_) {  // what came before the answer broke off
      stream.uncredited_ += stream.in_.size();
      stream.emitData(stream.in_, false);
      stream.in_.clear();
    }
    endStream(stream, reason, details);
  } else if (!stream.remote_done_ || stream.last_told_) {
    endStream(stream, reason, {});
  } else {
    markReady(stream);  // the sink gets the rest first
  }
}

void Session::localDone(Stream& stream) {
  stream.local_done_ = true;
  if (server_ && !stream.remote_done_ && (stream.farewell_ || (!stream.told_ && !stream.keepsRequestOpen()))) {
    stream.excused_ = true;
    submitReset(stream, NGHTTP2_NO_ERROR);
  }
}

void Session::creditStreams() {
  while (!credits_.empty()) {
    Stream& stream = credits_.popFront();
    if (stream.paused_ || stream.told_ || stream.uncredited_ == 0) continue;  // comes back with pause(false)
    nghttp2_session_consume(session_, stream.id_, stream.uncredited_);
    stream.uncredited_ = 0;
  }
}

void Session::dropInbound(Stream& stream) {
  const size_t held = stream.uncredited_ + stream.in_.size();
  stream.in_.clear();
  stream.uncredited_ = 0;
  stream.base::TaggedNode<CreditTag>::unlink();
  if (held > 0 && !dead_) nghttp2_session_consume_connection(session_, held);
}

void Session::unpin(int32_t id, Stream* stream) {
  if (stream == nullptr) {
    // nghttp2 forgot the stream before its frame left. Frames leave about in the order in which streams came.
    streams_.forEach([&](Stream& each) {
      if (stream == nullptr && each.id_ == id) stream = &each;
    });
    if (stream == nullptr) return;
  }
  OUTRIDER_DCHECK(stream->pins_ > 0);
  --stream->pins_;
  release(*stream);
}

void Session::release(Stream& stream) {
  if (stream.told_ && stream.closed_ && stream.pins_ == 0) delete &stream;
}

// ---- Guards ----

bool Session::countFrame(uint8_t type, uint8_t flags, size_t length, int32_t id) {
  switch (type) {
    case NGHTTP2_DATA:
      // One with payload is looked at when it is complete: its payload may be padding.
      if (length == 0) countEmpty((flags & NGHTTP2_FLAG_END_STREAM) == 0);
      break;
    case NGHTTP2_HEADERS:
      countEmpty(length == 0 && (flags & NGHTTP2_FLAG_END_STREAM) == 0);
      if (server_) checkOrder(id);
      break;
    case NGHTTP2_CONTINUATION: countEmpty(length == 0); break;
    case NGHTTP2_PRIORITY:
      if (id == 0) fail(NGHTTP2_PROTOCOL_ERROR, codeDetails(NGHTTP2_PROTOCOL_ERROR), nullptr);
      [[fallthrough]];
    case NGHTTP2_PRIORITY_UPDATE:
      if (++priority_frames_ > uint64_t{settings_.max_priority_frames_per_stream} * (1 + streams_seen_)) {
        fail(NGHTTP2_ENHANCE_YOUR_CALM, "http2.inbound_priority_frames_flood", &counters_.inbound_priority_frames_flood);
      }
      break;
    case NGHTTP2_WINDOW_UPDATE:
      if (++window_updates_ > 5 + 2 * (streams_seen_ + uint64_t{settings_.max_window_updates_per_data_frame} * data_frames_out_)) {
        fail(NGHTTP2_ENHANCE_YOUR_CALM, "http2.inbound_window_update_frames_flood", &counters_.inbound_window_update_frames_flood);
      }
      break;
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PUSH_PROMISE:
    case NGHTTP2_PING:
    case NGHTTP2_GOAWAY: break;
    default: glitch(); break;
  }
  return failure_.empty();
}

void Session::countEmpty(bool empty) {
  if (!empty) {
    empty_frames_ = 0;
  } else if (++empty_frames_ > settings_.max_consecutive_empty_frames) {
    fail(NGHTTP2_ENHANCE_YOUR_CALM, "http2.inbound_empty_frames_flood", &counters_.inbound_empty_frames_flood);
  }
}

// RFC 9113 5.1.1: opening a stream closes all idle streams below it. nghttp2 cannot tell such a stream from one that it has
// forgotten, and ignores HEADERS for both; those for a forgotten stream may be trailers that crossed our RST_STREAM.
void Session::checkOrder(int32_t id) {
  if (id > last_inbound_id_) {
    if (id > last_inbound_id_ + 2) skipped_[skips_++ % std::size(skipped_)] = {last_inbound_id_ + 1, id};
    last_inbound_id_ = id;
    return;
  }
  for (const Skipped& each : skipped_) {
    if (id >= each.from && id < each.to) fail(NGHTTP2_PROTOCOL_ERROR, codeDetails(NGHTTP2_PROTOCOL_ERROR), nullptr);
  }
}

// A look at the frames before nghttp2 gets them, for what it passes over in silence:
// - HEADERS and DATA behind the peer's own END_STREAM or RST_STREAM (RFC 9113 5.1). nghttp2 forgets closed streams and ignores
//   what comes for them, for it may have crossed a RST_STREAM of ours; what the peer ended itself cannot have.
// - A stream that depends on itself (RFC 7540 5.3.1): we use no priorities, so nghttp2 does not read them.
// - A client's GOAWAY is about streams that we would open (RFC 9113 6.8); nghttp2 would read no further. It does not see it.
// Stops at each such frame, so that what came before is dealt with first, however the bytes are cut. A frame's head goes to
// nghttp2 when it is whole.
Session::Scan Session::scanFrames(std::string_view bytes) {
  Scan scan;
  size_t i = 0;
  const auto at = [this](size_t k) { return static_cast<uint32_t>(static_cast<uint8_t>(scan_[k])); };
  const auto word = [&](size_t k) { return (at(k) << 24 | at(k + 1) << 16 | at(k + 2) << 8 | at(k + 3)) & 0x7fffffffu; };
  while (i < bytes.size()) {
    if (scan_left_ > 0) {
      const size_t n = std::min<size_t>(scan_left_, bytes.size() - i);
      scan_left_ -= static_cast<uint32_t>(n);
      i += n;
      continue;
    }
    const uint32_t want = scan_have_ >= 9 ? 13 : 9;
    const size_t n = std::min<size_t>(want - scan_have_, bytes.size() - i);
    std::memcpy(scan_ + scan_have_, bytes.data() + i, n);
    scan_have_ += static_cast<uint32_t>(n);
    i += n;
    if (scan_have_ < want) break;
    const uint32_t length = at(0) << 16 | at(1) << 8 | at(2);
    const auto id = static_cast<int32_t>(word(5));
    if (want == 13) {
      scan_left_ = length - 4;
      scan_have_ = 0;
      if (word(9) != word(5) || id == 0) continue;
      scan.feed = scan.consumed = i;
      scan.event = Scan::Event::kDependsOnItself;
      scan.id = id;
      return scan;
    }
    const uint32_t type = at(3);
    if (type == NGHTTP2_GOAWAY && id == 0 && length >= 8 && length <= settings_.max_frame_size) {
      scan_have_ = 0;
      skip_left_ = length;
      scan.feed = n == 9 ? i - 9 : 0;
      scan.consumed = i;
      scan.event = Scan::Event::kGoAway;
      return scan;
    }
    const bool message = type == NGHTTP2_DATA || type == NGHTTP2_HEADERS;
    if (message && endedByPeer(id)) {
      scan.feed = n == 9 ? i - 9 : 0;
      scan.consumed = bytes.size();
      scan.event = Scan::Event::kClosed;
      return scan;
    }
    if ((message && (at(4) & NGHTTP2_FLAG_END_STREAM) != 0) || (type == NGHTTP2_RST_STREAM && length == 4)) {
      ended_by_peer_[ended_by_peer_count_++ % std::size(ended_by_peer_)] = id;
    }
    if (n < 9) {  // the beginning of this head was held back
      scan.held_size = 9 - n;
      std::memcpy(scan.held, scan_, scan.held_size);
    }
    if (type == NGHTTP2_PRIORITY && length >= 5) continue;  // its dependency as well
    scan_left_ = length;
    scan_have_ = 0;
  }
  scan.consumed = i;
  scan.feed = scan_have_ == 0 || scan_have_ >= 9 ? i : i - std::min<size_t>(i, scan_have_);
  return scan;
}

bool Session::endedByPeer(int32_t id) const {
  if (id == 0) return false;
  bool found = false;
  for (const int32_t each : ended_by_peer_) found |= each == id;
  return found;
}

void Session::act(const Scan& scan) {
  switch (scan.event) {
    case Scan::Event::kNone: return;
    case Scan::Event::kClosed: return fail(NGHTTP2_STREAM_CLOSED, codeDetails(NGHTTP2_STREAM_CLOSED), nullptr);
    case Scan::Event::kGoAway: return glitch();
    case Scan::Event::kDependsOnItself:
      if (scan.id > last_inbound_id_) {  // an idle stream cannot be reset
        return fail(NGHTTP2_PROTOCOL_ERROR, codeDetails(NGHTTP2_PROTOCOL_ERROR), nullptr);
      }
      nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, scan.id, NGHTTP2_PROTOCOL_ERROR);
      glitch();
      chargeReset();
      return;
  }
}

void Session::countRefusal() {
  ++counters_.stream_refused_errors;
  if (refusals_.take(now_)) return;
  fail(NGHTTP2_ENHANCE_YOUR_CALM, "http2.too_many_refused_streams", nullptr);
}

void Session::chargeReset() {
  if (!server_ || resets_.take(now_)) return;
  fail(NGHTTP2_ENHANCE_YOUR_CALM, "http2.too_many_premature_resets", &counters_.too_many_premature_resets);
}

void Session::glitch() {
  if (glitches_.take(now_)) return;
  fail(NGHTTP2_ENHANCE_YOUR_CALM, "http2.glitch_flood", &counters_.glitch_flood);
}

}  // namespace outrider::http::h2
