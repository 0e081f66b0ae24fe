#include "source/upstream/matched_transport_source.h"

#include <algorithm>

namespace outrider::upstream {
namespace {

#define OUTRIDER_SOCKET_MATCH_STATS(C, G, H) C(kTotal, "total_match_count")
OUTRIDER_STATS(SocketMatchStat, kSocketMatchTable, OUTRIDER_SOCKET_MATCH_STATS)

bool holds(const config::Labels& wanted, const config::Labels& has) {
  return std::all_of(wanted.begin(), wanted.end(),
                     [&](const auto& label) { return std::find(has.begin(), has.end(), label) != has.end(); });
}

}  // namespace

MatchedTransportSource::MatchedTransportSource(std::vector<Match> matches, const std::vector<std::string>& names, TransportSourceRef other,
                                               stats::Store& store, const std::string& prefix)
    : matches_(std::move(matches)), other_(std::move(other)) {
  for (const std::string& name : names) counts_.push_back(store.scope(prefix + name + ".", kSocketMatchTable));
  counts_.push_back(store.scope(prefix + "default.", kSocketMatchTable));
}

// The endpoint's own labels come before its locality's.
size_t MatchedTransportSource::find(const Host& host) const {
  for (const config::Labels* has : {&host.details().socket_labels, &host.localityLabels()}) {
    for (size_t i = 0; i < matches_.size(); ++i) {
      if (holds(matches_[i].labels, *has)) return i;
    }
  }
  return kNone;
}

const TransportSource* MatchedTransportSource::sourceOf(const Host* host) const {
  const size_t at = host == nullptr ? kNone : find(*host);
  return at == kNone ? other_.get() : matches_[at].source.get();
}

std::unique_ptr<net::Transport> MatchedTransportSource::make(const TransportArgs& args) const {
  const TransportSource* source = sourceOf(args.host);
  return source == nullptr ? net::makePlainTransport() : source->make(args);
}

bool MatchedTransportSource::ready() const {
  const auto is = [](const TransportSourceRef& source) { return source == nullptr || source->ready(); };
  return is(other_) && std::all_of(matches_.begin(), matches_.end(), [&](const Match& match) { return is(match.source); });
}

bool MatchedTransportSource::secureTo(const Host& host) const {
  const TransportSource* source = sourceOf(&host);
  return source != nullptr && source->secure();
}

void MatchedTransportSource::hostMade(const Host& host) const {
  const size_t at = find(host);
  counts_[at == kNone ? matches_.size() : at]->add(0, 1);
}

}  // namespace outrider::upstream
