// Asks a peer now and then whether it is still there, and says when it no longer answers.
//
// Thread: the connection's worker. Lifetime: beside its codec, which it must not outlive; the owner arms the timer.
// Source: config.core.v3.KeepaliveSettings (a PING an interval after the last answer). Units: nanoseconds, percent.
#pragma once

#include <algorithm>

#include "source/base/clock.h"
#include "source/http/h2/session.h"

namespace outrider::http::h2 {

class Keepalive final : public PingSink {
 public:
  // `random` spreads the peers' first PINGs.
  void start(Session& session, const KeepaliveSettings& settings, const base::Nanos& now, uint64_t random) {
    if (settings.interval <= 0) return;
    session_ = &session;
    settings_ = settings;
    now_ = &now;
    random_ = random | 1;
    session.setPingSink(this);
    at_ = now + pause();
  }
  void stop() {
    session_ = nullptr;
    at_ = 0;
    waiting_ = false;
  }
  // When to call onTime() next; 0: never. An answer may bring the next PING nearer than the end of the wait for it.
  base::Nanos deadline() const { return waiting_ ? std::min(at_, *now_ + settings_.interval) : at_; }
  // False: the peer did not answer in time, the connection is dead. Too early is nothing.
  [[nodiscard]] bool onTime() {
    if (at_ == 0 || *now_ < at_) return true;
    if (waiting_) {
      stop();
      return false;
    }
    waiting_ = true;
    at_ = *now_ + settings_.timeout;
    session_->sendPing();
    return true;
  }
  void onPingAck() override {
    if (session_ == nullptr || !waiting_) return;
    waiting_ = false;
    at_ = *now_ + pause();
  }

 private:
  base::Nanos pause() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    const auto most = static_cast<uint64_t>(settings_.interval / 100 * settings_.jitter_percent);
    return settings_.interval + static_cast<base::Nanos>(most == 0 ? 0 : random_ % most);
  }

  Session* session_ = nullptr;
  KeepaliveSettings settings_;
  const base::Nanos* now_ = nullptr;
  uint64_t random_ = 1;
  base::Nanos at_ = 0;
  bool waiting_ = false;
};

}  // namespace outrider::http::h2
