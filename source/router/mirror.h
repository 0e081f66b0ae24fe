// A copy of a request that another cluster gets as well; nobody waits for its answer, and the request does not notice it.
//
// It is fed while the request comes; from the request's end on it lives by itself until its answer is there. A copy whose cluster
// takes bytes more slowly than the client sends them is given up.
// Thread: the stream's worker. Lifetime: its own; whoever feeds it does so through the pointer that start() gave, until detach().
// Source: RouteAction.request_mirror_policies; Envoy docs "http_routing" (shadowing).
#pragma once

#include "source/config/compiled_route.h"
#include "source/filter/http_stream.h"
#include "source/upstream/call/async_call.h"
#include "source/upstream/cluster_view.h"

namespace outrider::router {

class Mirror final : public upstream::DetachedCall, private upstream::AsyncCallOwner {
 public:
  struct Options {
    base::Nanos timeout = 0;
    size_t most_waiting = 1024 * 1024;  // bytes of body
    bool high_priority = false;
    bool keep_host = false;  // disable_shadow_host_suffix_append
  };
  // `head`: as it goes to the request's own cluster.
  static Mirror* start(upstream::Cluster& cluster, filter::WorkerContext& worker, const stream::StreamInfo& info,
                       const http::RequestHead& head, bool last, const Options& options);
  void feed(const base::Buffer& data, bool last);
  void feedTrailers(const http::HeaderMap& trailers);
  // Its last bytes were fed: it goes on alone. Else it is given up.
  void detach(bool complete);

 private:
  Mirror(upstream::Cluster& cluster, const Options& options);
  ~Mirror() override = default;
  void onCall(upstream::AsyncCall& call) override;
  void abandon();

  upstream::AsyncCall call_;
  const base::LocalRef<upstream::Cluster> cluster_;
  const size_t most_waiting_;
  base::Buffer waiting_;  // while the call is not writable
  bool waiting_last_ = false;
  bool attached_ = true;
};

}  // namespace outrider::router
