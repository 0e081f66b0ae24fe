#include "source/listener/listener_manager.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace outrider::listener {

ListenerManager::ListenerManager(stats::Store& stats, size_t workers, Post post, base::Nanos drain_time)
    : stats_(stats.scope("listener_manager.", kManagerTable)), workers_(workers), post_(std::move(post)), drain_time_(drain_time) {
  stats_.set(ManagerStat::kActive, 0);
  stats_.set(ManagerStat::kWarming, 0);
  stats_.set(ManagerStat::kDraining, 0);
  stats_.set(ManagerStat::kChainsDraining, 0);
}

std::function<void()> ListenerManager::closeLeft() const {
  return [left = left_, closing = closing_] {
    std::erase_if(*closing, [](const auto& socket) { return socket.expired(); });
    closing->insert(closing->end(), left->begin(), left->end());
    left->clear();
  };
}

absl::Status ListenerManager::openSockets(const ListenerVersion& version, const Sockets& ours, Sockets& out) {
  if (!version.bind_to_port) return absl::OkStatus();
  Sockets known = ours;
  known.insert(known.end(), left_->begin(), left_->end());
  for (const auto& socket : *closing_) {
    if (auto open = socket.lock()) known.push_back(std::move(open));
  }
  for (const base::Address& address : version.addresses) {
    bool join = false;
    std::shared_ptr<net::ListenSocket> kept;
    for (const auto& socket : known) {
      if (socket->asked() != address && socket->local() != address) continue;
      join = true;
      if (socket->adjust(version.options)) kept = socket;
    }
    if (kept != nullptr) {
      std::erase(*left_, kept);
      out.push_back(std::move(kept));
      continue;
    }
    auto socket = net::ListenSocket::open(address, version.options, workers_, join);
    if (!socket.ok()) return absl::Status(socket.status().code(), absl::StrCat(version.name, ": ", socket.status().message()));
    out.push_back(*std::move(socket));
  }
  return absl::OkStatus();
}

absl::Status ListenerManager::put(ListenerVersionRef version) {
  const auto at = entities_.find(version->name);
  auto change = std::make_shared<ListenerChange>();
  change->version = version;
  if (at == entities_.end()) {
    Sockets sockets;
    if (absl::Status status = openSockets(*version, {}, sockets); !status.ok()) {
      stats_.inc(ManagerStat::kCreateFailure);
      return status;
    }
    Entity& entity = entities_[version->name];
    entity.id = next_id_++;
    entity.active = {version, sockets};
    change->id = entity.id;
    change->sockets = std::move(sockets);
    change->new_sockets = true;
    stats_.inc(ManagerStat::kAdded);
    stats_.inc(ManagerStat::kCreateSuccess, static_cast<int64_t>(workers_));
    stats_.set(ManagerStat::kActive, entities_.size());
    post_(std::move(change));
    return absl::OkStatus();
  }
  Entity& entity = at->second;
  const ListenerVersion& before = *entity.active.version;
  change->id = entity.id;
  const bool same_sockets =
      before.addresses == version->addresses && before.options == version->options && before.bind_to_port == version->bind_to_port;
  if (!same_sockets) {
    Sockets sockets;
    if (absl::Status status = openSockets(*version, entity.active.sockets, sockets); !status.ok()) {
      stats_.inc(ManagerStat::kCreateFailure);
      return status;
    }
    change->sockets = sockets;
    change->new_sockets = true;
    left_->insert(left_->end(), entity.active.sockets.begin(), entity.active.sockets.end());
    entity.active.sockets = std::move(sockets);
  } else {
    stats_.inc(ManagerStat::kInPlaceUpdated);
  }
  for (const ListenerVersion::Chain& chain : version->chains) {
    bool kept = false;
    for (const ListenerVersion::Chain& old : before.chains) kept |= old.part == chain.part;
    if (!kept) stats_.inc(ManagerStat::kPartsRebuilt);
  }
  change->drain_time = drain_time_;
  const auto gone = std::count_if(before.chains.begin(), before.chains.end(), [&](const ListenerVersion::Chain& old) {
    return std::none_of(version->chains.begin(), version->chains.end(), [&](const auto& next) { return next.succeeds(old); });
  });
  if (gone > 0) change->draining = std::make_shared<const Draining>(stats_, ManagerStat::kChainsDraining, gone);
  entity.active.version = std::move(version);
  stats_.inc(ManagerStat::kModified);
  post_(std::move(change));
  return absl::OkStatus();
}

absl::Status ListenerManager::remove(const std::string& name, base::Nanos drain_time) {
  const auto at = entities_.find(name);
  if (at == entities_.end()) return absl::NotFoundError(absl::StrCat(name, ": no such listener"));
  auto change = std::make_shared<ListenerChange>();
  change->id = at->second.id;
  change->drain_time = drain_time;
  change->draining = std::make_shared<const Draining>(stats_, ManagerStat::kDraining, 1);
  left_->insert(left_->end(), at->second.active.sockets.begin(), at->second.active.sockets.end());
  entities_.erase(at);
  stats_.inc(ManagerStat::kRemoved);
  stats_.set(ManagerStat::kActive, entities_.size());
  post_(std::move(change));
  return absl::OkStatus();
}

void ListenerManager::stopAll(bool inbound_only) {
  for (auto& [name, entity] : entities_) {
    if (inbound_only && entity.active.version->direction != TrafficDirection::kInbound) continue;
    entity.active.sockets.clear();
    stats_.inc(ManagerStat::kStopped);
  }
}

std::vector<ListenerManager::Active> ListenerManager::active() const {
  std::vector<Active> out;
  out.reserve(entities_.size());
  for (const auto& [name, entity] : entities_) out.push_back(entity.active);
  return out;
}

}  // namespace outrider::listener
