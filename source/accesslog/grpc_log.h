// Entries to a collector over gRPC: one stream a worker and target, buffered by size and time.
//
// A worker keeps the entries of a target until they have the configured size or age, then sends them as one message. What cannot
// go on (no collector, or one that reads too slowly) waits in that buffer; an entry that finds it full is dropped and counted. A
// stream that ended is begun anew, at the earliest a moment later; its first message names the node and the log.
// Threads: GrpcLogs: target() off the workers; add() on any worker. GrpcLogStreams: its worker's. Lifetime: GrpcLogs outlives the
// streams and the logs. Source: envoy.extensions.access_loggers.grpc.v3, envoy.service.accesslog.v3.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "source/accesslog/access_log.h"
#include "source/accesslog/grpc_entry_wire.h"
#include "source/accesslog/log_filter.h"
#include "source/accesslog/stats.h"
#include "source/base/clock.h"
#include "source/event/loop.h"

namespace outrider::upstream {
class ClusterView;
}

namespace outrider::accesslog {

// Where entries go, and how soon. Equality: they share streams.
struct GrpcTarget {
  EntryKind kind = EntryKind::kHttp;
  std::string cluster;
  std::string authority;  // empty: the cluster's name
  std::string log_name;
  std::vector<std::pair<std::string, std::string>> metadata;
  base::Nanos timeout = 0;  // of a whole stream; 0: none
  base::Nanos flush_interval = base::kSecond;
  uint32_t buffer_bytes = 16384;  // 0: each entry goes out at once
  bool operator==(const GrpcTarget&) const = default;
};

class GrpcLogStreams;

class GrpcLogs final {
 public:
  // `node`: core.v3.Node, wire form.
  GrpcLogs(stats::Store& stats, std::string node);
  uint32_t target(const GrpcTarget& target);  // its number; one that is known keeps it
  void add(uint32_t target, std::string_view entry) const;

  const GrpcTarget& at(uint32_t target) const;
  const std::string& node() const { return node_; }
  const GrpcLogStats& stats() const { return stats_; }
  void attach(uint32_t slot, GrpcLogStreams* streams) { streams_[slot].store(streams, std::memory_order_release); }

 private:
  const std::string node_;
  const GrpcLogStats stats_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<const GrpcTarget>> targets_;
  std::array<std::atomic<GrpcLogStreams*>, stats::kMostSlots> streams_ = {};  // by slot; null: not a worker
};

// A worker's streams.
class GrpcLogStreams final {
 public:
  GrpcLogStreams(GrpcLogs& logs, event::Loop& loop, upstream::ClusterView& clusters, uint32_t slot);
  ~GrpcLogStreams();
  void add(uint32_t target, std::string_view entry);
  void flushAll();

 private:
  class Stream;
  GrpcLogs& logs_;
  event::Loop& loop_;
  upstream::ClusterView& clusters_;
  const uint32_t slot_;
  std::vector<std::unique_ptr<Stream>> streams_;  // by target; null: unused here
};

class GrpcLog final : public AccessLog {
 public:
  GrpcLog(std::shared_ptr<GrpcLogs> logs, const GrpcTarget& target, GrpcEntryFields fields, std::optional<LogFilter> filter)
      : logs_(std::move(logs)),
        kind_(target.kind),
        target_(logs_->target(target)),
        fields_(std::move(fields)),
        filter_(std::move(filter)) {}
  void log(const Entry& entry) const override;

 private:
  const std::shared_ptr<GrpcLogs> logs_;
  const EntryKind kind_;
  const uint32_t target_;
  const GrpcEntryFields fields_;
  const std::optional<LogFilter> filter_;
};

}  // namespace outrider::accesslog
