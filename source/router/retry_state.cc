#include "source/router/retry_state.h"

#include "source/router/words.h"

namespace outrider::router {

using http::HeaderId;
using http::ResetReason;

void RetryState::read(const config::CompiledRoute& route, http::RequestHead& head) {
  route_ = &route;
  const config::RetrySpec* policy = route.retry();
  if (policy != nullptr) {
    on_ = policy->on;
    left_ = policy->retries;
  }
  http::HeaderMap& headers = head.headers;
  for (const HeaderId id : {HeaderId::kEnvoyRetryOn, HeaderId::kEnvoyRetryGrpcOn}) {
    if (const http::Header* asked = headers.find(id)) {
      on_ |= config::parseRetryOn(asked->value());
      if (policy == nullptr) left_ = 1;
      headers.remove(id);
    }
  }
  if (const http::Header* asked = headers.find(HeaderId::kEnvoyRetriableStatusCodes)) {
    asked_codes_ = asked->value();
    headers.remove(HeaderId::kEnvoyRetriableStatusCodes);
  }
  if (const http::Header* asked = headers.find(HeaderId::kEnvoyRetriableHeaderNames)) {
    asked_names_ = asked->value();
    headers.remove(HeaderId::kEnvoyRetriableHeaderNames);
  }
  if (const http::Header* asked = headers.find(HeaderId::kEnvoyMaxRetries)) {
    uint64_t most = 0;
    if (parseNumber(asked->value(), most)) left_ = static_cast<uint32_t>(std::min<uint64_t>(most, 100));
    headers.remove(HeaderId::kEnvoyMaxRetries);
  }
  if (on_ != 0 && policy != nullptr && !route.retryRequestHeaders().empty()) {
    const auto& wanted = route.retryRequestHeaders();
    if (std::none_of(wanted.begin(), wanted.end(), [&](const auto& m) { return m.matches(headers); })) on_ = 0;
  }
}

uint32_t RetryState::conditionsOf(ResetReason reason, bool request_sent) {
  uint32_t conditions = config::kRetry5xx | config::kRetryGatewayError | config::kRetryReset;
  if (reason == ResetReason::kConnectFailure || reason == ResetReason::kConnectTimeout) conditions |= config::kRetryConnectFailure;
  if (reason == ResetReason::kRemoteRefused) conditions |= config::kRetryRefusedStream;
  if (!request_sent) conditions |= config::kRetryResetBeforeRequest;
  return conditions;
}

uint32_t RetryState::conditionsOf(const http::ResponseHead& head, base::Arena& arena) const {
  uint32_t conditions = 0;
  const uint16_t status = head.status;
  if (status >= 500) conditions |= config::kRetry5xx;
  if (status == 502 || status == 503 || status == 504) conditions |= config::kRetryGatewayError;
  if (status == 409) conditions |= config::kRetryRetriable4xx;
  if (head.headers.has(HeaderId::kEnvoyRatelimited)) {
    // Told to slow down: only who asked for it tries again.
    conditions = config::kRetryEnvoyRatelimited;
  }
  if ((on_ & config::kRetryRetriableStatusCodes) != 0) {
    if (const config::RetrySpec* policy = route_->retry()) {
      if (std::binary_search(policy->status_codes.begin(), policy->status_codes.end(), status)) {
        conditions |= config::kRetryRetriableStatusCodes;
      }
    }
    eachOf(asked_codes_, [&](std::string_view code) {
      uint64_t number = 0;
      if (parseNumber(code, number) && number == status) conditions |= config::kRetryRetriableStatusCodes;
    });
  }
  if ((on_ & config::kRetryRetriableHeaders) != 0) {
    const auto& wanted = route_->retryHeaders();
    if (std::any_of(wanted.begin(), wanted.end(), [&](const auto& m) { return m.matches(head.headers); })) {
      conditions |= config::kRetryRetriableHeaders;
    }
    eachOf(asked_names_, [&](std::string_view name) {
      char* lower = arena.bytes(name.size());
      std::transform(name.begin(), name.end(), lower, http::lowerAscii);
      if (head.headers.find(std::string_view(lower, name.size())) != nullptr) conditions |= config::kRetryRetriableHeaders;
    });
  }
  uint64_t grpc = 0;
  if (parseNumber(head.headers.get(HeaderId::kGrpcStatus), grpc)) {
    switch (grpc) {
      case 1: conditions |= config::kRetryGrpcCancelled; break;
      case 4: conditions |= config::kRetryGrpcDeadlineExceeded; break;
      case 8: conditions |= config::kRetryGrpcResourceExhausted; break;
      case 13: conditions |= config::kRetryGrpcInternal; break;
      case 14: conditions |= config::kRetryGrpcUnavailable; break;
      default: break;
    }
  }
  return conditions;
}

RetryState::Answer RetryState::ask(uint32_t conditions, bool whole, upstream::Cluster& cluster) {
  if (!covers(conditions)) return Answer::kNotCovered;
  release();
  if (left_ == 0) return Answer::kNoneLeft;
  if (!whole) return Answer::kNotWhole;
  if (!cluster.tryRetry(route_->forward().high_priority, counted_)) return Answer::kOverflow;
  held_ = &cluster;
  --left_;
  return Answer::kYes;
}

void RetryState::release() {
  if (held_ == nullptr) return;
  std::exchange(held_, nullptr)->endRetry(route_->forward().high_priority, counted_);
}

void RetryState::hear(const http::ResponseHead& head, base::Nanos now) {
  const config::RetrySpec* policy = route_->retry();
  if (policy == nullptr) return;
  for (const config::RetrySpec::Reset& each : policy->reset_headers) {
    const http::Header* header = head.headers.find(std::string_view(each.name));
    uint64_t seconds = 0;
    if (header == nullptr || !parseNumber(header->value(), seconds)) continue;
    if (seconds > static_cast<uint64_t>(INT64_MAX / base::kSecond)) continue;
    base::Nanos time = static_cast<base::Nanos>(seconds) * base::kSecond;
    if (each.unix_time) time -= now;
    if (time <= 0 || time > policy->reset_max) continue;
    told_ = time;
    return;
  }
}

RetryState::Wait RetryState::wait(uint16_t attempts, uint64_t random) {
  if (told_ > base::kMilli) {
    const base::Nanos least = std::exchange(told_, 0);
    return {least + static_cast<base::Nanos>(random % static_cast<uint64_t>(least / 2)), true};
  }
  told_ = 0;
  base::Nanos base_wait = 25 * base::kMilli, most = 250 * base::kMilli;
  if (const config::RetrySpec* policy = route_->retry()) {
    base_wait = policy->back_off_base;
    most = policy->back_off_max;
  }
  // Full jitter over an exponentially growing window.
  const base::Nanos window = std::min(base_wait * ((base::Nanos{1} << std::min<int>(attempts, 20)) - 1), most);
  return {window <= 0 ? 0 : static_cast<base::Nanos>(random % static_cast<uint64_t>(window)), false};
}

void RetryState::avoid(upstream::lb::LbContext& context) {
  const config::RetrySpec* policy = route_->retry();
  if (policy == nullptr || attempts_seen_ == 0) return;
  choice_ = {};
  if (policy->priority_update > 0) {
    if (attempts_seen_ % policy->priority_update == 0) avoided_priorities_ = used_priorities_;
    choice_.avoid_priorities = avoided_priorities_;
  }
  if (policy->avoid_previous_hosts) {
    choice_.avoid = tried_;
    choice_.avoid_count = tried_count_;
  }
  choice_.avoid_canaries = policy->avoid_canaries;
  if (!policy->avoid_labels.empty()) choice_.avoid_labels = &policy->avoid_labels;
  if (choice_.avoid_count > 0 || choice_.avoid_canaries || choice_.avoid_labels != nullptr) {
    choice_.most_picks = policy->host_selection_attempts + 1;
  }
  context.retry = &choice_;
}

void RetryState::tried(const upstream::Host& host, const upstream::lb::LbContext& context) {
  if (tried_count_ < kMostTried) tried_[tried_count_++] = &host;
  if (context.retry != nullptr && context.retry->none_left) {
    used_priorities_ = avoided_priorities_ = 0;
    attempts_seen_ = 0;
  }
  ++attempts_seen_;
  if (context.priority < 64) used_priorities_ |= uint64_t{1} << context.priority;
}

}  // namespace outrider::router
