// Filters that prove the chain: each does one thing that the contract promises. They stay in test/.
#pragma once

#include <string>
#include <vector>

#include "source/filter/http_stream.h"

namespace outrider::test {

using filter::Direction;
using filter::StreamContext;
using filter::StreamHandle;
using filter::Verdict;

// Holds the request head and lets it go after a time.
struct WaitsForATimer {
  struct Config {
    base::Nanos time = base::kMilli;
    bool refuse = false;
  };
  WaitsForATimer(const Config& config, StreamContext context)
      : config_(config), context_(context), timer_(event::Timer::to<&WaitsForATimer::onTime>(context.worker().loop.timers(), this)) {}
  Verdict onRequest(http::RequestHead&, bool) {
    timer_.armIn(config_.time);
    return Verdict::hold();
  }
  void onTime() {
    context_.handle().resume(Direction::kRequest, config_.refuse ? context_.reply(403, "refused late", "late") : Verdict::next());
  }
  const Config& config_;
  StreamContext context_;
  event::Timer timer_;
};

// Asks somebody else, who answers through a handle that may outlive the stream.
struct AsksASide {
  struct Config {
    std::vector<StreamHandle>* questions;
  };
  AsksASide(const Config& config, StreamContext context) : config_(config), context_(context) {}
  Verdict onRequest(http::RequestHead&, bool) {
    config_.questions->push_back(context_.handle());
    return Verdict::hold();
  }
  const Config& config_;
  StreamContext context_;
};

// Lets a body pass only whole.
struct HoldsTheBody {
  struct Config {
    bool request = true;
    bool response = false;
  };
  HoldsTheBody(const Config& config, StreamContext) : config_(config) {}
  Verdict onRequest(http::RequestHead&, bool last) { return last || !config_.request ? Verdict::next() : Verdict::hold(); }
  Verdict onRequestData(base::Buffer& in, base::Buffer& out, bool last) { return pass(config_.request, in, out, last); }
  Verdict onRequestTrailers(http::HeaderMap&, base::Buffer&) { return Verdict::next(); }
  Verdict onResponse(http::ResponseHead&, bool last) { return last || !config_.response ? Verdict::next() : Verdict::hold(); }
  Verdict onResponseData(base::Buffer& in, base::Buffer& out, bool last) { return pass(config_.response, in, out, last); }
  Verdict onResponseTrailers(http::HeaderMap&, base::Buffer&) { return Verdict::next(); }
  static Verdict pass(bool hold, base::Buffer& in, base::Buffer& out, bool last) {
    if (hold && !last) return Verdict::hold();
    out.move(in);
    return Verdict::next();
  }
  const Config& config_;
};

// Upper-cases bodies and says the trailers in the body.
struct RewritesTheBody {
  struct Config {};
  RewritesTheBody(const Config&, StreamContext) {}
  Verdict onRequestData(base::Buffer& in, base::Buffer& out, bool last) { return rewrite(in, out, last); }
  Verdict onResponseData(base::Buffer& in, base::Buffer& out, bool last) { return rewrite(in, out, last); }
  Verdict onRequestTrailers(http::HeaderMap& trailers, base::Buffer& out) { return say(trailers, out); }
  Verdict onResponseTrailers(http::HeaderMap& trailers, base::Buffer& out) { return say(trailers, out); }
  static Verdict rewrite(base::Buffer& in, base::Buffer& out, bool) {
    std::string text = in.str();
    in.clear();
    for (char& c : text) {
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    }
    out.append(text);
    return Verdict::next();
  }
  static Verdict say(http::HeaderMap& trailers, base::Buffer& out) {
    trailers.forEach([&](const http::Header& h) {
      out.append("[");
      out.append(h.name());
      out.append("]");
    });
    trailers.clear();
    return Verdict::next();
  }
};

// Answers from a source that comes in pieces.
struct ServesAStream {
  struct Config {
    int pieces = 3;
    size_t piece = 100;
  };
  struct Source final : filter::BodySource {
    explicit Source(const Config& c) : config(c) {}
    State read(base::Buffer& out, size_t) override {
      out.append(std::string(config.piece, static_cast<char>('a' + served)));
      return ++served == config.pieces ? State::kDone : State::kMore;
    }
    const Config& config;
    int served = 0;
  };
  ServesAStream(const Config& config, StreamContext context) : config_(config), context_(context) {}
  Verdict onRequest(http::RequestHead&, bool) {
    filter::Reply& reply = context_.makeReply(200, {}, "streamed");
    reply.source = new Source(config_);
    return Verdict::reply(reply);
  }
  const Config& config_;
  StreamContext context_;
};

// Sends the request round again under another path, once.
struct RestartsElsewhere {
  struct Config {
    std::string to;
    bool after_body = false;
  };
  RestartsElsewhere(const Config& config, StreamContext context) : config_(config), context_(context) {}
  Verdict onRequest(http::RequestHead& head, bool last) {
    if (head.path == config_.to) return Verdict::next();
    if (config_.after_body && !last) return Verdict::hold();
    return go(head);
  }
  Verdict onRequestData(base::Buffer& in, base::Buffer& out, bool last) {
    if (config_.after_body && context_.request().path != config_.to) return last ? go(context_.request()) : Verdict::hold();
    out.move(in);
    return Verdict::next();
  }
  Verdict onRequestTrailers(http::HeaderMap&, base::Buffer&) {
    return config_.after_body && context_.request().path != config_.to ? go(context_.request()) : Verdict::next();
  }
  Verdict go(http::RequestHead& head) {
    head.path = context_.arena().copy(config_.to);
    context_.clearRoute();
    return Verdict::restart();
  }
  const Config& config_;
  StreamContext context_;
};

// Replaces what the upstream answered.
struct RepliesOnTheResponse {
  enum class When { kHead, kData, kTrailers };
  struct Config {
    When when = When::kHead;
  };
  RepliesOnTheResponse(const Config& config, StreamContext context) : config_(config), context_(context) {}
  Verdict onResponse(http::ResponseHead&, bool) { return at(When::kHead); }
  Verdict onResponseData(base::Buffer& in, base::Buffer& out, bool) {
    out.move(in);
    return at(When::kData);
  }
  Verdict onResponseTrailers(http::HeaderMap&, base::Buffer&) { return at(When::kTrailers); }
  Verdict at(When when) { return when == config_.when ? context_.reply(502, "replaced", "replaced") : Verdict::next(); }
  const Config& config_;
  StreamContext context_;
};

// Marks that it was there.
struct LeavesATrace {
  struct Config {
    std::vector<std::string>* trace;
    std::string name;
  };
  LeavesATrace(const Config& config, StreamContext) : config_(config) {}
  ~LeavesATrace() { (void)note("gone"); }
  Verdict onRequest(http::RequestHead&, bool) { return note("request"); }
  Verdict onResponse(http::ResponseHead&, bool) { return note("response"); }
  void onReset(http::ResetReason) { (void)note("reset"); }
  Verdict note(const char* what) {
    config_.trace->push_back(config_.name + ":" + what);
    return Verdict::next();
  }
  const Config& config_;
};

}  // namespace outrider::test
