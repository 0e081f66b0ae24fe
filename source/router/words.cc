#include "source/router/words.h"

#include <charconv>
#include <cstring>

#include "source/base/check.h"

namespace outrider::router {

using http::ResetReason;
using stream::ResponseFlag;

bool parseNumber(std::string_view text, uint64_t& out) {
  if (text.empty()) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

std::string_view printNumber(base::Arena& arena, uint64_t value) {
  char text[24];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return arena.copy({text, static_cast<size_t>(end - text)});
}

std::string_view resetWords(ResetReason reason) {
  switch (reason) {
    case ResetReason::kNone:
    case ResetReason::kLocal: return "local reset";
    case ResetReason::kRemoteReset: return "remote reset";
    case ResetReason::kRemoteRefused: return "remote refused stream reset";
    case ResetReason::kConnectionClosed: return "connection termination";
    case ResetReason::kProtocolError: return "protocol error";
    case ResetReason::kOverflow:
    case ResetReason::kPoolOverflow: return "overflow";
    case ResetReason::kConnectFailure: return "remote connection failure";
    case ResetReason::kConnectTimeout: return "connection timeout";
    case ResetReason::kTimeout: return "timeout";
  }
  OUTRIDER_UNREACHABLE();
}

ResponseFlag resetFlag(ResetReason reason) {
  switch (reason) {
    case ResetReason::kRemoteReset:
    case ResetReason::kRemoteRefused: return ResponseFlag::kUpstreamRemoteReset;
    case ResetReason::kConnectionClosed: return ResponseFlag::kUpstreamConnectionTermination;
    case ResetReason::kProtocolError: return ResponseFlag::kUpstreamProtocolError;
    case ResetReason::kOverflow:
    case ResetReason::kPoolOverflow: return ResponseFlag::kUpstreamOverflow;
    case ResetReason::kConnectFailure:
    case ResetReason::kConnectTimeout: return ResponseFlag::kUpstreamConnectionFailure;
    case ResetReason::kTimeout: return ResponseFlag::kUpstreamRequestTimeout;
    case ResetReason::kNone:
    case ResetReason::kLocal: return ResponseFlag::kLocalReset;
  }
  OUTRIDER_UNREACHABLE();
}

std::string_view reasonId(ResetReason reason) {
  switch (reason) {
    case ResetReason::kConnectFailure: return "upstream_connect_failure";
    case ResetReason::kConnectTimeout: return "upstream_connect_timeout";
    case ResetReason::kPoolOverflow: return "upstream_overflow";
    case ResetReason::kConnectionClosed: return "upstream_connection_closed";
    case ResetReason::kProtocolError: return "upstream_protocol_error";
    default: return "upstream_reset";
  }
}

std::string_view underscored(base::Arena& arena, std::string_view text) {
  char* out = arena.bytes(text.size());
  std::transform(text.begin(), text.end(), out, [](char c) { return c == ' ' ? '_' : c; });
  return {out, text.size()};
}

}  // namespace outrider::router
