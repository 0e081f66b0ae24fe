// Why an exchange did not simply succeed, in Envoy's letters (access log %RESPONSE_FLAGS%, accesslog.v3.ResponseFlagFilter).
// Thread: any; plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace outrider::stream {

// short form, long form, name
#define OUTRIDER_RESPONSE_FLAGS(X)                                                  \
  X("LH", "FailedLocalHealthCheck", kFailedLocalHealthCheck)                        \
  X("UH", "NoHealthyUpstream", kNoHealthyUpstream)                                  \
  X("UT", "UpstreamRequestTimeout", kUpstreamRequestTimeout)                        \
  X("LR", "LocalReset", kLocalReset)                                                \
  X("UR", "UpstreamRemoteReset", kUpstreamRemoteReset)                              \
  X("UF", "UpstreamConnectionFailure", kUpstreamConnectionFailure)                  \
  X("UC", "UpstreamConnectionTermination", kUpstreamConnectionTermination)          \
  X("UO", "UpstreamOverflow", kUpstreamOverflow)                                    \
  X("NR", "NoRouteFound", kNoRouteFound)                                            \
  X("DI", "DelayInjected", kDelayInjected)                                          \
  X("FI", "FaultInjected", kFaultInjected)                                          \
  X("RL", "RateLimited", kRateLimited)                                              \
  X("UAEX", "UnauthorizedExternalService", kUnauthorizedExternalService)            \
  X("RLSE", "RateLimitServiceError", kRateLimitServiceError)                        \
  X("DC", "DownstreamConnectionTermination", kDownstreamConnectionTermination)      \
  X("URX", "UpstreamRetryLimitExceeded", kUpstreamRetryLimitExceeded)               \
  X("SI", "StreamIdleTimeout", kStreamIdleTimeout)                                  \
  X("IH", "InvalidEnvoyRequestHeaders", kInvalidEnvoyRequestHeaders)                \
  X("DPE", "DownstreamProtocolError", kDownstreamProtocolError)                     \
  X("UMSDR", "UpstreamMaxStreamDurationReached", kUpstreamMaxStreamDurationReached) \
  X("RFCF", "ResponseFromCacheFilter", kResponseFromCacheFilter)                    \
  X("NFCF", "NoFilterConfigFound", kNoFilterConfigFound)                            \
  X("DT", "DurationTimeout", kDurationTimeout)                                      \
  X("UPE", "UpstreamProtocolError", kUpstreamProtocolError)                         \
  X("NC", "NoClusterFound", kNoClusterFound)                                        \
  X("OM", "OverloadManagerTerminated", kOverloadManager)                            \
  X("DF", "DnsResolutionFailed", kDnsResolutionFailed)                              \
  X("DO", "DropOverload", kDropOverload)                                            \
  X("DR", "DownstreamRemoteReset", kDownstreamRemoteReset)                          \
  X("UDO", "UnconditionalDropOverload", kUnconditionalDropOverload)

enum class ResponseFlag : uint8_t {
#define OUTRIDER_FLAG_ID(s, l, id) id,
  OUTRIDER_RESPONSE_FLAGS(OUTRIDER_FLAG_ID)
#undef OUTRIDER_FLAG_ID
      kCount
};

class ResponseFlags {
 public:
  void set(ResponseFlag flag) {
    if (has(flag)) return;
    bits_ |= uint64_t{1} << static_cast<int>(flag);
    if (count_ < sizeof order_) order_[count_++] = static_cast<uint8_t>(flag);
  }
  bool has(ResponseFlag flag) const { return (bits_ >> static_cast<int>(flag)) & 1; }
  bool any() const { return bits_ != 0; }
  uint64_t bits() const { return bits_; }
  // "URX,UF" or "-", in the order in which they were set, as Envoy. Writes at most kTextSize bytes.
  static constexpr size_t kTextSize = 160;
  size_t print(char* to) const;
  std::string str() const;
  std::string longStr() const;  // "UpstreamConnectionFailure,..." or "-"

 private:
  uint64_t bits_ = 0;
  uint8_t order_[7] = {};  // the first ones; no exchange has more in practice
  uint8_t count_ = 0;
};

std::string_view flagName(ResponseFlag flag);  // "UF"
bool parseFlag(std::string_view short_name, ResponseFlag& out);

}  // namespace outrider::stream
