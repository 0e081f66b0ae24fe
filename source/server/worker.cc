#include "source/server/worker.h"

#include <random>

#include <pthread.h>

#include "source/base/buffer.h"
#include "source/config/route_table.h"
#include "source/config/scope_key.h"
#include "source/http/h1/server_codec.h"
#include "source/http/h2/memory.h"

namespace outrider::server {
namespace {

// Of letters: requests wait at most this much longer because a configuration changes.
constexpr base::Nanos kTurnBudget = 300 * base::kMicro;

}  // namespace

Worker::Worker(uint32_t slot, event::Mailbox& main, stats::Store& stats, listener::ConnectionLimit& limit, const config::NameTable* names,
               bool every_turn, const base::Clock& clock)
    : loop_(clock),
      loop_stats_(loop_, stats, "listener_manager.worker_" + std::to_string(slot - 1) + ".", "worker_" + std::to_string(slot - 1),
                  every_turn),
      main_(main),
      clusters_(loop_, main, slot, names),
      context_{loop_, main, clusters_, routes_, stats, filter::Random(std::random_device()() * 0x9E3779B97F4A7C15u + slot), {}, slot},
      listeners_(context_, limit),
      idle_check_(event::Timer::to<&Worker::checkIdle>(loop_.timers(), this)) {
  loop_.setBudget(kTurnBudget);
}

Worker::~Worker() { join(); }

void Worker::logTo(accesslog::GrpcLogs& logs) {
  log_streams_ = std::make_unique<accesslog::GrpcLogStreams>(logs, loop_, clusters_, context_.slot);
}

void Worker::start() {
  thread_ = std::thread([this] { run(); });
}

void Worker::run() {
  char name[16];
  std::snprintf(name, sizeof name, "wrk:worker_%u", context_.slot - 1);
  ::pthread_setname_np(::pthread_self(), name);
  stats::setSlot(context_.slot);
  loop_.run();
  finish();
}

void Worker::finish() {
  // What lives here dies here: blocks, arenas and counts belong to this thread.
  loop_.setBudget(event::Loop::kNoBudget);
  listeners_.stopAccepting(false, false);
  listeners_.closeAll();
  if (log_streams_ != nullptr) log_streams_->flushAll();
  loop_.turn(0);
  log_streams_.reset();
  clusters_.shutdown();
  loop_.turn(0);
  http::h1::ServerCodec::trimThisThread();
  http::h2::Memory::trimThisThread();
  base::Block::trimThisThread(0);
  base::Buffer::trimThisThread();
  base::Arena::trimThisThread();
}

bool Worker::step() {
  stats::setSlot(context_.slot);
  const bool any = loop_.turn(0);
  stats::setSlot(0);
  return any;
}

void Worker::stop() { loop_.stop(); }

void Worker::join() {
  if (thread_.joinable()) thread_.join();
}

void Worker::applyClusters(std::shared_ptr<const upstream::ClusterChanges> changes) {
  mailbox().post([this, changes = std::move(changes)] { clusters_.apply(*changes); });
}

void Worker::applyListener(std::shared_ptr<const listener::ListenerChange> change) {
  mailbox().post([this, change = std::move(change)] { listeners_.apply(*change); });
}

void Worker::applyRoutes(config::RouteTableId id, std::shared_ptr<const config::RouteTable> table) {
  mailbox().post([this, id, table = std::move(table)] {
    routes_.set(id, table == nullptr ? config::PartRef<config::RouteTable>() : config::makePart<config::RouteTable>(table, main_));
  });
}

void Worker::applyScopes(config::ScopeSetId id, std::shared_ptr<const config::ScopeIndex> scopes) {
  mailbox().post([this, id, scopes = std::move(scopes)] {
    routes_.setScopes(id, scopes == nullptr ? config::PartRef<config::ScopeIndex>() : config::makePart<config::ScopeIndex>(scopes, main_));
  });
}

void Worker::setDrain(const filter::DrainState& drain) {
  mailbox().post([this, drain] { context_.drain = drain; });
}

void Worker::stopAccepting(bool inbound_only) {
  mailbox().post([this, inbound_only] { listeners_.stopAccepting(inbound_only, true); });
}

void Worker::drainConnections(bool inbound_only) {
  mailbox().post([this, inbound_only] { listeners_.drainAll(inbound_only); });
}

void Worker::whenIdle(base::Nanos deadline, std::function<void(size_t)> done) {
  mailbox().post([this, deadline, done = std::move(done)]() mutable {
    idle_deadline_ = deadline;
    idle_done_ = std::move(done);
    checkIdle();
  });
}

void Worker::checkIdle() {
  const size_t left = listeners_.connections();
  if (left > 0 && loop_.now() < idle_deadline_) {
    idle_check_.armIn(10 * base::kMilli);
    return;
  }
  main_.post([done = std::move(idle_done_), left] { done(left); });
  idle_done_ = nullptr;
}

}  // namespace outrider::server
