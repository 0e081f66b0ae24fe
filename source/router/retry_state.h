// Whether a request may be tried again, after how long, and on which hosts not: the route's retry policy, what the client's headers
// ask for, and what was tried so far. A retry under way holds a unit of its cluster's retries breaker.
// Thread: the stream's worker. Lifetime: of its router; release() before the cluster goes.
// Source: config.route.v3.RetryPolicy, Envoy docs "router_filter" (x-envoy-retry-on and others).
#pragma once

#include <cstdint>
#include <string_view>

#include "source/config/compiled_route.h"
#include "source/http/head.h"
#include "source/upstream/cluster_view.h"
#include "source/upstream/lb/lb_context.h"

namespace outrider::router {

class RetryState final {
 public:
  // Reads the policy, and takes the client's wishes out of the head.
  void read(const config::CompiledRoute& route, http::RequestHead& head);
  bool wanted() const { return on_ != 0; }
  bool mayCome() const { return on_ != 0 && left_ > 0; }
  void forbid() { on_ = 0; }  // the client was told something that another host could not keep

  // What happened, in bits of retry_on.
  uint32_t conditionsOf(const http::ResponseHead& head, base::Arena& arena) const;
  static uint32_t conditionsOf(http::ResetReason reason, bool request_sent);
  bool covers(uint32_t conditions) const { return (conditions & on_) != 0; }

  enum class Answer : uint8_t { kYes, kNotCovered, kNotWhole, kNoneLeft, kOverflow };
  // kYes: a unit of the breaker is taken and one try less is left. `whole`: the request is here to be sent again.
  Answer ask(uint32_t conditions, bool whole, upstream::Cluster& cluster);
  void release();  // the retry's answer is known, or it is over

  // An answer that will be tried again may say when (RetryPolicy.rate_limited_retry_back_off). `now`: since the epoch.
  void hear(const http::ResponseHead& head, base::Nanos now);
  // How long the try after `attempts` tries waits.
  struct Wait {
    base::Nanos time;
    bool told;  // by the answer
  };
  Wait wait(uint16_t attempts, uint64_t random);

  // What the next attempt avoids; and after its pick, what it chose.
  void avoid(upstream::lb::LbContext& context);  // what it points to is this object's
  void tried(const upstream::Host& host, const upstream::lb::LbContext& context);

 private:
  const config::CompiledRoute* route_ = nullptr;
  upstream::Cluster* held_ = nullptr;  // a unit of its breaker is held
  uint32_t on_ = 0;                    // RetryOn bits
  uint32_t left_ = 0;
  base::Nanos told_ = 0;          // by the last answer; 0: it said nothing
  std::string_view asked_codes_;  // x-envoy-retriable-status-codes, in the stream's arena
  std::string_view asked_names_;  // x-envoy-retriable-header-names
  static constexpr size_t kMostTried = 8;
  const upstream::Host* tried_[kMostTried];  // to compare with only: they may be gone
  uint8_t tried_count_ = 0;
  upstream::lb::RetryChoice choice_;
  // Priorities, a bit each: those that attempts used, and those that are avoided now.
  uint64_t used_priorities_ = 0, avoided_priorities_ = 0;
  uint32_t attempts_seen_ = 0;  // since priorities were last all avoided
  bool counted_ = false;
};

}  // namespace outrider::router
