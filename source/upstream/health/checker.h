// Asks one host again and again whether it is well: over HTTP/1.1, HTTP/2 or plain TCP, on a connection of its own.
// Thread: main. Lifetime: its ClusterEntity's; stops when destroyed. Source: Envoy docs "upstream/health_checking", core.v3.HealthCheck.
#pragma once

#include <memory>

#include "source/config/cluster_spec.h"
#include "source/event/loop.h"
#include "source/upstream/cluster_part.h"

namespace outrider::upstream::health {

class Checker;
class CheckerOwner {
 public:
  // A check ended. `changed`: the host's state is another one now (the owner keeps the flags). Must not destroy the checker.
  virtual void onChecked(Checker& checker, const Host& host, bool healthy, bool changed) = 0;

 protected:
  ~CheckerOwner() = default;
};

class Session;  // the exchange under way

class Checker final {
 public:
  // `part`, `stats` and `owner` outlive it. The host counts as failed until its first check has succeeded.
  Checker(event::Loop& loop, const ClusterPart& part, const config::HealthCheckSpec& spec, const Host& host, const HealthStats& stats,
          CheckerOwner& owner, bool healthy_before);
  ~Checker();
  void start();
  bool firstDone() const { return first_done_; }
  bool healthy() const { return healthy_; }
  bool timedOut() const { return timed_out_; }  // the last check did
  size_t position = 0;                          // the owner's: where the host stands

 private:
  friend class Session;
  enum class Phase : uint8_t { kWaiting, kChecking, kEnding };
  void check();
  void finish(bool ok, bool network_failure, bool retriable);  // records; settle() does the rest later in the turn
  void onTimeout();
  void settle();
  base::Nanos interval();
  uint64_t random(uint64_t below);

  event::Loop& loop_;
  const ClusterPart& part_;
  const config::HealthCheckSpec& spec_;
  const Host& host_;
  const HealthStats& stats_;
  CheckerOwner& owner_;
  event::Timer interval_;
  event::Timer timeout_;
  event::Deferred settle_;
  std::unique_ptr<Session> session_;
  uint64_t random_;
  uint32_t good_in_row_ = 0, bad_in_row_ = 0;
  Phase phase_ = Phase::kWaiting;
  bool healthy_;
  bool first_done_;
  bool edge_ = false;                                                          // the last check changed the state
  bool ok_ = false, network_ = false, retriable_ = false, timed_out_ = false;  // of the check that is ending
};

}  // namespace outrider::upstream::health
