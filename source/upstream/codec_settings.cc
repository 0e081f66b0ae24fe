#include "source/upstream/codec_settings.h"

namespace outrider::upstream {

CodecSettings codecSettingsOf(const config::ClusterSpec& spec) {
  CodecSettings out;
  const config::UpstreamHttpSpec& http = spec.http;
  out.h1 = http::h1::Settings::upstream();
  out.h1.max_head_bytes = http.max_headers_kb * 1024;
  out.h1.max_headers = http.max_headers_count;
  out.h1.buffer_limit = spec.buffer_limit;
  out.h1.enable_trailers = http.http1_trailers;
  out.h1.proper_case = http.proper_case;
  out.h1.preserve_case = http.preserve_case;
  out.h1.preserve_case_proper = http.preserve_case_proper;
  out.h2.hpack_table_size = http.http2.hpack_table;
  out.h2.max_header_bytes = http.max_headers_kb * 1024;
  out.h2.max_header_count = http.max_headers_count;
  if (http.http2.max_concurrent_streams > 0) {
    out.h2.max_concurrent_streams = http.http2.max_concurrent_streams;
  } else {
    out.h2.max_concurrent_streams = 1u << 30;  // the peer's limit holds
  }
  if (http.http2.stream_window > 0) out.h2.initial_stream_window = http.http2.stream_window;
  if (http.http2.connection_window > 0) out.h2.initial_connection_window = http.http2.connection_window;
  out.h2.keepalive = {http.http2.keepalive_interval, http.http2.keepalive_timeout, http.http2.keepalive_jitter};
  out.h2.secure = spec.transport.set();
  return out;
}

}  // namespace outrider::upstream
