// How long the turns of one loop last, in /stats.
//
// Always: the longest turn so far, which costs nothing. With the bootstrap's enable_dispatcher_stats also every turn: its length
// (Envoy's loop_duration_us), how late timers woke the loop (poll_delay_us) and the CPU time of its thread, which other processes on
// a busy machine do not lengthen; that costs two readings of clocks a turn, one of them a system call.
// Thread: the loop's, once made. Lifetime: beside the loop. Source: bootstrap.proto, enable_dispatcher_stats.
#pragma once

#include <string_view>

#include "source/event/loop.h"
#include "source/server/stats.h"

namespace outrider::server {

class LoopStats final {
 public:
  // `envoy_prefix`: "server." or "listener_manager.worker_0."; `thread`: "main" or "worker_0".
  LoopStats(event::Loop& loop, stats::Store& store, std::string_view envoy_prefix, std::string_view thread, bool every);
  ~LoopStats();
  LoopStats(const LoopStats&) = delete;
  LoopStats& operator=(const LoopStats&) = delete;

 private:
  void onTurn(const event::Loop::Turn& turn);

  event::Loop& loop_;
  LoopFigures figures_;
  DispatcherStats dispatcher_;  // empty: not every turn
  base::Nanos longest_ = 0;
  base::Nanos cpu_ = 0;  // of the thread until the last turn's end
};

}  // namespace outrider::server
