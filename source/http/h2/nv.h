// Builds the name/value array of one HEADERS frame. The bytes are not copied: they are static or live in the stream's arena.
// Thread: one; the array is the thread's scratch and is good until the next one is begun.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include <nghttp2/nghttp2.h>

#include "source/http/header_map.h"

namespace outrider::http::h2 {

class NvList final {
 public:
  NvList() : fields_(scratch()) { fields_.clear(); }

  void add(std::string_view name, std::string_view value, bool index = true) {
    // nghttp2 takes pointers to non-const, and does not write through them. A null value of size 0 is not allowed.
    fields_.push_back({bytes(name), bytes(value), name.size(), value.size(),
                       static_cast<uint8_t>(NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE |
                                            (index ? NGHTTP2_NV_FLAG_NONE : NGHTTP2_NV_FLAG_NO_INDEX))});
  }
  // Every field that may cross a hop in HTTP/2.
  void addAll(const HeaderMap& headers) {
    headers.forEach([this](const Header& header) {
      switch (header.id) {
        case HeaderId::kConnection:
        case HeaderId::kKeepAlive:
        case HeaderId::kProxyConnection:
        case HeaderId::kTransferEncoding:
        case HeaderId::kUpgrade:
        case HeaderId::kHttp2Settings:
        case HeaderId::kHost: return;
        case HeaderId::kTe:
          if (header.value() == "trailers") add(header.name(), header.value());
          return;
        // Values that never come back only churn the peer's table.
        case HeaderId::kRequestId:
        case HeaderId::kContentLength:
        case HeaderId::kTraceparent: add(header.name(), header.value(), false); return;
        default: add(header.name(), header.value());
      }
    });
  }
  std::span<nghttp2_nv> fields() { return fields_; }

 private:
  static std::vector<nghttp2_nv>& scratch() {
    thread_local std::vector<nghttp2_nv> fields;
    return fields;
  }
  static uint8_t* bytes(std::string_view view) {
    static uint8_t nothing[1];
    if (view.data() == nullptr) return nothing;
    return reinterpret_cast<uint8_t*>(const_cast<char*>(view.data()));
  }
  std::vector<nghttp2_nv>& fields_;
};

}  // namespace outrider::http::h2
