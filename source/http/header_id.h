// The names that the proxy itself has something to do with, and what is to be done with them.
// Source: RFC 9110-9113 and Envoy's x-envoy-* names. An id is an index; kUnknown is every other name.
#pragma once

#include <cstdint>
#include <string_view>

namespace outrider::http {

// name, id, policy
#define OUTRIDER_HEADERS(X)                                                                    \
  X("accept", kAccept, 0)                                                                      \
  X("accept-encoding", kAcceptEncoding, 0)                                                     \
  X("age", kAge, 0)                                                                            \
  X("authorization", kAuthorization, kIdentity | kNoTrailer)                                   \
  X("cache-control", kCacheControl, 0)                                                         \
  X("connection", kConnection, kHopByHop | kNoTrailer)                                         \
  X("content-encoding", kContentEncoding, kNoTrailer)                                          \
  X("content-length", kContentLength, kFraming | kNoTrailer)                                   \
  X("content-type", kContentType, kNoTrailer)                                                  \
  X("cookie", kCookie, kIdentity | kNoTrailer)                                                 \
  X("date", kDate, 0)                                                                          \
  X("etag", kEtag, 0)                                                                          \
  X("expect", kExpect, kNoTrailer)                                                             \
  X("grpc-message", kGrpcMessage, 0)                                                           \
  X("grpc-status", kGrpcStatus, 0)                                                             \
  X("grpc-timeout", kGrpcTimeout, 0)                                                           \
  X("host", kHost, kIdentity | kFraming | kNoTrailer)                                          \
  X("http2-settings", kHttp2Settings, kHopByHop | kNoTrailer)                                  \
  X("keep-alive", kKeepAlive, kHopByHop | kNoTrailer)                                          \
  X("location", kLocation, 0)                                                                  \
  X("origin", kOrigin, 0)                                                                      \
  X("proxy-authenticate", kProxyAuthenticate, 0)                                               \
  X("proxy-authorization", kProxyAuthorization, kIdentity | kNoTrailer)                        \
  X("proxy-connection", kProxyConnection, kHopByHop | kNoTrailer)                              \
  X("range", kRange, kNoTrailer)                                                               \
  X("referer", kReferer, 0)                                                                    \
  X("retry-after", kRetryAfter, 0)                                                             \
  X("server", kServer, 0)                                                                      \
  X("set-cookie", kSetCookie, kNoTrailer)                                                      \
  X("te", kTe, kHopByHop | kNoTrailer)                                                         \
  X("trailer", kTrailer, kHopByHop | kNoTrailer)                                               \
  X("transfer-encoding", kTransferEncoding, kHopByHop | kFraming | kNoTrailer)                 \
  X("upgrade", kUpgrade, kHopByHop | kNoTrailer)                                               \
  X("user-agent", kUserAgent, 0)                                                               \
  X("vary", kVary, 0)                                                                          \
  X("via", kVia, 0)                                                                            \
  X("www-authenticate", kWwwAuthenticate, 0)                                                   \
  X("traceparent", kTraceparent, 0)                                                            \
  X("x-client-trace-id", kClientTraceId, 0)                                                    \
  X("x-envoy-attempt-count", kEnvoyAttemptCount, kInternal)                                    \
  X("x-envoy-decorator-operation", kEnvoyDecoratorOperation, kInternal)                        \
  X("x-envoy-downstream-service-cluster", kEnvoyDownstreamServiceCluster, kInternal)           \
  X("x-envoy-downstream-service-node", kEnvoyDownstreamServiceNode, kInternal)                 \
  X("x-envoy-expected-rq-timeout-ms", kEnvoyExpectedRqTimeoutMs, kInternal)                    \
  X("x-envoy-external-address", kEnvoyExternalAddress, kInternal)                              \
  X("x-envoy-force-trace", kEnvoyForceTrace, kInternal)                                        \
  X("x-envoy-hedge-on-per-try-timeout", kEnvoyHedgeOnPerTryTimeout, kInternal)                 \
  X("x-envoy-internal", kEnvoyInternal, kInternal)                                             \
  X("x-envoy-ip-tags", kEnvoyIpTags, kInternal)                                                \
  X("x-envoy-is-timeout-retry", kEnvoyIsTimeoutRetry, kInternal)                               \
  X("x-envoy-max-retries", kEnvoyMaxRetries, kInternal)                                        \
  X("x-envoy-original-host", kEnvoyOriginalHost, kInternal)                                    \
  X("x-envoy-original-path", kEnvoyOriginalPath, kInternal)                                    \
  X("x-envoy-overloaded", kEnvoyOverloaded, 0)                                                 \
  X("x-envoy-ratelimited", kEnvoyRatelimited, 0)                                               \
  X("x-envoy-retriable-header-names", kEnvoyRetriableHeaderNames, kInternal)                   \
  X("x-envoy-retriable-status-codes", kEnvoyRetriableStatusCodes, kInternal)                   \
  X("x-envoy-retry-grpc-on", kEnvoyRetryGrpcOn, kInternal)                                     \
  X("x-envoy-retry-on", kEnvoyRetryOn, kInternal)                                              \
  X("x-envoy-upstream-alt-stat-name", kEnvoyUpstreamAltStatName, kInternal)                    \
  X("x-envoy-upstream-rq-per-try-timeout-ms", kEnvoyUpstreamRqPerTryTimeoutMs, kInternal)      \
  X("x-envoy-upstream-rq-timeout-alt-response", kEnvoyUpstreamRqTimeoutAltResponse, kInternal) \
  X("x-envoy-upstream-rq-timeout-ms", kEnvoyUpstreamRqTimeoutMs, kInternal)                    \
  X("x-envoy-upstream-service-time", kEnvoyUpstreamServiceTime, 0)                             \
  X("x-forwarded-client-cert", kForwardedClientCert, kIdentity)                                \
  X("x-forwarded-for", kForwardedFor, kIdentity)                                               \
  X("x-forwarded-host", kForwardedHost, kIdentity)                                             \
  X("x-forwarded-port", kForwardedPort, kIdentity)                                             \
  X("x-forwarded-proto", kForwardedProto, kIdentity)                                           \
  X("x-request-id", kRequestId, 0)

enum class HeaderId : uint8_t {
#define OUTRIDER_HEADER_ID(name, id, policy) id,
  OUTRIDER_HEADERS(OUTRIDER_HEADER_ID)
#undef OUTRIDER_HEADER_ID
      kUnknown
};
inline constexpr size_t kHeaderIds = static_cast<size_t>(HeaderId::kUnknown);

// What the table says of a name. An underscore twin of a kFraming or kIdentity name is refused unless allowed.
enum HeaderPolicy : uint8_t {
  kHopByHop = 1,   // dies at this hop (RFC 9110 7.6.1)
  kFraming = 2,    // decides where a message ends or whose it is
  kIdentity = 4,   // says who asks
  kNoTrailer = 8,  // refused in trailers (RFC 9110 6.5.1)
  kInternal = 16,  // x-envoy-*: only trusted peers may send it
};

std::string_view headerName(HeaderId id);  // lower case; empty for kUnknown
uint8_t headerPolicy(HeaderId id);         // 0 for kUnknown
HeaderId headerId(std::string_view lower_case_name);

}  // namespace outrider::http
