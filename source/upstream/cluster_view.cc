#include "source/upstream/cluster_view.h"

#include <charconv>
#include <string>

#include "source/upstream/http2_stats.h"

namespace outrider::upstream {
uint64_t Cluster::nextRandom() {
  // splitmix64: balancing only.
  random_ += 0x9E3779B97F4A7C15u;
  uint64_t z = random_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

const Host* Cluster::pick(const lb::LbContext& context) {
  if (part_->spec->discovery == config::Discovery::kOriginalDst) {
    if (context.destination == nullptr) return nullptr;
    if (destinations_ == nullptr) {
      destinations_ =
          std::make_unique<Destinations>(loop_, part_->spec->original_dst.cleanup, [this](const Host& host) { drop(&host, false); });
    }
    return &destinations_->at(*context.destination);
  }
  if (hosts_ == nullptr) return nullptr;
  bool panic = false;
  const Host* host = lb::pick(*hosts_, {part_->spec->lb, part_->spec->choice_count}, context, nextRandom(), nextRandom(), panic);
  if (panic) part_->stats.inc(ClusterStat::kLbHealthyPanic);
  return host;
}

HostPool& Cluster::poolFor(const Host& host, http::Protocol downstream) {
  PoolProtocol protocol = PoolProtocol::kHttp1;
  switch (part_->spec->http.protocol) {
    case config::UpstreamProtocol::kHttp1: break;
    case config::UpstreamProtocol::kHttp2: protocol = PoolProtocol::kHttp2; break;
    case config::UpstreamProtocol::kDownstream:
      protocol = downstream == http::Protocol::kHttp2 ? PoolProtocol::kHttp2 : PoolProtocol::kHttp1;
      break;
    case config::UpstreamProtocol::kAuto: protocol = PoolProtocol::kAuto; break;
  }
  base::LocalRef<HostPool>& slot = pools_[Key{&host, protocol}];
  if (!slot) slot = base::LocalRef<HostPool>(new HostPool(*this, HostRef(&host), protocol));
  return *slot;
}

void Cluster::drop(const Host* host, bool now) {
  if (now) {
    leases_.forEach([&](TcpLease& each) {
      if (each.host().get() == host) each.closeForCluster();
    });
  }
  for (const PoolProtocol protocol : {PoolProtocol::kHttp1, PoolProtocol::kHttp2, PoolProtocol::kAuto}) {
    const auto at = pools_.find(Key{host, protocol});
    if (at == pools_.end()) continue;
    const base::LocalRef<HostPool> pool = std::move(at->second);
    pools_.erase(at);  // first: nobody finds it again
    part_->update_cost.inc(UpdateCostStat::kPoolsDrained);
    pool->drain(now);
  }
}

void Cluster::countAnswer(Answers kind, uint16_t status, stats::Store& store) {
  AnswerCounts& counts = answers_[static_cast<size_t>(kind)];
  if (counts.codes == nullptr) {
    constexpr std::string_view kNames[] = {"internal.", "external.", "retry."};
    std::string prefix(part_->stats.scope()->prefix());  // "cluster.a."
    prefix += kNames[static_cast<size_t>(kind)];
    counts.classes = AnswerStats(store.scope(prefix, kAnswerTable));
    counts.codes = store.series(prefix + "upstream_rq_");
  }
  counts.classes.inc(AnswerStat::kCompleted);
  const int klass = status / 100;
  if (klass >= 1 && klass <= 5) counts.classes.inc(static_cast<AnswerStat>(static_cast<int>(AnswerStat::k1xx) + klass - 1));
  char code[8];
  counts.codes->inc({code, static_cast<size_t>(std::to_chars(code, code + sizeof code, status).ptr - code)});
}

const stats::ScopeRef& Cluster::http2Stats() {
  if (http2_ == nullptr && part_->store != nullptr) {
    std::string prefix(part_->stats.scope()->prefix());  // "cluster.a."
    http2_ = part_->store->scope(prefix + "http2.", kHttp2Table);
  }
  return http2_;
}

void Cluster::apply(const ClusterChange& change) {
  if (change.part != nullptr && change.part != part_) {
    if (part_ != nullptr && part_->codes != change.part->codes) {  // counted under another name from now on
      for (AnswerCounts& counts : answers_) counts = {};
      http2_ = {};
    }
    part_ = change.part;
    settings_ = std::make_shared<const CodecSettings>(codecSettingsOf(*part_->spec));
    // Connections were made as the old version said: they finish what they have.
    if (change.reconnect) drainAll(false);
  }
  // Without hosts that left, more hosts than before is the only way of a change.
  const bool moved =
      change.hosts != nullptr && hosts_ != nullptr && (!change.removed.empty() || change.hosts->hosts.size() > hosts_->hosts.size());
  if (change.hosts != nullptr) hosts_ = change.hosts;
  for (const HostRef& host : change.removed) drop(host.get(), part_->spec->close_on_host_set_change);
  if (moved && part_->spec->close_on_host_set_change) drainAll(false);  // those of the hosts that stay, too
  for (const HostRef& host : change.failed) drop(host.get(), true);
}

void Cluster::drainAll(bool now) {
  if (now) leases_.forEach([](TcpLease& each) { each.closeForCluster(); });
  auto pools = std::exchange(pools_, {});
  if (!pools.empty()) part_->update_cost.inc(UpdateCostStat::kPoolsDrained, static_cast<int64_t>(pools.size()));
  for (auto& [key, pool] : pools) pool->drain(now);
}

ClusterView::ClusterView(event::Loop& loop, event::Mailbox&, uint32_t slot, const config::NameTable* names)
    : loop_(loop), names_(names), seed_(slot * 0x9E3779B97F4A7C15u + static_cast<uint64_t>(loop.wall())) {}

ClusterView::~ClusterView() { shutdown(); }

Cluster* ClusterView::find(std::string_view name) const { return names_ == nullptr ? nullptr : find(names_->find(name)); }

Cluster* ClusterView::make(Entry& entry) const {
  seed_ += 0x9E3779B97F4A7C15u;
  entry.cluster = base::LocalRef<Cluster>(new Cluster(loop_, seed_));
  ClusterChange all;
  all.part = std::exchange(entry.part, {});
  all.hosts = std::exchange(entry.hosts, {});
  entry.cluster->apply(all);
  return entry.cluster.get();
}

void ClusterView::apply(const ClusterChanges& changes) {
  bool fewer = false;
  for (const ClusterChange& change : changes) {
    const uint32_t index = change.id.index();
    if (index >= entries_.size()) entries_.resize(index + 1);
    Entry& entry = entries_[index];
    if (change.gone) {
      if (entry.cluster) entry.cluster->drainAll(false);
      entry = {};
      fewer = true;
    } else if (entry.cluster) {
      entry.cluster->apply(change);
    } else {
      if (change.part == nullptr && entry.part == nullptr) continue;  // hosts of a cluster that is gone already
      if (change.part != nullptr) entry.part = change.part;
      if (change.hosts != nullptr) entry.hosts = change.hosts;
    }
  }
  if (!fewer) return;
  const auto unused = [](const Entry& entry) { return !entry.cluster && entry.part == nullptr; };
  while (!entries_.empty() && unused(entries_.back())) entries_.pop_back();
  if (entries_.capacity() >= 1024 && entries_.size() < entries_.capacity() / 8) entries_.shrink_to_fit();
}

void ClusterView::shutdown() {
  while (!detached_.empty()) delete &detached_.popFront();
  for (Entry& entry : entries_) {
    if (entry.cluster) entry.cluster->drainAll(true);
  }
  entries_.clear();
}

}  // namespace outrider::upstream
