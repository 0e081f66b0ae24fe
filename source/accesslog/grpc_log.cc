#include "source/accesslog/grpc_log.h"

#include <algorithm>

#include "source/base/log.h"
#include "source/upstream/call/grpc_call.h"
#include "source/upstream/cluster_view.h"

namespace outrider::accesslog {
namespace {

constexpr std::string_view kMethod = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";
// A stream that ended is not begun again sooner than this.
constexpr base::Nanos kPatience = 200 * base::kMilli;

}  // namespace

// ---- one stream of one worker ----

class GrpcLogStreams::Stream final : public upstream::GrpcCallOwner {
 public:
  Stream(GrpcLogs& logs, uint32_t target, event::Loop& loop, upstream::ClusterView& clusters)
      : logs_(logs),
        target_(logs.at(target)),
        loop_(loop),
        clusters_(clusters),
        timer_(event::Timer::to<&Stream::flush>(loop.timers(), this)) {}

  void add(std::string_view entry) {
    const GrpcLogStats& stats = logs_.stats();
    if (full()) flush();
    if (full()) {
      stats.inc(GrpcLogStat::kLogsDropped);
      return;
    }
    stats.inc(GrpcLogStat::kLogsWritten);
    entries_ += entry;
    ++waiting_;
    if (entries_.size() >= target_.buffer_bytes) flush();
    if (waiting_ > 0 && !timer_.armed()) timer_.armIn(target_.flush_interval);
  }

  void flush() {
    if (waiting_ == 0) return;
    if (call_ == nullptr && !begin()) {
      if (!timer_.armed()) timer_.armIn(kPatience);
      return;
    }
    if (!call_->writable()) return;  // onGrpc() goes on
    const bool first = !std::exchange(named_, true);
    (void)call_->send(entriesMessage(target_.kind, entries_, first ? &logs_.node() : nullptr, target_.log_name));
    entries_.clear();
    in_call_ += std::exchange(waiting_, 0);
    if (call_->sent()) delivered();
  }

 private:
  // One entry more would not be bounded.
  bool full() const { return waiting_ > 0 && entries_.size() >= std::max<size_t>(target_.buffer_bytes, 1); }

  bool begin() {
    if (loop_.now() < not_before_) return false;
    not_before_ = loop_.now() + kPatience;
    upstream::Cluster* cluster = clusters_.find(target_.cluster);
    if (cluster == nullptr) return false;
    upstream::GrpcCall::Options options;
    options.timeout = target_.timeout;
    options.buffer_limit = std::max<size_t>(64 * 1024, target_.buffer_bytes);
    call_ = std::make_unique<upstream::GrpcCall>(*cluster, *this, options);
    if (!target_.authority.empty()) call_->head().authority = call_->arena().copy(target_.authority);
    for (const auto& [name, value] : target_.metadata) call_->head().headers.addCopy(name, value);
    call_->start(kMethod);
    named_ = false;
    in_call_ = 0;
    return true;
  }

  void delivered() { logs_.stats().inc(GrpcLogStat::kFlushed, static_cast<int64_t>(std::exchange(in_call_, 0))); }

  void onGrpc(upstream::GrpcCall& call) override {
    base::Buffer nothing;
    while (call.next(nothing)) {
    }
    if (call.sent()) delivered();
    if (call.ended()) {
      OUTRIDER_LOG(kDebug, kAccessLog, "the stream to %s ended: %s", target_.cluster.c_str(), call.message().c_str());
      // What was handed to a call that never got a connection is lost.
      logs_.stats().inc(GrpcLogStat::kFlushFailed, static_cast<int64_t>(std::exchange(in_call_, 0)));
      call_.reset();
      not_before_ = loop_.now() + kPatience;
      if (waiting_ > 0 && !timer_.armed()) timer_.armIn(kPatience);
      return;
    }
    if (waiting_ > 0 && call.writable() && (full() || !timer_.armed())) flush();
  }

  GrpcLogs& logs_;
  const GrpcTarget& target_;
  event::Loop& loop_;
  upstream::ClusterView& clusters_;
  event::Timer timer_;
  std::unique_ptr<upstream::GrpcCall> call_;
  std::string entries_;
  uint32_t waiting_ = 0;  // entries in entries_
  uint32_t in_call_ = 0;  // entries given to a call that has no connection yet
  base::Nanos not_before_ = 0;
  bool named_ = false;  // the call's first message went out
};

// ---- a worker's ----

GrpcLogStreams::GrpcLogStreams(GrpcLogs& logs, event::Loop& loop, upstream::ClusterView& clusters, uint32_t slot)
    : logs_(logs), loop_(loop), clusters_(clusters), slot_(slot) {
  logs_.attach(slot_, this);
}

GrpcLogStreams::~GrpcLogStreams() { logs_.attach(slot_, nullptr); }

void GrpcLogStreams::add(uint32_t target, std::string_view entry) {
  if (target >= streams_.size()) streams_.resize(target + 1);
  std::unique_ptr<Stream>& stream = streams_[target];
  if (stream == nullptr) stream = std::make_unique<Stream>(logs_, target, loop_, clusters_);
  stream->add(entry);
}

void GrpcLogStreams::flushAll() {
  for (const auto& stream : streams_) {
    if (stream != nullptr) stream->flush();
  }
}

// ---- the process's ----

GrpcLogs::GrpcLogs(stats::Store& stats, std::string node)
    : node_(std::move(node)), stats_(stats.scope("access_logs.grpc_access_log.", kGrpcLogTable)) {}

uint32_t GrpcLogs::target(const GrpcTarget& target) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (uint32_t i = 0; i < targets_.size(); ++i) {
    if (*targets_[i] == target) return i;
  }
  targets_.push_back(std::make_unique<const GrpcTarget>(target));
  return static_cast<uint32_t>(targets_.size() - 1);
}

const GrpcTarget& GrpcLogs::at(uint32_t target) const {
  const std::lock_guard<std::mutex> lock(mutex_);  // once a stream, not once an entry
  return *targets_[target];
}

void GrpcLogs::add(uint32_t target, std::string_view entry) const {
  GrpcLogStreams* streams = streams_[stats::slot_of_thread].load(std::memory_order_acquire);
  if (streams == nullptr) {
    stats_.inc(GrpcLogStat::kLogsDropped);
    return;
  }
  streams->add(target, entry);
}

void GrpcLog::log(const Entry& entry) const {
  if (filter_.has_value() && !filter_->wants(entry)) return;
  thread_local std::string bytes;
  bytes.clear();
  appendEntry(kind_, entry, fields_, bytes);
  logs_->add(target_, bytes);
}

}  // namespace outrider::accesslog
