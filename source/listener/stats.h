// Counters of listeners and of their manager, under Envoy's names ("listener.<address>.", "listener_manager.").
#pragma once

#include <memory>
#include <utility>

#include "source/stats/stats.h"

namespace outrider::listener {

#define OUTRIDER_LISTENER_STATS(C, G, H)                                                \
  C(kCxTotal, "downstream_cx_total")                                                    \
  C(kCxDestroy, "downstream_cx_destroy")                                                \
  G(kCxActive, "downstream_cx_active")                                                  \
  C(kCxOverflow, "downstream_cx_overflow")                                              \
  C(kCxOverloadReject, "downstream_cx_overload_reject")                                 \
  C(kGlobalCxOverflow, "downstream_global_cx_overflow")                                 \
  C(kCxTransportSocketConnectTimeout, "downstream_cx_transport_socket_connect_timeout") \
  C(kCxEmfile, "downstream_cx_emfile")                                                  \
  C(kNoFilterChainMatch, "no_filter_chain_match")                                       \
  C(kPreCxTimeout, "downstream_pre_cx_timeout")                                         \
  G(kPreCxActive, "downstream_pre_cx_active")                                           \
  H(kCxLength, "downstream_cx_length_ms")
OUTRIDER_STATS(ListenerStat, kListenerTable, OUTRIDER_LISTENER_STATS)
using ListenerStats = stats::Set<ListenerStat>;

#define OUTRIDER_LISTENER_MANAGER_STATS(C, G, H)     \
  C(kAdded, "listener_added")                        \
  C(kModified, "listener_modified")                  \
  C(kRemoved, "listener_removed")                    \
  C(kStopped, "listener_stopped")                    \
  C(kInPlaceUpdated, "listener_in_place_updated")    \
  C(kCreateSuccess, "listener_create_success")       \
  C(kCreateFailure, "listener_create_failure")       \
  C(kPartsRebuilt, "parts_rebuilt")                  \
  G(kActive, "total_listeners_active")               \
  G(kWarming, "total_listeners_warming")             \
  G(kDraining, "total_listeners_draining")           \
  G(kChainsDraining, "total_filter_chains_draining") \
  G(kWorkersStarted, "workers_started")
OUTRIDER_STATS(ManagerStat, kManagerTable, OUTRIDER_LISTENER_MANAGER_STATS)
using ManagerStats = stats::Set<ManagerStat>;

// Counts `n` in a gauge of the manager for as long as somebody holds it; the last holder may be on any thread with a slot.
class Draining final {
 public:
  Draining(ManagerStats stats, ManagerStat gauge, int64_t n) : stats_(std::move(stats)), gauge_(gauge), n_(n) { stats_.inc(gauge_, n_); }
  ~Draining() { stats_.dec(gauge_, n_); }
  Draining(const Draining&) = delete;
  Draining& operator=(const Draining&) = delete;

 private:
  const ManagerStats stats_;
  const ManagerStat gauge_;
  const int64_t n_;
};
using DrainingRef = std::shared_ptr<const Draining>;

}  // namespace outrider::listener
