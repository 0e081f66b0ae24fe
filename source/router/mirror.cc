#include "source/router/mirror.h"

namespace outrider::router {

using http::HeaderId;
using upstream::AsyncCall;

namespace {

// "a.test:80" to "a.test-shadow:80".
std::string_view shadowHost(base::Arena& arena, std::string_view host) {
  const size_t colon = host.rfind(':');
  const bool port = colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos;
  const size_t end = port ? colon : host.size();
  return arena.concat(host.substr(0, end), "-shadow", host.substr(end));
}

AsyncCall::Options callOptions(const Mirror::Options& options) {
  AsyncCall::Options out;
  out.timeout = options.timeout;
  out.high_priority = options.high_priority;
  return out;
}

}  // namespace

Mirror::Mirror(upstream::Cluster& cluster, const Options& options)
    : call_(cluster, *this, callOptions(options)), cluster_(&cluster), most_waiting_(options.most_waiting) {}

Mirror* Mirror::start(upstream::Cluster& cluster, filter::WorkerContext& worker, const stream::StreamInfo& info,
                      const http::RequestHead& head, bool last, const Options& options) {
  auto* mirror = new Mirror(cluster, options);
  worker.clusters.keep(*mirror);
  AsyncCall& call = mirror->call_;
  base::Arena& arena = call.arena();
  http::RequestHead& copy = call.head();
  copy.method = arena.copy(head.method);
  copy.scheme = arena.copy(head.scheme);
  copy.path = arena.copy(head.path);
  copy.authority = options.keep_host ? arena.copy(head.authority) : shadowHost(arena, head.authority);
  copy.headers.copyFrom(head.headers);
  copy.headers.set(HeaderId::kEnvoyInternal, "true");
  if (const base::Address& own = info.connection->local(); own.isIp()) {
    char ip[base::Address::kTextSize];
    copy.headers.appendValue(HeaderId::kForwardedFor, arena.copy(std::string_view(ip, own.print(ip, false))));
  }
  call.start(last);
  return mirror;
}

void Mirror::feed(const base::Buffer& data, bool last) {
  if (call_.ended()) return;
  waiting_.share(data);
  waiting_last_ = last;
  if (!call_.writable()) {
    if (waiting_.size() > most_waiting_) abandon();
    return;
  }
  (void)call_.send(waiting_, last);
}

void Mirror::feedTrailers(const http::HeaderMap& trailers) {
  if (call_.ended()) return;
  if (!waiting_.empty()) (void)call_.send(waiting_, false);  // their order counts, whatever is full
  call_.sendTrailers(trailers);
}

void Mirror::detach(bool complete) {
  attached_ = false;
  if (!complete && !call_.ended()) call_.cancel();
  if (call_.ended()) delete this;
}

void Mirror::abandon() {
  cluster_->part().stats.inc(upstream::ClusterStat::kRetryOrShadowAbandoned);
  waiting_.clear();
  call_.cancel();
}

void Mirror::onCall(AsyncCall& call) {
  call.body().clear();
  if (!call.ended()) {
    if (call.writable() && (!waiting_.empty() || waiting_last_)) (void)call.send(waiting_, waiting_last_);
    return;
  }
  if (!attached_) delete this;
}

}  // namespace outrider::router
