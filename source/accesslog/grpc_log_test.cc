#include "source/accesslog/grpc_log.h"

#include "envoy/config/accesslog/v3/accesslog.pb.h"
#include "envoy/service/accesslog/v3/als.pb.h"
#include "source/accesslog/access_log_parse.h"
#include "source/config/yaml.h"
#include "source/upstream/h2_peer.h"

namespace outrider::accesslog {
namespace {

using envoy::service::accesslog::v3::StreamAccessLogsMessage;
using upstream::H2Peer;

// A worker with a cluster named "logs" that is the collector.
class GrpcLogTest : public testing::Test {
 protected:
  GrpcLogTest()
      : logs_(std::make_shared<GrpcLogs>(world_.stats, "\x0a\x04node")), streams_(std::in_place, *logs_, world_.loop, world_.view, 0) {
    target_.cluster = "logs";
    target_.log_name = "mine";
    target_.flush_interval = 20 * base::kMilli;
    request_.method = "GET";
    request_.path = "/a";
    request_.authority = "h";
    request_.scheme = "http";
    info_.start = base::kSecond;
    info_.start_wall = 5 * base::kSecond;
    info_.end = base::kSecond + 7 * base::kMilli;
    info_.has_protocol = true;
    info_.response_code = 200;
  }
  ~GrpcLogTest() override {
    streams_.reset();
    world_.turns(2);
    arena_->unref();
  }

  void collectorAt(H2Peer& peer) {
    auto spec = upstream::h2Spec("logs", {peer.address});
    world_.serve(spec);
  }
  void log(int times = 1, GrpcEntryFields fields = {}) {
    const GrpcLog log(logs_, target_, std::move(fields), std::nullopt);
    for (int i = 0; i < times; ++i) log.log({&request_, nullptr, nullptr, info_});
  }
  uint64_t count(GrpcLogStat stat) { return logs_->stats().read(stat); }
  // The messages of one stream, so far.
  static std::vector<StreamAccessLogsMessage> messages(const H2Peer::Request& request) {
    std::vector<StreamAccessLogsMessage> out;
    for (size_t at = 0; at + 5 <= request.body.size();) {
      const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(request.body[at + i])); };
      const size_t size = byte(1) << 24 | byte(2) << 16 | byte(3) << 8 | byte(4);
      if (at + 5 + size > request.body.size()) break;
      EXPECT_TRUE(out.emplace_back().ParseFromArray(request.body.data() + at + 5, static_cast<int>(size)));
      at += 5 + size;
    }
    return out;
  }

  upstream::World world_;
  std::shared_ptr<GrpcLogs> logs_;
  std::optional<GrpcLogStreams> streams_;
  GrpcTarget target_;
  base::Arena* arena_ = base::Arena::create();
  http::RequestHead request_{*arena_};
  stream::StreamInfo info_;
};

TEST_F(GrpcLogTest, AStreamBeginsWithWhoSpeaksAndGoesOnWithEntries) {
  H2Peer peer(world_.loop);
  collectorAt(peer);
  log(2);
  ASSERT_TRUE(world_.until([&] { return !peer.requests.empty() && messages(*peer.requests[0]).size() == 1; }));
  EXPECT_EQ(peer.requests[0]->path, "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs");
  const StreamAccessLogsMessage first = messages(*peer.requests[0])[0];
  EXPECT_EQ(first.identifier().log_name(), "mine");
  EXPECT_EQ(first.identifier().node().id(), "node");
  ASSERT_EQ(first.http_logs().log_entry_size(), 2);
  EXPECT_EQ(first.http_logs().log_entry(0).request().path(), "/a");
  EXPECT_EQ(first.http_logs().log_entry(0).response().response_code().value(), 200u);
  EXPECT_EQ(first.http_logs().log_entry(0).common_properties().duration().nanos(), 7'000'000);
  log();
  ASSERT_TRUE(world_.until([&] { return messages(*peer.requests[0]).size() == 2; }));
  EXPECT_FALSE(messages(*peer.requests[0])[1].has_identifier());
  EXPECT_EQ(count(GrpcLogStat::kLogsWritten), 3u);
  EXPECT_EQ(count(GrpcLogStat::kFlushed), 3u);
  EXPECT_EQ(count(GrpcLogStat::kLogsDropped), 0u);
}

TEST_F(GrpcLogTest, AFullBufferGoesOutBeforeItsTime) {
  H2Peer peer(world_.loop);
  collectorAt(peer);
  target_.flush_interval = 3600 * base::kSecond;
  target_.buffer_bytes = 200;
  log(20);
  ASSERT_TRUE(world_.until([&] { return !peer.requests.empty() && !messages(*peer.requests[0]).empty(); }));
  EXPECT_GT(messages(*peer.requests[0])[0].http_logs().log_entry_size(), 1);
}

TEST_F(GrpcLogTest, LogsOfOneTargetShareAStream) {
  H2Peer peer(world_.loop);
  collectorAt(peer);
  log();
  log();
  target_.log_name = "other";
  log();
  ASSERT_TRUE(world_.until([&] { return peer.requests.size() == 2 && !messages(*peer.requests[1]).empty(); }));
  world_.turns(5);
  EXPECT_EQ(peer.requests.size(), 2u);
}

TEST_F(GrpcLogTest, WithoutACollectorTheBufferIsBoundedAndDropsAreCounted) {
  target_.buffer_bytes = 300;
  log(50);  // no cluster of that name
  world_.turns(5);
  EXPECT_GT(count(GrpcLogStat::kLogsDropped), 30u);
  EXPECT_EQ(count(GrpcLogStat::kLogsDropped) + count(GrpcLogStat::kLogsWritten), 50u);
  EXPECT_EQ(count(GrpcLogStat::kFlushed), 0u);
}

TEST_F(GrpcLogTest, EntriesOfACallThatGotNoConnectionAreCounted) {
  auto spec = upstream::h2Spec("logs", {*base::Address::parseIp("127.0.0.1", 1)});
  world_.serve(spec);
  log();
  ASSERT_TRUE(world_.until([&] { return count(GrpcLogStat::kFlushFailed) == 1; }));
  EXPECT_EQ(count(GrpcLogStat::kFlushed), 0u);
}

TEST_F(GrpcLogTest, AStreamThatEndedIsBegunAnew) {
  H2Peer peer(world_.loop);
  collectorAt(peer);
  log();
  ASSERT_TRUE(world_.until([&] { return !peer.requests.empty() && !messages(*peer.requests[0]).empty(); }));
  peer.requests[0]->reset();
  world_.turns(3);
  log();
  ASSERT_TRUE(world_.until([&] { return peer.requests.size() == 2 && !messages(*peer.requests[1]).empty(); }));
  EXPECT_EQ(messages(*peer.requests[1])[0].identifier().log_name(), "mine");
}

TEST_F(GrpcLogTest, AThreadWithoutStreamsOnlyCounts) {
  streams_.reset();
  log();
  EXPECT_EQ(count(GrpcLogStat::kLogsDropped), 1u);
  streams_.emplace(*logs_, world_.loop, world_.view, 0);
}

TEST_F(GrpcLogTest, EntriesCarryWhatWasAskedFor) {
  GrpcEntryFields fields;
  fields.request_headers.emplace_back("X-A");
  fields.tags.push_back({"fixed", "v", {}});
  fields.tags.push_back({"head", "default", http::FieldName("x-b")});
  fields.tags.push_back({"absent", "", http::FieldName("x-c")});
  request_.headers.add("x-a", "1");
  info_.flags.set(stream::ResponseFlag::kUpstreamOverflow);
  info_.flags.set(stream::ResponseFlag::kUnauthorizedExternalService);
  std::string bytes;
  appendEntry(EntryKind::kHttp, {&request_, nullptr, nullptr, info_}, fields, bytes);
  StreamAccessLogsMessage message;
  ASSERT_TRUE(message.ParseFromString(entriesMessage(EntryKind::kHttp, bytes, nullptr, {})));
  const auto& entry = message.http_logs().log_entry(0);
  EXPECT_EQ(entry.request().request_headers().at("x-a"), "1");
  EXPECT_EQ(entry.common_properties().custom_tags().at("fixed"), "v");
  EXPECT_EQ(entry.common_properties().custom_tags().at("head"), "default");
  EXPECT_EQ(entry.common_properties().custom_tags().count("absent"), 0u);
  EXPECT_TRUE(entry.common_properties().response_flags().upstream_overflow());
  EXPECT_TRUE(entry.common_properties().response_flags().has_unauthorized_details());
  EXPECT_FALSE(entry.common_properties().response_flags().no_route_found());
}

TEST_F(GrpcLogTest, ATcpEntryHasItsBytes) {
  info_.has_protocol = false;
  info_.bytes_received = 3;
  info_.bytes_sent = 70000;
  std::string bytes;
  appendEntry(EntryKind::kTcp, {nullptr, nullptr, nullptr, info_}, {}, bytes);
  StreamAccessLogsMessage message;
  ASSERT_TRUE(message.ParseFromString(entriesMessage(EntryKind::kTcp, bytes, nullptr, {})));
  EXPECT_EQ(message.tcp_logs().log_entry(0).connection_properties().sent_bytes(), 70000u);
  EXPECT_EQ(message.tcp_logs().log_entry(0).common_properties().access_log_type(), envoy::data::accesslog::v3::TcpConnectionEnd);
}

// ---- its config ----

class GrpcLogParseTest : public testing::Test {
 protected:
  std::shared_ptr<const AccessLog> parse(std::string_view yaml) {
    problems_ = config::Problems();
    envoy::config::accesslog::v3::AccessLog in;
    config::UnknownFields unknown;
    config::parseContent(std::string(yaml), "test.yaml", in, unknown, problems_);
    EXPECT_TRUE(problems_.empty()) << problems_.str();
    return parseAccessLog(in, files_, problems_, logs_);
  }
  stats::Store stats_;
  LogFiles files_{stats_, {}};
  std::shared_ptr<GrpcLogs> logs_ = std::make_shared<GrpcLogs>(stats_, "");
  config::Problems problems_;
};

constexpr std::string_view kGood = R"(
name: x
typed_config:
  "@type": type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig
  common_config:
    log_name: mine
    transport_api_version: V3
    buffer_size_bytes: 100
    buffer_flush_interval: 3s
    grpc_service: {envoy_grpc: {cluster_name: logs, authority: a}, timeout: 5s, initial_metadata: [{key: X-K, value: v}]}
)";

TEST_F(GrpcLogParseTest, TheTargetIsWhatTheConfigSays) {
  ASSERT_NE(parse(kGood), nullptr) << problems_.str();
  GrpcTarget want;
  want.cluster = "logs";
  want.authority = "a";
  want.log_name = "mine";
  want.timeout = 5 * base::kSecond;
  want.metadata = {{"x-k", "v"}};
  want.flush_interval = 3 * base::kSecond;
  want.buffer_bytes = 100;
  EXPECT_EQ(logs_->at(0), want);
  ASSERT_NE(parse(kGood), nullptr);
  EXPECT_EQ(logs_->target(want), 0u);  // the same again: the same streams
}

TEST_F(GrpcLogParseTest, WhatCannotBeDoneIsRefusedOrReported) {
  std::string text(kGood);
  text.replace(text.find("envoy_grpc: {cluster_name: logs, authority: a}"), 46, "google_grpc: {target_uri: x, stat_prefix: y}");
  EXPECT_EQ(parse(text), nullptr);
  EXPECT_NE(problems_.str().find("typed_config.common_config.grpc_service.google_grpc: is not supported"), std::string::npos)
      << problems_.str();
  text = kGood;
  text.replace(text.find("log_name: mine"), 14, "log_name: ''");
  EXPECT_EQ(parse(text), nullptr);
  text = std::string(kGood) + "    filter_state_objects_to_log: [a]\n    grpc_stream_retry_policy: {}\n";
  EXPECT_NE(parse(text), nullptr);
  EXPECT_EQ(problems_.unsupportedPaths().size(), 2u);
}

}  // namespace
}  // namespace outrider::accesslog
