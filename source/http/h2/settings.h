// What one HTTP/2 connection is allowed to do, and what it counts. Plain values; who parses configuration fills them.
// Source: RFC 9113 and Envoy's config.core.v3.Http2ProtocolOptions; a default that differs from Envoy's is the safer one.
// Units: bytes, counts, frames a second. Thread: any for Settings; Counters belong to the worker that owns the codec.
#pragma once

#include <cstdint>
#include <string_view>

namespace outrider::http::h2 {

enum class Underscores : uint8_t { kAllow, kReject, kDrop };

// A budget that refills: `burst` at once, then `per_second`. A burst of 0 switches the guard off.
struct Rate {
  uint32_t burst = 100;
  uint32_t per_second = 20;
  bool operator==(const Rate&) const = default;
};

// PINGs of our own. Units: nanoseconds.
struct KeepaliveSettings {
  int64_t interval = 0;          // 0: none
  int64_t timeout = 0;           // for the answer
  uint32_t jitter_percent = 15;  // of the interval, added at random
  bool operator==(const KeepaliveSettings&) const = default;
};

struct Settings {
  // What we tell the peer.
  uint32_t hpack_table_size = 4096;       // for decoding; also the most that we use for encoding
  uint32_t max_concurrent_streams = 100;  // server: streams that the client may open. Client: that we open at most
  uint32_t assumed_peer_streams = 100;    // client: that the peer lets us open, until its SETTINGS say
  uint32_t initial_stream_window = 256 * 1024;
  uint32_t initial_connection_window = 1024 * 1024;
  uint32_t max_frame_size = 16384;  // inbound
  bool allow_connect = false;       // offer extended CONNECT (RFC 8441)

  // Message limits: names and values as decoded, without per-field overhead; every field and cookie crumb counts.
  uint32_t max_header_bytes = 60 * 1024;
  uint32_t max_header_count = 100;
  uint32_t max_continuations = 16;           // CONTINUATION frames of one header block
  uint32_t max_informational = 64;           // client: 1xx responses of one exchange
  uint32_t stream_buffer_limit = 64 * 1024;  // outbound, soft; sendData answers kFull above it

  // Guards against floods.
  uint32_t max_outbound_frames = 10000;
  uint32_t max_outbound_control_frames = 1000;  // queued answers to PING and SETTINGS
  uint32_t max_consecutive_empty_frames = 1;    // HEADERS, CONTINUATION, DATA without payload and without END_STREAM
  uint32_t max_priority_frames_per_stream = 100;
  uint32_t max_window_updates_per_data_frame = 10;
  Rate resets;  // early resets by the peer and resets that its faults forced on us
  Rate pings;   // PINGs while we sent no HEADERS or DATA between
  Rate peer_settings;
  Rate glitches{1000, 100};                        // unknown frames, malformed messages
  int64_t premature_reset_age_ns = 1'000'000'000;  // a reset counts when the stream is younger
  KeepaliveSettings keepalive;

  // Rules for messages.
  bool stream_error_on_invalid_http_message = true;  // false: GOAWAY(PROTOCOL_ERROR), as Envoy's default
  Underscores underscores = Underscores::kAllow;
  bool allow_underscore_twins = false;    // names that equal a framing or identity header once '_' reads as '-'
  bool allow_high_bytes_in_path = false;  // 0x80-0xff in :path
  bool allow_host_mismatch = false;       // `host` that differs from :authority
  bool secure = false;                    // the transport is TLS
  bool match_transport_scheme = true;     // head.scheme says what the transport is, whatever :scheme said

  bool operator==(const Settings&) const = default;
};

// Names are Envoy's below `http2.`, in the order of its documentation.
#define OUTRIDER_H2_COUNTERS(X)                    \
  X(dropped_headers_with_underscores)              \
  X(goaway_sent)                                   \
  X(header_overflow)                               \
  X(headers_cb_no_stream)                          \
  X(inbound_empty_frames_flood)                    \
  X(inbound_priority_frames_flood)                 \
  X(inbound_window_update_frames_flood)            \
  X(keepalive_timeout)                             \
  X(outbound_control_flood)                        \
  X(outbound_flood)                                \
  X(requests_rejected_with_underscores_in_headers) \
  X(rx_messaging_error)                            \
  X(rx_reset)                                      \
  X(stream_refused_errors)                         \
  X(trailers)                                      \
  X(tx_flush_timeout)                              \
  X(tx_reset)                                      \
  /* Ours. */                                      \
  X(glitch_flood)                                  \
  X(inbound_control_flood)                         \
  X(too_many_header_frames)                        \
  X(too_many_premature_resets)

struct Counters {
#define OUTRIDER_H2_COUNTER(name) uint64_t name = 0;
  OUTRIDER_H2_COUNTERS(OUTRIDER_H2_COUNTER)
#undef OUTRIDER_H2_COUNTER
  bool any() const {
#define OUTRIDER_H2_COUNTER(name) | name
    return (0 OUTRIDER_H2_COUNTERS(OUTRIDER_H2_COUNTER)) != 0;
#undef OUTRIDER_H2_COUNTER
  }
};

}  // namespace outrider::http::h2
