#include "source/upstream/health/checker.h"

#include <algorithm>

#include "source/base/log.h"
#include "source/http/h1/client_codec.h"
#include "source/http/h2/client_codec.h"
#include "source/net/connection.h"
#include "source/upstream/codec_settings.h"

namespace outrider::upstream::health {

using config::HealthCheckSpec;
using http::ResetReason;

// One connection to the host, and the exchanges on it one after another.
class Session final : public net::ConnectionSink, public http::ClientCodecSink, public http::ResponseSink {
 public:
  Session(Checker& checker, int fd, std::unique_ptr<net::Transport> transport, const base::Address& to)
      : checker_(checker),
        settings_(codecSettingsOf(*checker.part_.spec)),
        connection_(std::make_unique<net::Connection>(checker.loop_, fd, std::move(transport), base::Address(), to)) {
    connection_->setSink(*this);
    connection_->startConnect(checker.spec_.timeout);
  }
  ~Session() {
    if (stream_ != nullptr) std::exchange(stream_, nullptr)->reset(ResetReason::kLocal);
    if (connection_->open()) connection_->closeNow();
    codec_.reset();
    checker_.loop_.retire(connection_.release());
    if (arena_ != nullptr) arena_->unref();
  }

  bool usable() const {
    return connection_->open() && !connection_->peerFinished() && codec_ != nullptr && !codec_->finished() && codec_->freeStreams() > 0 &&
           !spent_;
  }

  void exchange() {
    if (arena_ != nullptr) arena_->unref();
    arena_ = base::Arena::create();
    const HealthCheckSpec& spec = checker_.spec_;
    auto* head = arena_->make<http::RequestHead>(*arena_);
    head->method = spec.method;
    head->path = spec.path;
    head->scheme = checker_.part_.transport != nullptr && checker_.part_.transport->secureTo(checker_.host_) ? "https" : "http";
    const std::string_view per_host = checker_.host_.details().check_hostname;
    head->authority = !per_host.empty() ? per_host : !spec.host.empty() ? std::string_view(spec.host) : checker_.part_.name;
    head->headers.add("user-agent", "Envoy/HC");
    for (const auto& [name, value] : spec.headers_to_add) head->headers.add(name, value);
    for (const std::string& name : spec.headers_to_remove) head->headers.remove(std::string_view(name));
    stream_ = &codec_->newStream(*this);
    stream_->sendHead(*head, true);
    connection_->markDirty();
  }

  // ---- of the connection ----
  void onConnected() override {
    const HealthCheckSpec& spec = checker_.spec_;
    if (spec.kind == HealthCheckSpec::Kind::kTcp) {
      if (!spec.send.empty()) {
        connection_->out().append(spec.send);
        connection_->markDirty();
      }
      if (spec.receive.empty()) checker_.finish(true, false, false);
      return;
    }
    if (spec.http2) {
      codec_ = std::make_unique<http::h2::ClientCodec>(settings_.h2, h2_counters_, *this, checker_.loop_.now());
    } else {
      codec_ = std::make_unique<http::h1::ClientCodec>(settings_.h1, h1_counters_, *this, connection_->out());
    }
    connection_->markDirty();
    checker_.loop_.defer(checker_.settle_);  // the request goes out of another event
  }
  void onBytes(base::Buffer& in, bool eof) override {
    const HealthCheckSpec& spec = checker_.spec_;
    if (spec.kind == HealthCheckSpec::Kind::kTcp) {
      // All pieces, in this order, with anything between them.
      received_ += in.str();
      in.clear();
      size_t at = 0;
      bool all = true;
      for (const std::string& want : spec.receive) {
        const size_t found = received_.find(want, at);
        if (found == std::string::npos) {
          all = false;
          break;
        }
        at = found + want.size();
      }
      if (all) {
        checker_.finish(true, false, false);
      } else if (eof || received_.size() > 64 * 1024) {
        checker_.finish(false, true, false);
      }
      return;
    }
    if (codec_ == nullptr) return;
    if (codec_->feed(in) == http::Feed::kPaused) connection_->pauseReading(net::Connection::kPauseCodec);
    if (eof) codec_->onPeerFinished();
  }
  void onFlush(base::Buffer& out) override {
    if (codec_ != nullptr) codec_->fill(out);
  }
  void onRoom() override {
    if (codec_ != nullptr) codec_->onOutputDrained();
  }
  void onClosed(net::CloseReason) override {
    spent_ = true;
    if (codec_ != nullptr) codec_->resetAll(ResetReason::kConnectionClosed);
    checker_.finish(false, true, false);  // says nothing when the check has ended
  }

  // ---- of the codec ----
  void onOutput() override { connection_->markDirty(); }
  void onWantFeed() override { connection_->wantFeed(); }
  void onStreamDone() override {}
  void onGoAway() override { spent_ = true; }
  void onCapacity() override {}
  void onConnectionError(std::string_view) override { spent_ = true; }

  base::Arena& arena() override { return *arena_; }
  void onInformational(http::ResponseHead&) override {}
  void onResponseHead(http::ResponseHead& head, bool) override {
    status_ = head.status;
    keep_alive_ = head.keep_alive;
  }
  void onResponseData(base::Buffer& data, bool) override { data.clear(); }
  void onResponseTrailers(http::HeaderMap&) override {}
  void onEnd(ResetReason reason, std::string_view) override {
    stream_ = nullptr;
    if (!keep_alive_ || reason != ResetReason::kNone) spent_ = true;
    if (reason != ResetReason::kNone) {
      checker_.finish(false, true, false);
      return;
    }
    const auto within = [this](const std::vector<config::StatusRange>& ranges) {
      return std::any_of(ranges.begin(), ranges.end(),
                         [this](const auto& range) { return range.first <= status_ && status_ <= range.last; });
    };
    const bool ok = within(checker_.spec_.expected);
    checker_.finish(ok, false, !ok && within(checker_.spec_.retriable));
  }

  bool waitsToSend() const { return codec_ != nullptr && stream_ == nullptr && codec_->freeStreams() > 0; }
  bool spent() const { return spent_; }

 private:
  Checker& checker_;
  const CodecSettings settings_;
  std::unique_ptr<net::Connection> connection_;
  std::unique_ptr<http::ClientCodec> codec_;
  http::h1::Counters h1_counters_;
  http::h2::Counters h2_counters_;
  base::Arena* arena_ = nullptr;
  http::ClientStream* stream_ = nullptr;
  std::string received_;
  uint16_t status_ = 0;
  bool keep_alive_ = true;
  bool spent_ = false;
};

Checker::Checker(event::Loop& loop, const ClusterPart& part, const HealthCheckSpec& spec, const Host& host, const HealthStats& stats,
                 CheckerOwner& owner, bool healthy_before)
    : loop_(loop),
      part_(part),
      spec_(spec),
      host_(host),
      stats_(stats),
      owner_(owner),
      interval_(event::Timer::to<&Checker::check>(loop.timers(), this)),
      timeout_(event::Timer::to<&Checker::onTimeout>(loop.timers(), this)),
      settle_(event::Deferred::to<&Checker::settle>(this)),
      random_(host.address.hash() ^ static_cast<uint64_t>(loop.wall())),
      healthy_(healthy_before),
      first_done_(healthy_before) {}

Checker::~Checker() = default;

uint64_t Checker::random(uint64_t below) {
  random_ += 0x9E3779B97F4A7C15u;
  uint64_t z = random_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return below == 0 ? 0 : (z ^ (z >> 31)) % below;
}

void Checker::start() {
  // Never from within the owner's call: the first check is a turn of the timer away at the earliest.
  interval_.armIn(static_cast<base::Nanos>(random(static_cast<uint64_t>(spec_.initial_jitter))));
}

base::Nanos Checker::interval() {
  base::Nanos base_time = 0;
  if (part_.stats.read(ClusterStat::kUpstreamCxTotal) == 0) {
    base_time = healthy_ && spec_.no_traffic_healthy_interval > 0 ? spec_.no_traffic_healthy_interval : spec_.no_traffic_interval;
  } else if (healthy_) {
    base_time = edge_ && spec_.healthy_edge_interval > 0 ? spec_.healthy_edge_interval : spec_.interval;
  } else {
    const base::Nanos unhealthy = spec_.unhealthy_interval > 0 ? spec_.unhealthy_interval : spec_.interval;
    base_time = edge_ && spec_.unhealthy_edge_interval > 0 ? spec_.unhealthy_edge_interval : unhealthy;
  }
  if (spec_.interval_jitter_percent > 0) {
    base_time += static_cast<base::Nanos>(random(static_cast<uint64_t>(base_time) * spec_.interval_jitter_percent / 100));
  }
  base_time += static_cast<base::Nanos>(random(static_cast<uint64_t>(spec_.interval_jitter)));
  return std::max(base_time, base::kMilli);
}

void Checker::check() {
  stats_.inc(HealthStat::kAttempt);
  timed_out_ = false;
  phase_ = Phase::kChecking;
  timeout_.armIn(spec_.timeout);
  if (session_ != nullptr && session_->usable()) {
    session_->exchange();
    return;
  }
  session_.reset();
  base::Address to = host_.address;
  if (host_.details().check_port != 0) to = to.withPort(host_.details().check_port);
  std::unique_ptr<net::Transport> transport;
  if (part_.transport == nullptr) {
    transport = net::makePlainTransport();
  } else {
    static constexpr std::string_view kH2[] = {"h2"};
    TransportArgs args;
    args.host = &host_;
    if (spec_.http2) {
      args.alpn = kH2;
      args.alpn_count = 1;
    }
    transport = part_.transport->make(args);
  }
  const int fd = transport == nullptr ? -1 : net::makeSocket(to);
  if (fd < 0) {
    finish(false, true, false);
    return;
  }
  session_ = std::make_unique<Session>(*this, fd, std::move(transport), to);
}

void Checker::onTimeout() {
  timed_out_ = phase_ == Phase::kChecking;
  finish(false, true, false);
}

void Checker::finish(bool ok, bool network, bool retriable) {
  if (phase_ != Phase::kChecking) return;
  phase_ = Phase::kEnding;
  ok_ = ok;
  network_ = network;
  retriable_ = retriable;
  loop_.defer(settle_);
}

void Checker::settle() {
  if (phase_ == Phase::kChecking) {
    if (session_ != nullptr && session_->waitsToSend()) session_->exchange();
    return;
  }
  if (phase_ != Phase::kEnding) return;
  phase_ = Phase::kWaiting;
  timeout_.cancel();
  if (session_ != nullptr && (!ok_ || !spec_.reuse_connection || spec_.kind == HealthCheckSpec::Kind::kTcp || !session_->usable())) {
    session_.reset();
  }
  const bool before = healthy_;
  if (ok_) {
    stats_.inc(HealthStat::kSuccess);
    bad_in_row_ = 0;
    // The very first success is enough.
    if (!healthy_ && (!first_done_ || ++good_in_row_ >= spec_.healthy_threshold)) {
      healthy_ = true;
      good_in_row_ = 0;
    }
  } else {
    stats_.inc(HealthStat::kFailure);
    if (network_) stats_.inc(HealthStat::kNetworkFailure);
    good_in_row_ = 0;
    // A wrong answer is proof; silence, and statuses that may be retried, must come in a row.
    if (healthy_ && ((!network_ && !retriable_) || ++bad_in_row_ >= spec_.unhealthy_threshold)) {
      healthy_ = false;
      bad_in_row_ = 0;
    }
  }
  edge_ = healthy_ != before;
  first_done_ = true;
  interval_.armIn(interval());
  owner_.onChecked(*this, host_, healthy_, edge_);
}

}  // namespace outrider::upstream::health
