// Counters of listeners and of their manager, under Envoy's names ("listener.<address>.", "listener_manager.").
#pragma once

#include "source/stats/stats.h"

namespace outrider::listener {

#define OUTRIDER_LISTENER_STATS(C, G, H)                                   \
  C(kCxTotal, "downstream_cx_total")                                       \
  C(kCxDestroy, "downstream_cx_destroy")                                   \
  G(kCxActive, "downstream_cx_active")                                     \
  C(kCxOverflow, "downstream_cx_overflow")                                 \
  C(kCxOverloadReject, "downstream_cx_overload_reject")                    \
  C(kGlobalCxOverflow, "downstream_global_cx_overflow")                    \
  C(kCxTransportSocketConnectTimeout, "downstream_cx_transport_socket_connect_timeout") \
  C(kCxEmfile, "downstream_cx_emfile")                                     \
  C(kNoFilterChainMatch, "no_filter_chain_match")                          \
  C(kPreCxTimeout, "downstream_pre_cx_timeout")                            \
  G(kPreCxActive, "downstream_pre_cx_active")                              \
  H(kCxLength, "downstream_cx_length_ms")
OUTRIDER_STATS(ListenerStat, kListenerTable, OUTRIDER_LISTENER_STATS)
using ListenerStats = stats::Set<ListenerStat>;

#define OUTRIDER_LISTENER_MANAGER_STATS(C, G, H)                           \
  C(kAdded, "listener_added")                                              \
  C(kModified, "listener_modified")                                        \
  C(kRemoved, "listener_removed")                                          \
  C(kStopped, "listener_stopped")                                          \
  C(kInPlaceUpdated, "listener_in_place_updated")                          \
  C(kCreateSuccess, "listener_create_success")                             \
  C(kCreateFailure, "listener_create_failure")                             \
  C(kPartsRebuilt, "parts_rebuilt")                                        \
  G(kActive, "total_listeners_active")                                     \
  G(kWarming, "total_listeners_warming")                                   \
  G(kDraining, "total_listeners_draining")                                 \
  G(kChainsDraining, "total_filter_chains_draining")                       \
  G(kWorkersStarted, "workers_started")
OUTRIDER_STATS(ManagerStat, kManagerTable, OUTRIDER_LISTENER_MANAGER_STATS)
using ManagerStats = stats::Set<ManagerStat>;

}  // namespace outrider::listener
