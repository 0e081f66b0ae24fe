// One worker: a thread with its loop and everything that lives on it.
// Thread: made and joined by main; all members but mailbox() belong to the worker's own thread once it runs.
#pragma once

#include <future>
#include <memory>
#include <thread>

#include "source/accesslog/grpc_log.h"
#include "source/config/route_tables.h"
#include "source/filter/worker_context.h"
#include "source/listener/worker_listeners.h"
#include "source/server/loop_stats.h"
#include "source/upstream/cluster_view.h"

namespace outrider::server {

class Worker final {
 public:
  // `slot` counts from 1. `every_turn`: each turn is measured (LoopStats).
  Worker(uint32_t slot, event::Mailbox& main, stats::Store& stats, listener::ConnectionLimit& limit, const config::NameTable* names,
         bool every_turn, const base::Clock& clock = base::SystemClock::instance());
  ~Worker();

  void logTo(accesslog::GrpcLogs& logs);  // before start(): entries for collectors go over this worker's clusters
  void start();
  void stop();  // after this turn the loop ends; then join
  void join();
  // Of a worker without a thread (tests): what start()'s thread does at its end.
  void finish();

  event::Mailbox& mailbox() { return loop_.mailbox(); }
  // Letters: run on the worker between two turns.
  void applyClusters(std::shared_ptr<const upstream::ClusterChanges> changes);
  void applyListener(std::shared_ptr<const listener::ListenerChange> change);
  void applyRoutes(config::RouteTableId id, std::shared_ptr<const config::RouteTable> table);  // null: gone
  void applyScopes(config::ScopeSetId id, std::shared_ptr<const config::ScopeIndex> scopes);   // null: gone
  void setDrain(const filter::DrainState& drain);
  void stopAccepting(bool inbound_only);
  void drainConnections(bool inbound_only);
  // Tells main (by letter) how many connections are open once none is left or `deadline` passed.
  void whenIdle(base::Nanos deadline, std::function<void(size_t left)> done);

  // For the thread that steps it in tests: one turn without waiting; false: nothing to do.
  bool step();
  event::Loop& loop() { return loop_; }
  filter::WorkerContext& context() { return context_; }

 private:
  void run();
  void checkIdle();

  event::Loop loop_;
  LoopStats loop_stats_;
  event::Mailbox& main_;
  upstream::ClusterView clusters_;
  config::RouteTables routes_;
  std::unique_ptr<accesslog::GrpcLogStreams> log_streams_;
  filter::WorkerContext context_;
  listener::WorkerListeners listeners_;
  std::thread thread_;
  event::Timer idle_check_;
  base::Nanos idle_deadline_ = 0;
  std::function<void(size_t)> idle_done_;
};

}  // namespace outrider::server
