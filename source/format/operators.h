// Envoy's command operators: what %NAME(...)% stands for. One table gives names, rules for parameters, and kinds.
// Source: Envoy's access log documentation ("Command Operators"); OUTRIDER_REASON is our own (docs/reasons.md). Thread: constant data.
#pragma once

#include <cstdint>
#include <string_view>

namespace outrider::format {

// Which parameters an operator takes.
enum class Params : uint8_t { kNone, kOptional, kRequired };

// name, id, parameters, may have :Z, is a number in JSON
#define OUTRIDER_OPERATORS(X)                                                              \
  X("REQ", kReq, kRequired, true, false)                                                   \
  X("RESP", kResp, kRequired, true, false)                                                 \
  X("TRAILER", kTrailer, kRequired, true, false)                                           \
  X("REQ_WITHOUT_QUERY", kReqWithoutQuery, kRequired, true, false)                         \
  X("PATH", kPath, kOptional, true, false)                                                 \
  X("QUERY_PARAM", kQueryParam, kRequired, true, false)                                    \
  X("QUERY_PARAMS", kQueryParams, kOptional, true, false)                                  \
  X("START_TIME", kStartTime, kOptional, false, false)                                     \
  X("START_TIME_LOCAL", kStartTimeLocal, kOptional, false, false)                          \
  X("EMIT_TIME", kEmitTime, kOptional, false, false)                                       \
  X("EMIT_TIME_LOCAL", kEmitTimeLocal, kOptional, false, false)                            \
  X("PROTOCOL", kProtocol, kNone, false, false)                                            \
  X("UPSTREAM_PROTOCOL", kUpstreamProtocol, kNone, false, false)                           \
  X("RESPONSE_CODE", kResponseCode, kNone, false, true)                                    \
  X("RESPONSE_CODE_DETAILS", kResponseCodeDetails, kOptional, false, false)                \
  X("RESPONSE_FLAGS", kResponseFlags, kNone, false, false)                                 \
  X("RESPONSE_FLAGS_LONG", kResponseFlagsLong, kNone, false, false)                        \
  X("BYTES_RECEIVED", kBytesReceived, kNone, false, true)                                  \
  X("BYTES_SENT", kBytesSent, kNone, false, true)                                          \
  X("REQUEST_HEADERS_BYTES", kRequestHeadersBytes, kNone, false, true)                     \
  X("RESPONSE_HEADERS_BYTES", kResponseHeadersBytes, kNone, false, true)                   \
  X("RESPONSE_TRAILERS_BYTES", kResponseTrailersBytes, kNone, false, true)                 \
  X("UPSTREAM_WIRE_BYTES_SENT", kUpstreamWireSent, kNone, false, true)                     \
  X("UPSTREAM_WIRE_BYTES_RECEIVED", kUpstreamWireReceived, kNone, false, true)             \
  X("DURATION", kDuration, kNone, false, true)                                             \
  X("COMMON_DURATION", kCommonDuration, kRequired, false, true)                            \
  X("REQUEST_DURATION", kRequestDuration, kNone, false, true)                              \
  X("REQUEST_TX_DURATION", kRequestTxDuration, kNone, false, true)                         \
  X("RESPONSE_DURATION", kResponseDuration, kNone, false, true)                            \
  X("RESPONSE_TX_DURATION", kResponseTxDuration, kNone, false, true)                       \
  X("UPSTREAM_CONNECTION_POOL_READY_DURATION", kPoolReadyDuration, kNone, false, true)     \
  X("UPSTREAM_REQUEST_ATTEMPT_COUNT", kAttempts, kNone, false, true)                       \
  X("ROUTE_NAME", kRouteName, kNone, false, false)                                         \
  X("UPSTREAM_CLUSTER", kUpstreamCluster, kNone, false, false)                             \
  X("UPSTREAM_CLUSTER_RAW", kUpstreamClusterRaw, kNone, false, false)                      \
  X("UPSTREAM_HOST", kUpstreamHost, kNone, false, false)                                   \
  X("UPSTREAM_HOST_NAME", kUpstreamHostName, kNone, false, false)                          \
  X("UPSTREAM_HOST_NAME_WITHOUT_PORT", kUpstreamHostNameWithoutPort, kNone, false, false)  \
  X("UPSTREAM_REMOTE_ADDRESS", kUpstreamRemote, kNone, false, false)                       \
  X("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", kUpstreamRemoteIp, kNone, false, false)        \
  X("UPSTREAM_REMOTE_PORT", kUpstreamRemotePort, kNone, false, true)                       \
  X("UPSTREAM_LOCAL_ADDRESS", kUpstreamLocal, kNone, false, false)                         \
  X("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", kUpstreamLocalIp, kNone, false, false)          \
  X("UPSTREAM_LOCAL_PORT", kUpstreamLocalPort, kNone, false, true)                         \
  X("UPSTREAM_CONNECTION_ID", kUpstreamConnectionId, kNone, false, true)                   \
  X("UPSTREAM_TRANSPORT_FAILURE_REASON", kUpstreamTransportFailure, kNone, false, false)   \
  X("DOWNSTREAM_LOCAL_ADDRESS", kLocal, kNone, false, false)                               \
  X("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", kLocalIp, kNone, false, false)                \
  X("DOWNSTREAM_LOCAL_PORT", kLocalPort, kNone, false, true)                               \
  X("DOWNSTREAM_REMOTE_ADDRESS", kRemote, kNone, false, false)                             \
  X("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", kRemoteIp, kNone, false, false)              \
  X("DOWNSTREAM_REMOTE_PORT", kRemotePort, kNone, false, true)                             \
  X("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", kDirectRemote, kNone, false, false)                \
  X("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", kDirectRemoteIp, kNone, false, false) \
  X("DOWNSTREAM_DIRECT_REMOTE_PORT", kDirectRemotePort, kNone, false, true)                \
  X("DOWNSTREAM_DIRECT_LOCAL_ADDRESS", kDirectLocal, kNone, false, false)                  \
  X("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT", kDirectLocalIp, kNone, false, false)   \
  X("DOWNSTREAM_DIRECT_LOCAL_PORT", kDirectLocalPort, kNone, false, true)                  \
  X("DOWNSTREAM_TRANSPORT_FAILURE_REASON", kTransportFailure, kNone, false, false)         \
  X("CONNECTION_ID", kConnectionId, kNone, false, true)                                    \
  X("CONNECTION_TERMINATION_DETAILS", kTerminationDetails, kNone, false, false)            \
  X("REQUESTED_SERVER_NAME", kRequestedServerName, kNone, false, false)                    \
  X("TLS_JA3_FINGERPRINT", kJa3, kNone, false, false)                                      \
  X("FILTER_CHAIN_NAME", kFilterChainName, kNone, false, false)                            \
  X("STREAM_ID", kStreamId, kNone, false, false)                                           \
  X("UNIQUE_ID", kUniqueId, kNone, false, false)                                           \
  X("HOSTNAME", kHostname, kNone, false, false)                                            \
  X("ENVIRONMENT", kEnvironment, kRequired, true, false)                                   \
  X("GRPC_STATUS", kGrpcStatus, kOptional, false, false)                                   \
  X("GRPC_STATUS_NUMBER", kGrpcStatusNumber, kNone, false, true)                           \
  X("ACCESS_LOG_TYPE", kAccessLogType, kNone, false, false)                                \
  X("METADATA", kMetadata, kRequired, true, false)                                         \
  X("LOCAL_REPLY_BODY", kLocalReplyBody, kNone, false, false)                              \
  X("OUTRIDER_REASON", kOutriderReason, kNone, false, false)                               \
  X("DOWNSTREAM_PEER_URI_SAN", kPeerUriSan, kNone, false, false)                           \
  X("DOWNSTREAM_PEER_DNS_SAN", kPeerDnsSan, kNone, false, false)                           \
  X("DOWNSTREAM_PEER_IP_SAN", kPeerIpSan, kNone, false, false)                             \
  X("DOWNSTREAM_PEER_SUBJECT", kPeerSubject, kNone, false, false)                          \
  X("DOWNSTREAM_PEER_ISSUER", kPeerIssuer, kNone, false, false)                            \
  X("DOWNSTREAM_PEER_SERIAL", kPeerSerial, kNone, false, false)                            \
  X("DOWNSTREAM_PEER_FINGERPRINT_256", kPeerFingerprint256, kNone, false, false)           \
  X("DOWNSTREAM_PEER_FINGERPRINT_1", kPeerFingerprint1, kNone, false, false)               \
  X("DOWNSTREAM_PEER_CERT", kPeerCert, kNone, false, false)                                \
  X("DOWNSTREAM_PEER_CERT_V_START", kPeerCertStart, kOptional, false, false)               \
  X("DOWNSTREAM_PEER_CERT_V_END", kPeerCertEnd, kOptional, false, false)                   \
  X("DOWNSTREAM_LOCAL_URI_SAN", kLocalUriSan, kNone, false, false)                         \
  X("DOWNSTREAM_LOCAL_DNS_SAN", kLocalDnsSan, kNone, false, false)                         \
  X("DOWNSTREAM_LOCAL_SUBJECT", kLocalSubject, kNone, false, false)                        \
  X("DOWNSTREAM_TLS_VERSION", kTlsVersion, kNone, false, false)                            \
  X("DOWNSTREAM_TLS_CIPHER", kTlsCipher, kNone, false, false)                              \
  X("DOWNSTREAM_TLS_SESSION_ID", kTlsSessionId, kNone, false, false)                       \
  X("UPSTREAM_PEER_URI_SAN", kUpstreamPeerUriSan, kNone, false, false)                     \
  X("UPSTREAM_PEER_DNS_SAN", kUpstreamPeerDnsSan, kNone, false, false)                     \
  X("UPSTREAM_PEER_IP_SAN", kUpstreamPeerIpSan, kNone, false, false)                       \
  X("UPSTREAM_PEER_SUBJECT", kUpstreamPeerSubject, kNone, false, false)                    \
  X("UPSTREAM_PEER_ISSUER", kUpstreamPeerIssuer, kNone, false, false)                      \
  X("UPSTREAM_PEER_CERT", kUpstreamPeerCert, kNone, false, false)                          \
  X("UPSTREAM_PEER_CERT_V_START", kUpstreamPeerCertStart, kOptional, false, false)         \
  X("UPSTREAM_PEER_CERT_V_END", kUpstreamPeerCertEnd, kOptional, false, false)             \
  X("UPSTREAM_LOCAL_URI_SAN", kUpstreamLocalUriSan, kNone, false, false)                   \
  X("UPSTREAM_LOCAL_DNS_SAN", kUpstreamLocalDnsSan, kNone, false, false)                   \
  X("UPSTREAM_TLS_VERSION", kUpstreamTlsVersion, kNone, false, false)                      \
  X("UPSTREAM_TLS_CIPHER", kUpstreamTlsCipher, kNone, false, false)                        \
  X("UPSTREAM_TLS_SESSION_ID", kUpstreamTlsSessionId, kNone, false, false)

// Envoy's other operators: nothing here produces what they would print. They are accepted, print "-" (null in JSON), and are
// reported as not supported.
inline constexpr std::string_view kOperatorsWithoutData[] = {"BYTES_RETRANSMITTED",
                                                             "PACKETS_RETRANSMITTED",
                                                             "UPSTREAM_HEADER_BYTES_SENT",
                                                             "UPSTREAM_HEADER_BYTES_RECEIVED",
                                                             "DOWNSTREAM_WIRE_BYTES_SENT",
                                                             "DOWNSTREAM_WIRE_BYTES_RECEIVED",
                                                             "DOWNSTREAM_HEADER_BYTES_SENT",
                                                             "DOWNSTREAM_HEADER_BYTES_RECEIVED",
                                                             "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
                                                             "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
                                                             "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
                                                             "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
                                                             "DOWNSTREAM_HANDSHAKE_DURATION",
                                                             "ROUNDTRIP_DURATION",
                                                             "VIRTUAL_CLUSTER_NAME",
                                                             "DYNAMIC_METADATA",
                                                             "FILTER_STATE",
                                                             "UPSTREAM_FILTER_STATE",
                                                             "TRACE_ID",
                                                             "CEL",
                                                             "CUSTOM_FLAGS",
                                                             "TLS_JA4_FINGERPRINT",
                                                             "DOWNSTREAM_PEER_EMAIL_SAN",
                                                             "DOWNSTREAM_PEER_OTHERNAME_SAN",
                                                             "DOWNSTREAM_LOCAL_IP_SAN",
                                                             "DOWNSTREAM_LOCAL_EMAIL_SAN",
                                                             "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
                                                             "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
                                                             "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
                                                             "DOWNSTREAM_PEER_CHAIN_SERIALS",
                                                             "UPSTREAM_LOCAL_IP_SAN",
                                                             "UPSTREAM_HOSTS_ATTEMPTED",
                                                             "UPSTREAM_HOST_NAMES_ATTEMPTED",
                                                             "UPSTREAM_HOST_IDS_ATTEMPTED",
                                                             "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
                                                             "COALESCE",
                                                             "DOWNSTREAM_LOCAL_CLOSE_REASON",
                                                             "DOWNSTREAM_DETECTED_CLOSE_TYPE",
                                                             "UPSTREAM_DETECTED_CLOSE_TYPE",
                                                             "UPSTREAM_LOCAL_CLOSE_REASON",
                                                             "NETWORK_NAMESPACE"};

// What METADATA's parameter begins with, in the order that Op::print knows; operators that are short for one.
inline constexpr std::string_view kMetadataOf[] = {"ROUTE", "CLUSTER", "UPSTREAM_HOST"};
struct MetadataOperator {
  std::string_view name, of;
};
inline constexpr MetadataOperator kMetadataOperators[] = {
    {"ROUTE_METADATA", "ROUTE"}, {"CLUSTER_METADATA", "CLUSTER"}, {"UPSTREAM_METADATA", "UPSTREAM_HOST"}};
// Nothing has such metadata here.
inline constexpr std::string_view kMetadataWithoutData[] = {"DYNAMIC", "LISTENER", "LISTENER_FILTER_CHAIN", "VIRTUAL_HOST"};

// Other names of the same.
struct OperatorAlias {
  std::string_view name, of;
};
inline constexpr OperatorAlias kOperatorAliases[] = {
    {"REQUEST_HEADER", "REQ"}, {"RESPONSE_HEADER", "RESP"}, {"RESPONSE_TRAILER", "TRAILER"}};

enum class Operator : uint8_t {
#define OUTRIDER_OPERATOR_ID(name, id, params, length, number) id,
  OUTRIDER_OPERATORS(OUTRIDER_OPERATOR_ID)
#undef OUTRIDER_OPERATOR_ID
      kNothing,  // known to Envoy, without data here
  kLiteral
};

}  // namespace outrider::format
