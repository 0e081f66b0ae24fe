// The chain's end that forwards: picks a cluster, makes attempts against its hosts, and answers through the stream.
//
// One small list of attempts (today one at a time; a retry replaces the last). Request bytes are kept as shared slices while a
// retry may need them: until the response head came or the buffer limit is passed.
// Thread: the stream's worker. Lifetime: arena object of its stream.
#pragma once

#include "source/config/route_table.h"
#include "source/filter/http_stream.h"
#include "source/router/config.h"
#include "source/router/mirror.h"
#include "source/router/retry_state.h"
#include "source/upstream/call/attempt.h"
#include "source/upstream/cluster_view.h"

namespace outrider::router {

class Router final : public filter::Terminal, private upstream::AttemptOwner {
 public:
  Router(const RouterConfig& config, filter::HttpStream& stream);
  ~Router();

  filter::Verdict onRequest(http::RequestHead& head, bool last) override;
  http::Room onRequestData(base::Buffer& data, bool last) override;
  void onRequestTrailers(http::HeaderMap& trailers) override;
  void onResponseRoom() override;
  void run() override;
  void onStreamEnd(http::ResetReason reason) override;

 private:
  void onAttempt(upstream::Attempt&) override { stream_.wake(); }

  filter::Verdict redirect(const http::RequestHead& head);
  filter::Verdict direct(const http::RequestHead& head);
  filter::Verdict refuse(uint16_t status, std::string_view body, std::string_view details, stream::ResponseFlag flag,
                         std::string_view reason);
  void readTimeouts(http::RequestHead& head);
  void expectedTimeout(base::Nanos elapsed);
  std::string_view timeoutBody() const {
    return timeout_status_ == 504 ? std::string_view("upstream request timeout") : std::string_view();
  }
  void startAttempt();
  void endAttempt();
  void destroyAttempt();
  void requestComplete();
  void startMirrors(const http::RequestHead& head);
  void leaveMirrors(bool complete);
  void progress();
  void takeHead();
  void pumpResponse();
  void attemptFailed();
  bool mayRetry(uint32_t conditions);
  bool mayReplayStale() const;
  bool mayReplayUnprocessed() const;
  void retryLater();
  void retryNow();
  void touchTry();
  void onTryIdle();
  void onTimeout();
  void onTryTimeout();
  void countHostTimeout();
  void tryTimedOut(std::string_view details);
  void cutResponse(std::string_view details);
  void failWith(filter::Reply& reply);
  void editReply(filter::Reply& reply);
  format::Input formatInput() const;
  void countResponse(uint16_t status, bool final);

  const RouterConfig& config_;
  filter::HttpStream& stream_;
  const config::CompiledRoute* route_ = nullptr;
  config::ClusterPick pick_;
  base::LocalRef<upstream::Cluster> cluster_;
  config::RequestHash::Result hash_;
  upstream::Attempt* attempt_ = nullptr;
  upstream::Attempt* former_ = nullptr;  // given up, not yet destroyed
  Mirror** mirrors_ = nullptr;           // in the arena; fed until the request's end
  size_t mirror_count_ = 0;
  http::RequestHead* head_ = nullptr;
  http::HeaderMap* request_trailers_ = nullptr;

  // Times; 0: none.
  base::Nanos timeout_ = 0;
  base::Nanos try_timeout_ = 0;
  base::Nanos try_idle_timeout_ = 0;
  base::Nanos started_at_ = 0;
  base::Nanos attempt_started_ = 0;
  base::Nanos completed_at_ = 0;  // the last request byte was taken
  event::Timer timer_;
  event::Timer try_timer_;
  event::Timer back_off_;
  event::Timer try_idle_;

  // Retries.
  RetryState retry_;
  base::Buffer replay_;
  bool keep_replay_ = false;
  bool stale_replayed_ = false;
  uint8_t unprocessed_replays_ = 0;
  bool stale_now_ = false;  // the attempt that begins wants a new connection
  uint16_t attempts_ = 0;

  bool request_ended_ = false;
  bool head_forwarded_ = false;
  bool response_ended_ = false;
  bool over_ = false;
  bool timed_out_try_ = false;  // the last one
  uint16_t timeout_status_ = 504;  // 204 where the client asked so
};

}  // namespace outrider::router
