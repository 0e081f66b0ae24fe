// Makes a request's head what the rest may rely on: a sane authority and path, one client address, no forged identity.
// Thread: worker, pure functions on the head. Source: Envoy's connection manager ("HTTP header sanitizing", x-forwarded-for,
// x-envoy-*), RFC 9110, RFC 3986; SECURITY rows are named in the tests.
#pragma once

#include "source/filter/http_stream.h"
#include "source/filter/network/http_connection_manager/spec.h"
#include "source/filter/network/http_connection_manager/stats.h"

namespace outrider::filter::network::http_connection_manager {

struct Admission {
  const HcmSpec& spec;
  const HcmStats& stats;
  bool secure;  // the connection is TLS
};

// Null: admitted. Otherwise the refusal, in the stream's arena.
const Reply* admitRequest(const Admission& admission, HttpStream& stream, http::RequestHead& head);

enum class PathFault : uint8_t { kNone, kBadPath, kEscapedSlashRejected, kRedirect };
// Normalises `path` (with query) as the spec says; the result lives in `arena`. Exposed for tests and explain.
PathFault normalizePath(const HcmSpec& spec, std::string_view path, base::Arena& arena, std::string_view& out);

}  // namespace outrider::filter::network::http_connection_manager
