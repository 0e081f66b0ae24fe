// One stream to a management server: state of the world or delta, one type or all of them (ADS).
//
// Keeps the rules of acknowledgement (version, nonce, error), sends the node once a stream, subscribes again after a break, and
// holds back the requests of a paused type so that they leave as one. What was accepted last stays whatever happens here.
// Thread: main. Lifetime: the hub's. Source: envoy docs api-docs/xds_protocol, service/discovery/v3/discovery.proto.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "envoy/config/core/v3/base.pb.h"
#include "source/event/loop.h"
#include "source/stats/stats.h"
#include "source/xds/subscription.h"
#include "source/xds/transport.h"

namespace outrider::xds {

#define OUTRIDER_XDS_CONTROL_PLANE_STATS(C, G, H) \
  C(kRateLimitEnforced, "rate_limit_enforced")    \
  G(kConnectedState, "connected_state")           \
  G(kPendingRequests, "pending_requests")
OUTRIDER_STATS(ControlPlaneStat, kControlPlaneTable, OUTRIDER_XDS_CONTROL_PLANE_STATS)

// Types whose requests wait, counted.
class Pauses final {
 public:
  bool paused(std::string_view type_url) const { return counts_.find(type_url) != counts_.end(); }
  void pause(std::string_view type_url) { ++counts_[std::string(type_url)]; }
  bool resume(std::string_view type_url);  // true: that was the last one

 private:
  std::map<std::string, int, std::less<>> counts_;
};

struct SessionOptions {
  bool delta = false;
  std::string only_type;  // empty: ADS
  envoy::config::core::v3::Node node;
  std::string stats_prefix;  // "" or "cluster_manager.cds."; "control_plane." follows
  base::Nanos base_backoff = 500 * base::kMilli;
  base::Nanos max_backoff = 30 * base::kSecond;
  uint64_t seed = 1;
  // Runs a job on the config thread; absent: everything is read at once, on main.
  std::function<void(std::function<void()>)> elsewhere;
};

class Session final : public StreamSink {
 public:
  Session(event::Loop& loop, stats::Store& store, std::unique_ptr<Transport> transport, const Pauses& pauses, SessionOptions options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Subscription& subscription(const std::string& type_url);  // made when new; lives as long as the session
  Subscription* find(std::string_view type_url) const;      // null: never made
  bool remove(WatchId id);                                  // false: no such watch here
  bool unused() const;
  bool connected() const { return connected_; }
  // Requests leave at the end of this turn, one a type.
  void flushSoon() { loop_.defer(flush_); }

  void onStreamOpen() override;
  void onStreamMessage(std::string bytes) override;
  void onStreamClosed(int grpc_status, std::string_view message) override;

 private:
  struct Answer {
    std::string nonce;
    std::string error;  // empty: ACK
  };
  struct Response {
    std::string nonce;
    std::string error;  // refused before anybody saw it
    Incoming in;
  };
  struct Type {
    std::unique_ptr<Subscription> table;
    std::string version;     // SotW: of the last accepted response
    std::string last_error;  // that the log knows of: servers send again what was refused, at once
    // Of this stream:
    bool started = false;
    bool named = false;  // a request named resources, so an empty list no longer means all
    std::string nonce;   // of the last response that was answered
    std::deque<Response> waiting;
    std::vector<Answer> answers;
  };

  Type* typeOf(std::string_view type_url) const;
  void connect();
  void flush();
  void send(Type& type);
  void sendSotw(Type& type, const Answer* answer);
  void sendDelta(Type& type, const Answer* answer, const Subscription::Changes* changes);
  void receive(std::string_view type_url, Response response, std::string_view identifier);
  void processNext(Type& type);
  void answer(Type& type, Answer answer);
  void take(ReadResponse read);
  base::Nanos nextDelay();

  event::Loop& loop_;
  stats::Store& store_;
  const std::unique_ptr<Transport> transport_;
  const Pauses& pauses_;
  const SessionOptions options_;
  const stats::Set<ControlPlaneStat> stats_;
  const std::string identifier_name_;
  const std::shared_ptr<std::string> identifier_ = std::make_shared<std::string>();
  std::vector<std::unique_ptr<Type>> types_;  // in the order of requests
  std::unique_ptr<Stream> stream_;
  uint64_t generation_ = 0;  // of the stream
  bool connected_ = false;
  bool node_sent_ = false;
  bool told_ = false;  // the log knows of this outage
  event::Deferred flush_;
  event::Timer retry_;
  base::Nanos backoff_;
  uint64_t random_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // letters of a dead session do nothing
};

}  // namespace outrider::xds
