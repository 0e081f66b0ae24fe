#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>

#include "source/config/route_table.h"
#include "source/event/timer.h"
#include "source/format/format.h"
#include "source/http/h1/bench_messages.h"
#include "source/http/h1/client_codec.h"
#include "source/http/h1/server_codec.h"
#include "source/http/h2/lean.h"
#include "source/stats/stats.h"
#include "source/tls/test_peers.h"
#include "source/upstream/host_set_builder.h"
#include "source/upstream/lb/picker.h"
#include "test/bench/micro/operation.h"

namespace outrider::bench {
namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

// -- HTTP/1: bytes in a buffer to a head in an arena, and back --

using http::h1::kRequest;
using http::h1::kResponse;

http::RequestHead* readRequest(base::Buffer& in, base::Arena& arena, const http::h1::Settings& settings, http::h1::Counters& counters) {
  in.append(std::string_view(kRequest));
  http::h1::HeadFinder finder;
  finder.start();
  require(finder.find(in, settings.max_head_bytes) == http::h1::HeadFinder::Found::kEnd);
  char* const raw = http::h1::takeHead(in, finder.size(), arena);
  auto* const head = arena.make<http::RequestHead>(arena);
  http::h1::Framing framing;
  http::CodecError error;
  require(http::h1::parseRequestHead(raw, finder.size(), settings, counters, "http", *head, framing, error));
  return head;
}

http::ResponseHead* readResponse(base::Buffer& in, base::Arena& arena, const http::h1::Settings& settings, http::h1::Counters& counters) {
  in.append(std::string_view(kResponse));
  http::h1::HeadFinder finder;
  finder.start();
  require(finder.find(in, settings.max_head_bytes) == http::h1::HeadFinder::Found::kEnd);
  char* const raw = http::h1::takeHead(in, finder.size(), arena);
  auto* const head = arena.make<http::ResponseHead>(arena);
  http::h1::Framing framing;
  http::CodecError error;
  require(http::h1::parseResponseHead(raw, finder.size(), settings, counters, {}, *head, framing, error));
  return head;
}

template <bool kOfRequest>
class ParseHead final : public Operation {
 public:
  void run() override {
    base::Arena* const arena = base::Arena::create();
    if constexpr (kOfRequest) {
      benchmark::DoNotOptimize(readRequest(in_, *arena, settings_, counters_));
    } else {
      benchmark::DoNotOptimize(readResponse(in_, *arena, settings_, counters_));
    }
    arena->unref();
  }

 private:
  const http::h1::Settings settings_ = kOfRequest ? http::h1::Settings() : http::h1::Settings::upstream();
  http::h1::Counters counters_;
  base::Buffer in_;
};

template <bool kOfRequest>
class EncodeHead final : public Operation {
 public:
  EncodeHead() {
    base::Buffer in;
    http::h1::Counters counters;
    if constexpr (kOfRequest) {
      request_ = readRequest(in, *arena_, http::h1::Settings(), counters);
      request_->headers.add(http::HeaderId::kForwardedProto, "http");
    } else {
      response_ = readResponse(in, *arena_, http::h1::Settings::upstream(), counters);
      response_->headers.add(http::HeaderId::kEnvoyUpstreamServiceTime, "3");
    }
  }
  ~EncodeHead() override { arena_->unref(); }
  void run() override {
    if constexpr (kOfRequest) {
      require(http::h1::encodeRequestHead(*request_, false, http::h1::OutBody::kNone, out_));
    } else {
      require(http::h1::encodeResponseHead(*response_, http::Protocol::kHttp11, false, http::h1::OutBody::kLength,
                                           http::h1::ConnectionLine::kNone, out_));
    }
    out_.clear();
  }

 private:
  base::Arena* const arena_ = base::Arena::create();
  http::RequestHead* request_ = nullptr;
  http::ResponseHead* response_ = nullptr;
  base::Buffer out_;
};

// -- HTTP/2: a request and its answer through both codecs, HPACK in and out on either side --

class H2Exchange final : public Operation {
 public:
  void run() override { pair_.round(); }

 private:
  http::h2::testing::LeanPair pair_{1, 0};
};

// -- routes: the last one of a table is matched --

using Path = config::RouteMatchSpec::Path;

template <Path kKind, int kRoutes>
class MatchRoute final : public Operation {
 public:
  MatchRoute() {
    config::RouteTableSpec spec;
    config::VirtualHostSpec& host = spec.hosts.emplace_back();
    host.domains = {"a.test"};
    for (int i = 0; i < kRoutes; ++i) {
      config::RouteSpec& route = host.routes.emplace_back();
      route.match.kind = kKind;
      route.match.path = "/service/" + std::to_string(i) + (kKind == Path::kRegex ? "/[a-z]+" : "/api");
      route.forward.cluster = "c";
    }
    table_ = *config::RouteTable::compile(std::move(spec), names_);
    head_.method = "GET";
    head_.authority = "a.test";
    head_.path = path_;
    require(table_->match(head_, {}) != nullptr);
  }
  void run() override { benchmark::DoNotOptimize(table_->match(head_, {})); }

 private:
  struct Memory {
    ~Memory() { arena->unref(); }
    base::Arena* const arena = base::Arena::create();
  };
  const std::string path_ = "/service/" + std::to_string(kRoutes - 1) + "/api";
  config::NameTable names_;
  Memory memory_;
  http::RequestHead head_{*memory_.arena};
  std::shared_ptr<const config::RouteTable> table_;
};

// -- hosts, timers, counters, the line of a log --

template <config::LbKind kKind>
class PickHost final : public Operation {
 public:
  PickHost() {
    std::vector<upstream::Member> members;
    for (int i = 0; i < 10; ++i) {
      members.push_back({upstream::HostRef(new upstream::Host()), 0, 1, 0});
    }
    set_ = upstream::buildHostSet(members, {}, {}, std::make_shared<upstream::LbShared>());
  }
  void run() override {
    bool panic = false;
    word_ = word_ * 6364136223846793005u + 1442695040888963407u;
    benchmark::DoNotOptimize(upstream::lb::pick(*set_, {kKind, 2}, {}, word_ >> 8, word_ * 31, panic));
  }

 private:
  std::unique_ptr<upstream::HostSet> set_;
  uint64_t word_ = 42;
};

class ArmTimer final : public Operation {
 public:
  void run() override {
    timer_.armIn(15 * base::kSecond);
    timer_.cancel();
  }

 private:
  event::TimerWheel wheel_{base::kSecond};
  event::Timer timer_{wheel_, [](void*) {}, nullptr};
};

constexpr stats::Stat kStats[] = {{"first", stats::Kind::kCounter}, {"second", stats::Kind::kCounter}};
constexpr stats::Table kTable = {kStats, std::size(kStats)};

class Count final : public Operation {
 public:
  void run() override { scope_->add(1, 1); }

 private:
  stats::Store store_;
  stats::ScopeRef scope_ = store_.scope("bench.", kTable);
};

class LogLine final : public Operation {
 public:
  LogLine() {
    info_.connection = &connection_;
    info_.start_wall = 1545129600 * base::kSecond + 123'456'789;
    info_.start = 10 * base::kSecond;
    info_.end = info_.start + 7 * base::kMilli;
    info_.has_protocol = true;
    info_.response_code = 200;
    info_.bytes_sent = 1024;
    host_.address = *base::Address::parseIp("127.0.0.1", 80);
    info_.host = &host_;
    base::Buffer in;
    http::h1::Counters counters;
    request_ = readRequest(in, *arena_, http::h1::Settings(), counters);
    response_ = readResponse(in, *arena_, http::h1::Settings::upstream(), counters);
  }
  ~LogLine() override { arena_->unref(); }
  void run() override {
    out_.clear();
    format_.print({request_, response_, nullptr, info_}, out_);
  }

 private:
  base::Arena* const arena_ = base::Arena::create();
  stream::ConnectionInfo connection_;
  stream::HostInfo host_;
  stream::StreamInfo info_;
  http::RequestHead* request_ = nullptr;
  http::ResponseHead* response_ = nullptr;
  const format::Format format_ = *format::Format::compile(format::defaultAccessLogFormat());
  format::Text out_;
};

// -- TLS: a record to the server and one back, over a socket pair, with the loop's turns --

class TlsExchange final : public Operation, private tls::TlsTest {
 public:
  TlsExchange() {
    connect();
    server_->keep = client_->keep = false;
    server_->heard = [this] { server_->say(answer_); };
  }
  void run() override {
    const size_t before = client_->received;
    client_->say(question_);
    turns();
    require(client_->received == before + answer_.size());
  }

 private:
  void TestBody() override {}
  const std::string question_ = std::string(120, 'q'), answer_ = std::string(1200, 'a');
};

template <class T>
std::unique_ptr<Operation> make() {
  return std::make_unique<T>();
}

}  // namespace

const std::vector<Listed>& operations() {
  static const auto* const all = new std::vector<Listed>{
      {"h1.parse_request", 1000, make<ParseHead<true>>},
      {"h1.parse_response", 1000, make<ParseHead<false>>},
      {"h1.encode_request", 1000, make<EncodeHead<true>>},
      {"h1.encode_response", 1000, make<EncodeHead<false>>},
      {"h2.exchange", 300, make<H2Exchange>},
      {"route.exact_1", 2000, make<MatchRoute<Path::kExact, 1>>},
      {"route.exact_10000", 2000, make<MatchRoute<Path::kExact, 10000>>},
      {"route.prefix_1", 2000, make<MatchRoute<Path::kPrefix, 1>>},
      {"route.prefix_10000", 2000, make<MatchRoute<Path::kPrefix, 10000>>},
      {"route.regex_1", 2000, make<MatchRoute<Path::kRegex, 1>>},
      {"route.regex_1000", 500, make<MatchRoute<Path::kRegex, 1000>>},
      {"host.round_robin", 5000, make<PickHost<config::LbKind::kRoundRobin>>},
      {"host.least_request", 5000, make<PickHost<config::LbKind::kLeastRequest>>},
      {"timer.arm_cancel", 5000, make<ArmTimer>},
      {"stats.count", 20000, make<Count>},
      {"log.default_line", 1000, make<LogLine>},
      {"tls.exchange", 200, make<TlsExchange>},
  };
  return *all;
}

}  // namespace outrider::bench
