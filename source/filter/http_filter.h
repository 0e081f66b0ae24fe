// The contract of an HTTP filter, and the table of functions that a chain calls.
//
// A filter is a plain class; the hooks it has are found when it is registered, so one that ignores bodies costs nothing a
// chunk. All are optional but one must exist:
//   Verdict onRequest(http::RequestHead&, bool last);
//   Verdict onRequestData(base::Buffer& in, base::Buffer& out, bool last);    // what it moves or adds to `out` goes on
//   Verdict onRequestTrailers(http::HeaderMap&, base::Buffer& out);           // cleared trailers: the body ends instead
//   Verdict onResponse(http::ResponseHead&, bool last);
//   Verdict onInformational(http::ResponseHead&);                             // next or hold (= swallow)
//   Verdict onResponseData(base::Buffer& in, base::Buffer& out, bool last);
//   Verdict onResponseTrailers(http::HeaderMap&, base::Buffer& out);
//   void onReset(http::ResetReason);                                          // the last call but the destructor
// Constructed as Filter(const Config&, StreamContext). Bytes left in `in` stay with the filter; at the end of the message,
// and when it resumes with next(), they go on.
// Thread: the worker. Lifetime: arena object of the stream, built before the first hook, destroyed with the stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "source/filter/verdict.h"
#include "source/http/codec.h"

namespace outrider::config {
struct CompiledRoute;
}

namespace outrider::filter {

class HttpStream;
struct WorkerContext;

enum class Direction : uint8_t { kRequest, kResponse };

// Later answers of a filter: a slot and its generation, so a dead stream makes it a no-op. Copy freely; same worker only.
class StreamHandle final {
 public:
  StreamHandle() = default;
  void resume(Direction direction, Verdict verdict) const;  // queued on the loop
  bool alive() const { return stream() != nullptr; }
  HttpStream* stream() const;

 private:
  friend class HttpStream;
  StreamHandle(uint32_t slot, uint32_t generation, uint16_t filter) : slot_(slot), generation_(generation), filter_(filter) {}
  uint32_t slot_ = ~0u;
  uint32_t generation_ = 0;
  uint16_t filter_ = 0;
};

// What a filter may know and ask of its stream.
class StreamContext final {
 public:
  StreamContext(HttpStream& stream, uint16_t filter) : stream_(&stream), filter_(filter) {}
  StreamHandle handle() const;
  base::Arena& arena() const;
  WorkerContext& worker() const;
  stream::ResponseFlags& flags() const;
  http::RequestHead& request() const;
  const config::CompiledRoute* route() const;  // matches now if it was cleared
  void clearRoute() const;                     // the next reader matches again on the head as it then is
  const void* perRoute() const;                // this filter's own config on the matched route, or null
  // Makes a Reply in the arena; fill in more before returning Verdict::reply(reply).
  Reply& makeReply(uint16_t status, std::string_view body, std::string_view details) const;
  Verdict reply(uint16_t status, std::string_view body, std::string_view details) const {
    return Verdict::reply(makeReply(status, body, details));
  }

 private:
  HttpStream* stream_;
  uint16_t filter_;
};

// The parsed config of one filter in a chain: immutable, made off the workers, shared by versions in which it is equal.
struct FilterOps {
  size_t size = 0;
  size_t align = 1;
  void (*construct)(void* at, const void* config, StreamContext context) = nullptr;
  void (*destroy)(void* at) = nullptr;
  Verdict (*request)(void*, http::RequestHead&, bool) = nullptr;
  Verdict (*request_data)(void*, base::Buffer&, base::Buffer&, bool) = nullptr;
  Verdict (*request_trailers)(void*, http::HeaderMap&, base::Buffer&) = nullptr;
  Verdict (*response)(void*, http::ResponseHead&, bool) = nullptr;
  Verdict (*informational)(void*, http::ResponseHead&) = nullptr;
  Verdict (*response_data)(void*, base::Buffer&, base::Buffer&, bool) = nullptr;
  Verdict (*response_trailers)(void*, http::HeaderMap&, base::Buffer&) = nullptr;
  void (*reset)(void*, http::ResetReason) = nullptr;
};

template <class Filter, class Config>
constexpr FilterOps makeFilterOps() {
  FilterOps ops;
  ops.size = sizeof(Filter);
  ops.align = alignof(Filter);
  ops.construct = [](void* at, const void* config, StreamContext context) {
    new (at) Filter(*static_cast<const Config*>(config), context);
  };
  ops.destroy = [](void* at) { static_cast<Filter*>(at)->~Filter(); };
  if constexpr (requires(Filter f, http::RequestHead & h) { f.onRequest(h, true); })
    ops.request = [](void* f, http::RequestHead& h, bool last) { return static_cast<Filter*>(f)->onRequest(h, last); };
  if constexpr (requires(Filter f, base::Buffer & b) { f.onRequestData(b, b, true); })
    ops.request_data = [](void* f, base::Buffer& in, base::Buffer& out, bool last) {
      return static_cast<Filter*>(f)->onRequestData(in, out, last);
    };
  if constexpr (requires(Filter f, http::HeaderMap & t, base::Buffer & b) { f.onRequestTrailers(t, b); })
    ops.request_trailers = [](void* f, http::HeaderMap& t, base::Buffer& out) {
      return static_cast<Filter*>(f)->onRequestTrailers(t, out);
    };
  if constexpr (requires(Filter f, http::ResponseHead & h) { f.onResponse(h, true); })
    ops.response = [](void* f, http::ResponseHead& h, bool last) { return static_cast<Filter*>(f)->onResponse(h, last); };
  if constexpr (requires(Filter f, http::ResponseHead & h) { f.onInformational(h); })
    ops.informational = [](void* f, http::ResponseHead& h) { return static_cast<Filter*>(f)->onInformational(h); };
  if constexpr (requires(Filter f, base::Buffer & b) { f.onResponseData(b, b, true); })
    ops.response_data = [](void* f, base::Buffer& in, base::Buffer& out, bool last) {
      return static_cast<Filter*>(f)->onResponseData(in, out, last);
    };
  if constexpr (requires(Filter f, http::HeaderMap & t, base::Buffer & b) { f.onResponseTrailers(t, b); })
    ops.response_trailers = [](void* f, http::HeaderMap& t, base::Buffer& out) {
      return static_cast<Filter*>(f)->onResponseTrailers(t, out);
    };
  if constexpr (requires(Filter f) { f.onReset(http::ResetReason::kNone); })
    ops.reset = [](void* f, http::ResetReason reason) { static_cast<Filter*>(f)->onReset(reason); };
  return ops;
}

// The chain's end: the router, the admin pages. One per stream, arena object.
class Terminal {
 public:
  virtual Verdict onRequest(http::RequestHead& head, bool last) = 0;    // next: taken
  virtual http::Room onRequestData(base::Buffer& data, bool last) = 0;  // takes all
  virtual void onRequestTrailers(http::HeaderMap& trailers) = 0;
  virtual void onResponseRoom() = 0;  // the client can take more response bytes
  // Called from the stream's own run after HttpStream::wake(): look at what came from upstream and answer through the stream.
  virtual void run() = 0;
  // The stream is over (kNone: the response went out whole). Drop what is under way. Last call but the destructor.
  virtual void onStreamEnd(http::ResetReason reason) = 0;

 protected:
  ~Terminal() = default;
};

struct TerminalOps {
  size_t size = 0;
  size_t align = 1;
  Terminal* (*construct)(void* at, const void* config, HttpStream& stream) = nullptr;
  void (*destroy)(Terminal* at) = nullptr;
};

template <class T, class Config>
constexpr TerminalOps makeTerminalOps() {
  TerminalOps ops;
  ops.size = sizeof(T);
  ops.align = alignof(T);
  ops.construct = [](void* at, const void* config, HttpStream& stream) -> Terminal* {
    return new (at) T(*static_cast<const Config*>(config), stream);
  };
  ops.destroy = [](Terminal* at) { static_cast<T*>(at)->~T(); };
  return ops;
}

// A compiled chain: filters in config order, their state at fixed offsets of one arena allocation, the hooks that exist by
// direction. Immutable; built when the listener version is built.
class HttpChain final {
 public:
  struct Entry {
    std::string name;  // config name: the key of per-route overrides
    const FilterOps* ops;
    std::shared_ptr<const void> config;
    size_t offset = 0;      // of its state
    bool disabled = false;  // unless the route says otherwise
  };
  static constexpr size_t kMostFilters = 64;  // a stream keeps a bit for each
  HttpChain(std::vector<Entry> filters, const TerminalOps& terminal, std::shared_ptr<const void> terminal_config);

  const std::vector<Entry>& filters() const { return filters_; }
  const TerminalOps& terminal() const { return terminal_; }
  const void* terminalConfig() const { return terminal_config_.get(); }
  size_t stateSize() const { return state_size_; }
  size_t terminalOffset() const { return terminal_offset_; }
  bool anyRequestData() const { return any_request_data_; }

 private:
  std::vector<Entry> filters_;
  const TerminalOps& terminal_;
  std::shared_ptr<const void> terminal_config_;
  size_t state_size_ = 0;
  size_t terminal_offset_ = 0;
  bool any_request_data_ = false;
};

}  // namespace outrider::filter
