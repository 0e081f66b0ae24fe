// One worker's view of the clusters: by dense id, filled by change lists between two turns.
// Thread: its worker. Lifetime: the worker's; streams pin the Cluster they use, not the view.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "source/base/local_ref.h"
#include "source/config/names.h"
#include "source/event/loop.h"
#include "source/upstream/call/async_call.h"
#include "source/upstream/call/tcp_lease.h"
#include "source/upstream/cluster_part.h"
#include "source/upstream/destinations.h"
#include "source/upstream/lb/picker.h"
#include "source/upstream/pool/host_pool.h"

namespace outrider::upstream {

// A cluster as one worker has it: the current part and hosts, and its pools.
class Cluster final {
 public:
  Cluster(event::Loop& loop, uint64_t seed) : loop_(loop), random_{seed | 1} {}
  void ref() { ++refs_; }
  void unref() {
    if (--refs_ == 0) delete this;
  }

  const ClusterPart& part() const { return *part_; }
  const ClusterPartRef& partRef() const { return part_; }
  base::IntrusiveList<TcpLease, TcpLeaseTag>& leases() { return leases_; }  // raw connections under way
  const stream::ClusterInfo& info() const { return *part_; }
  const HostSet* hosts() const { return hosts_.get(); }
  event::Loop& loop() { return loop_; }
  const std::shared_ptr<const CodecSettings>& settings() const { return settings_; }

  const Host* pick(const lb::LbContext& context);
  HostPool& poolFor(const Host& host, http::Protocol downstream);

  // Retries of one priority under way are bounded by the retries breaker, or by a share of what is under way.
  bool tryRetry(bool high, bool& counted) {
    const config::BreakerSpec& spec = part_->spec->breakers[high ? 1 : 0];
    Breaker& limits = breaker(high);
    return spec.budget ? limits.retries.tryAcquire(limits.retryLimit(spec), counted) : limits.retries.tryAcquire(counted);
  }
  void endRetry(bool high, bool counted) { (void)breaker(high).retries.release(counted); }
  Breaker& breaker(bool high) const { return part_->breakers->of[high ? 1 : 0]; }

  // An answer counted once more under internal., external. or retry. What it counts in is made at the first of its kind.
  enum class Answers : uint8_t { kInternal, kExternal, kRetry };
  void countAnswer(Answers kind, uint16_t status, stats::Store& store);

  // "cluster.<name>.http2.": made with the first HTTP/2 connection, so that other clusters pay for a reference only.
  const stats::ScopeRef& http2Stats();

  void apply(const ClusterChange& change);
  void drainAll(bool now);  // closes all connections; else once their streams have ended
  uint64_t nextRandom();

 private:
  ~Cluster() = default;
  struct Key {
    const Host* host;
    PoolProtocol protocol;
    bool operator==(const Key&) const = default;
    template <class H>
    friend H AbslHashValue(H h, const Key& key) {
      return H::combine(std::move(h), key.host, static_cast<uint8_t>(key.protocol));
    }
  };
  void drop(const Host* host, bool now);

  event::Loop& loop_;
  ClusterPartRef part_;
  HostSetRef hosts_;
  std::shared_ptr<const CodecSettings> settings_;
  absl::flat_hash_map<Key, base::LocalRef<HostPool>> pools_;
  base::IntrusiveList<TcpLease, TcpLeaseTag> leases_;
  std::unique_ptr<Destinations> destinations_;  // of an ORIGINAL_DST cluster, from its first request on
  struct AnswerCounts {
    AnswerStats classes;
    stats::SeriesRef codes;
  };
  AnswerCounts answers_[3];  // by Answers; empty until used
  stats::ScopeRef http2_;
  uint64_t random_;
  uint32_t refs_ = 0;
};

class ClusterView final {
 public:
  ClusterView(event::Loop& loop, event::Mailbox& main, uint32_t slot, const config::NameTable* names);
  ~ClusterView();

  // Null: no such cluster (503, NC). The first one to ask for a cluster has it made: of ten thousand a worker may use ten.
  Cluster* find(config::ClusterId id) const {
    if (!id.valid() || id.index() >= entries_.size()) return nullptr;
    Entry& entry = entries_[id.index()];
    if (entry.cluster) return entry.cluster.get();
    return entry.part != nullptr ? make(entry) : nullptr;
  }
  Cluster* find(std::string_view name) const;
  void apply(const ClusterChanges& changes);
  void shutdown();  // closes every connection
  void keep(DetachedCall& call) { detached_.pushBack(call); }

 private:
  struct Entry {
    base::LocalRef<Cluster> cluster;  // null: not used yet, or no such cluster
    ClusterPartRef part;              // until then: what it is made of
    HostSetRef hosts;
  };
  Cluster* make(Entry& entry) const;

  event::Loop& loop_;
  const config::NameTable* names_;
  mutable uint64_t seed_;
  mutable std::vector<Entry> entries_;  // by ClusterId
  base::IntrusiveList<DetachedCall, DetachedTag> detached_;
};

}  // namespace outrider::upstream
