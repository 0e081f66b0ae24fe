#include "source/accesslog/log_filter.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "source/base/absl_compat.h"

namespace outrider::accesslog {
namespace {

uint64_t nextRandom() {
  thread_local uint64_t state = reinterpret_cast<uintptr_t>(&state) ^ static_cast<uint64_t>(base::SystemClock::instance().wall());
  uint64_t x = state += 0x9e3779b97f4a7c15ull;  // splitmix64
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

bool compare(LogFilterSpec::Compare how, uint64_t value, uint64_t with) {
  switch (how) {
    case LogFilterSpec::Compare::kEqual: return value == with;
    case LogFilterSpec::Compare::kAtLeast: return value >= with;
    case LogFilterSpec::Compare::kAtMost: return value <= with;
    case LogFilterSpec::Compare::kNotEqual: return value != with;
  }
  OUTRIDER_UNREACHABLE();
}

// gRPC's own status where there is one, else what a client makes of the HTTP status.
uint32_t grpcStatusOf(const Entry& entry) {
  std::string_view text;
  if (entry.response_trailers != nullptr) text = entry.response_trailers->get(http::HeaderId::kGrpcStatus);
  if (text.empty() && entry.response != nullptr) text = entry.response->headers.get(http::HeaderId::kGrpcStatus);
  uint32_t status = 0;
  if (!text.empty()) return absl::SimpleAtoi(base::toAbsl(text), &status) && status <= 16 ? status : 2;
  switch (entry.info.response_code) {
    case 400: return 13;
    case 401: return 16;
    case 403: return 7;
    case 404: return 12;
    case 429:
    case 502:
    case 503:
    case 504: return 14;
    default: return 2;
  }
}

}  // namespace

LogType logTypeOf(const Entry& entry) {
  if (entry.listener) return {"NotSet", 0};
  if (entry.request != nullptr || entry.info.has_protocol) return {"DownstreamEnd", 6};
  if (entry.info.end == 0) return {"TcpUpstreamConnected", 1};  // flush_access_log_on_connected
  return {"TcpConnectionEnd", 3};
}

absl::StatusOr<LogFilter> LogFilter::compile(const LogFilterSpec& spec) {
  LogFilter out;
  out.spec_ = spec;
  if (spec.kind == LogFilterSpec::Kind::kHeader) {
    auto header = match::HeaderMatcher::compile(spec.header);
    if (!header.ok()) return header.status();
    out.header_.emplace(*std::move(header));
  }
  for (const LogFilterSpec& child : spec.children) {
    auto compiled = compile(child);
    if (!compiled.ok()) return compiled.status();
    out.children_.push_back(*std::move(compiled));
  }
  return out;
}

bool LogFilter::wants(const Entry& entry) const {
  using Kind = LogFilterSpec::Kind;
  const stream::StreamInfo& info = entry.info;
  switch (spec_.kind) {
    case Kind::kAll: return true;
    case Kind::kStatus: return compare(spec_.compare, info.response_code, spec_.value);
    case Kind::kDuration:
      return info.end != 0 && compare(spec_.compare, static_cast<uint64_t>((info.end - info.start) / base::kMilli), spec_.value);
    case Kind::kNotHealthCheck: return !info.health_check;
    case Kind::kSample: return nextRandom() % spec_.denominator < spec_.numerator;
    case Kind::kAnd: return std::all_of(children_.begin(), children_.end(), [&](const LogFilter& each) { return each.wants(entry); });
    case Kind::kOr: return std::any_of(children_.begin(), children_.end(), [&](const LogFilter& each) { return each.wants(entry); });
    case Kind::kHeader: {
      if (entry.request != nullptr) return header_->matches(*entry.request);
      base::Arena* arena = base::Arena::create();  // rare: a request that was never read
      bool match = false;
      {
        const http::RequestHead none(*arena);
        match = header_->matches(none);
      }
      arena->unref();
      return match;
    }
    case Kind::kFlags: return spec_.flags == 0 ? info.flags.any() : (info.flags.bits() & spec_.flags) != 0;
    case Kind::kGrpcStatus: return ((spec_.set >> grpcStatusOf(entry)) & 1) != spec_.exclude;
    case Kind::kLogType: return ((spec_.set >> logTypeOf(entry).number) & 1) != spec_.exclude;
  }
  OUTRIDER_UNREACHABLE();
}

}  // namespace outrider::accesslog
