// Of several transport sockets of a cluster, the one whose labels a host has: Cluster.transport_socket_matches. A mesh has TLS for
// hosts with a sidecar and plain bytes for the others this way.
// Thread: as TransportSource. Lifetime: shared.
#pragma once

#include <string>
#include <vector>

#include "source/stats/stats.h"
#include "source/upstream/transport_source.h"

namespace outrider::upstream {

class MatchedTransportSource final : public TransportSource {
 public:
  struct Match {
    config::Labels labels;
    TransportSourceRef source;  // null: plain bytes
  };
  // `names`: of the matches, for statistics under `prefix` ("cluster.a."). `other`: of hosts that have the
  // labels of none; null: plain bytes.
  MatchedTransportSource(std::vector<Match> matches, const std::vector<std::string>& names, TransportSourceRef other, stats::Store& store,
                         const std::string& prefix);

  std::unique_ptr<net::Transport> make(const TransportArgs& args) const override;
  bool ready() const override;
  bool secure() const override { return other_ != nullptr && other_->secure(); }
  bool secureTo(const Host& host) const override;
  std::string_view failure() const override { return "TLS error: Secret is not supplied by SDS"; }
  void hostMade(const Host& host) const override;

 private:
  static constexpr size_t kNone = SIZE_MAX;
  size_t find(const Host& host) const;
  const TransportSource* sourceOf(const Host* host) const;

  const std::vector<Match> matches_;
  const TransportSourceRef other_;
  std::vector<stats::ScopeRef> counts_;  // of each match, then of none
};

}  // namespace outrider::upstream
