#include "source/filter/network/http_connection_manager/hcm_parse.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/config/route/v3/scoped_route.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/http/original_ip_detection/custom_header/v3/custom_header.pb.h"
#include "envoy/extensions/http/original_ip_detection/xff/v3/xff.pb.h"
#include "envoy/extensions/request_id/uuid/v3/uuid.pb.h"
#include "source/config/any.h"
#include "source/config/checked_any.h"
#include "source/config/header_case.h"
#include "source/config/route_parse.h"
#include "source/config/route_table.h"
#include "source/config/validate.h"
#include "source/filter/network/http_connection_manager/hcm_reply_parse.h"

namespace outrider::filter::network::http_connection_manager {

namespace pb = envoy::extensions::filters::network::http_connection_manager::v3;
namespace core = envoy::config::core::v3;
namespace detect = envoy::extensions::http::original_ip_detection;
namespace uuid = envoy::extensions::request_id::uuid::v3;

namespace {

// What this parser reads, below its own message; other messages are reported by who parses them.
const config::Checker& checker() {
  static const config::Checker* const made = [] {
    auto* honored = new config::Honored();
    honored->fields<pb::HttpConnectionManager>({"codec_type",
                                                "stat_prefix",
                                                "rds",
                                                "route_config",
                                                "scoped_routes",
                                                "http_filters",
                                                "add_user_agent",
                                                "common_http_protocol_options",
                                                "http_protocol_options",
                                                "http2_protocol_options",
                                                "server_name",
                                                "server_header_transformation",
                                                "scheme_header_transformation",
                                                "max_request_headers_kb",
                                                "stream_idle_timeout",
                                                "request_timeout",
                                                "request_headers_timeout",
                                                "drain_timeout",
                                                "delayed_close_timeout",
                                                "access_log",
                                                "use_remote_address",
                                                "xff_num_trusted_hops",
                                                "original_ip_detection_extensions",
                                                "early_header_mutation_extensions",
                                                "internal_address_config",
                                                "skip_xff_append",
                                                "via",
                                                "generate_request_id",
                                                "preserve_external_request_id",
                                                "always_set_request_id_in_response",
                                                "forward_client_cert_details",
                                                "set_current_client_cert_details",
                                                "proxy_100_continue",
                                                "upgrade_configs",
                                                "normalize_path",
                                                "merge_slashes",
                                                "path_with_escaped_slashes_action",
                                                "request_id_extension",
                                                "local_reply_config",
                                                "strip_matching_host_port",
                                                "strip_any_host_port",
                                                "stream_error_on_invalid_http_message",
                                                "strip_trailing_host_dot",
                                                "append_x_forwarded_port"});
    // They decide what upstreams believe of the client, and which path is the one that rules hold for.
    honored->refuse<pb::HttpConnectionManager>({"forward_client_cert_matcher", "path_normalization_options"});
    honored->fields<core::HttpProtocolOptions>({"idle_timeout", "max_connection_duration", "max_headers_count", "max_stream_duration",
                                                "headers_with_underscores_action", "max_requests_per_connection"});
    honored->fields<core::Http1ProtocolOptions>({"allow_absolute_url", "accept_http_10", "default_host_for_http_10", "enable_trailers",
                                                 "allow_chunked_length", "allow_custom_methods", "header_key_format"});
    honored->all<core::Http1ProtocolOptions::HeaderKeyFormat>();
    honored->fields<core::Http2ProtocolOptions>(
        {"hpack_table_size", "max_concurrent_streams", "initial_stream_window_size", "initial_connection_window_size", "allow_connect",
         "max_outbound_frames", "max_outbound_control_frames", "max_consecutive_inbound_frames_with_empty_payload",
         "max_inbound_priority_frames_per_stream", "max_inbound_window_update_frames_per_data_frame_sent",
         "override_stream_error_on_invalid_http_message", "connection_keepalive"});
    honored->fields<core::KeepaliveSettings>({"interval", "timeout", "interval_jitter"});
    honored->all<pb::HttpConnectionManager::InternalAddressConfig>();
    honored->all<pb::HttpConnectionManager::SetCurrentClientCertDetails>();
    honored->all<pb::HttpConnectionManager::UpgradeConfig>();
    honored->all<pb::LocalReplyConfig>();
    honored->all<pb::ResponseMapper>();
    return new config::Checker(honored);
  }();
  return *made;
}

base::Nanos nanosOf(const google::protobuf::Duration& duration) { return duration.seconds() * base::kSecond + duration.nanos(); }

class Parser {
 public:
  Parser(const pb::HttpConnectionManager& in, FilterContext& context, HcmConfig& out)
      : in_(in), context_(context), problems_(context.parse.problems), out_(out), spec_(out.spec) {}

  void run() {
    defaults();
    basics();
    common();
    http1();
    http2();
    client();
    paths();
    routes();
    filters();
    upgrades();
    accessLogs();
    rest();
  }

 private:
  template <class T>
  void time(std::string_view name, bool set, const T& value, base::Nanos& out) {
    if (!set) return;
    out = nanosOf(value);
    if (out < 0) problems_.addAt(name, std::to_string(value.seconds()) + "s", "is negative", "0 switches it off");
  }

  // What an unset field means: Envoy's value where it is safe or asked for, else ours.
  void defaults() {
    if (!context_.parse.defaults.envoy) return;
    spec_.h1.lenient = http::h1::Lenient::all();
    spec_.h1.answer_half_closed = false;
    spec_.h2.max_concurrent_streams = 1024;
    spec_.h2.initial_stream_window = 16 << 20;
    spec_.h2.initial_connection_window = 24 << 20;
    spec_.h2.stream_error_on_invalid_http_message = false;
    spec_.h2.allow_underscore_twins = true;
    spec_.h2.allow_high_bytes_in_path = true;
    spec_.h2.allow_host_mismatch = true;
    spec_.h2.match_transport_scheme = false;
    spec_.request_headers_timeout = 0;
    spec_.normalize_path = false;
    spec_.merge_slashes = false;
    spec_.escaped_slashes = EscapedSlashes::kKeep;
    spec_.reject_bad_percent = false;
    spec_.one_case_of_escapes = false;
    spec_.reject_trace = false;
    spec_.strip_untrusted_internal = false;
  }

  void basics() {
    spec_.stat_prefix = in_.stat_prefix();
    context_.http_stat_prefix = "http." + spec_.stat_prefix + ".";
    switch (in_.codec_type()) {
      case pb::HttpConnectionManager::AUTO: spec_.codec = CodecType::kAuto; break;
      case pb::HttpConnectionManager::HTTP1: spec_.codec = CodecType::kHttp1; break;
      case pb::HttpConnectionManager::HTTP2: spec_.codec = CodecType::kHttp2; break;
      default: problems_.addAt("codec_type", "HTTP3", "is not supported", "AUTO, HTTP1 or HTTP2");
    }
    out_.stats = HcmStats(context_.parse.stats.scope("http." + spec_.stat_prefix + ".", kHcmTable));
    out_.listener_stats = ListenerHttpStats(
        context_.parse.stats.scope(context_.listener_stat_prefix + "http." + spec_.stat_prefix + ".", kListenerHttpTable));
    out_.reasons = context_.parse.stats.series(absl::StrCat("http.", spec_.stat_prefix, ".outrider_reason."));
    out_.codec_stats = std::make_shared<CodecStats>(context_.parse.stats);
    time("stream_idle_timeout", in_.has_stream_idle_timeout(), in_.stream_idle_timeout(), spec_.stream_idle_timeout);
    time("request_timeout", in_.has_request_timeout(), in_.request_timeout(), spec_.request_timeout);
    time("request_headers_timeout", in_.has_request_headers_timeout(), in_.request_headers_timeout(), spec_.request_headers_timeout);
    time("drain_timeout", in_.has_drain_timeout(), in_.drain_timeout(), spec_.drain_timeout);
    time("delayed_close_timeout", in_.has_delayed_close_timeout(), in_.delayed_close_timeout(), spec_.delayed_close_timeout);
    if (!in_.server_name().empty()) spec_.server_name = in_.server_name();
    switch (in_.server_header_transformation()) {
      case pb::HttpConnectionManager::OVERWRITE: spec_.server_header = ServerHeader::kOverwrite; break;
      case pb::HttpConnectionManager::APPEND_IF_ABSENT: spec_.server_header = ServerHeader::kAppendIfAbsent; break;
      case pb::HttpConnectionManager::PASS_THROUGH: spec_.server_header = ServerHeader::kPassThrough; break;
      default: break;
    }
    if (in_.has_generate_request_id()) spec_.generate_request_id = in_.generate_request_id().value();
    spec_.preserve_external_request_id = in_.preserve_external_request_id();
    spec_.always_set_request_id_in_response = in_.always_set_request_id_in_response();
    spec_.via = in_.via();
    spec_.h1.buffer_limit = context_.buffer_limit;
    spec_.proxy_100_continue = in_.proxy_100_continue();
    spec_.append_forwarded_port = in_.append_x_forwarded_port();
    if (in_.has_max_request_headers_kb()) {
      spec_.h1.max_head_bytes = in_.max_request_headers_kb().value() * 1024;
      spec_.h2.max_header_bytes = in_.max_request_headers_kb().value() * 1024;
    }
  }

  void common() {
    const core::HttpProtocolOptions& common = in_.common_http_protocol_options();
    const auto at = problems_.field("common_http_protocol_options");
    time("idle_timeout", common.has_idle_timeout(), common.idle_timeout(), spec_.idle_timeout);
    time("max_connection_duration", common.has_max_connection_duration(), common.max_connection_duration(), spec_.max_connection_duration);
    time("max_stream_duration", common.has_max_stream_duration(), common.max_stream_duration(), spec_.max_stream_duration);
    if (common.has_max_headers_count()) spec_.h1.max_headers = spec_.h2.max_header_count = common.max_headers_count().value();
    if (common.has_max_requests_per_connection()) spec_.max_requests_per_connection = common.max_requests_per_connection().value();
    switch (common.headers_with_underscores_action()) {
      case core::HttpProtocolOptions::REJECT_REQUEST:
        spec_.h1.underscores = http::h1::Underscores::kReject;
        spec_.h2.underscores = http::h2::Underscores::kReject;
        break;
      case core::HttpProtocolOptions::DROP_HEADER:
        spec_.h1.underscores = http::h1::Underscores::kDrop;
        spec_.h2.underscores = http::h2::Underscores::kDrop;
        break;
      default: break;
    }
  }

  void http1() {
    const core::Http1ProtocolOptions& options = in_.http_protocol_options();
    const auto at = problems_.field("http_protocol_options");
    http::h1::Settings& h1 = spec_.h1;
    if (options.has_allow_absolute_url()) h1.allow_absolute_url = options.allow_absolute_url().value();
    h1.accept_http_10 = options.accept_http_10();
    h1.default_host_for_http_10 = options.default_host_for_http_10();
    h1.enable_trailers = options.enable_trailers();
    h1.allow_chunked_length = options.allow_chunked_length();
    h1.allow_custom_methods = options.allow_custom_methods();
    const config::HeaderCase names = config::parseHeaderCase(options, problems_);
    h1.proper_case = names.proper;
    h1.preserve_case = names.preserve;
    h1.preserve_case_proper = names.preserve_proper;
  }

  void http2() {
    const core::Http2ProtocolOptions& options = in_.http2_protocol_options();
    const auto at = problems_.field("http2_protocol_options");
    http::h2::Settings& h2 = spec_.h2;
    if (options.has_hpack_table_size()) h2.hpack_table_size = options.hpack_table_size().value();
    if (options.has_max_concurrent_streams()) h2.max_concurrent_streams = options.max_concurrent_streams().value();
    if (options.has_initial_stream_window_size()) h2.initial_stream_window = options.initial_stream_window_size().value();
    if (options.has_initial_connection_window_size()) {
      h2.initial_connection_window = options.initial_connection_window_size().value();
    }
    h2.allow_connect = options.allow_connect();
    if (options.has_max_outbound_frames()) h2.max_outbound_frames = options.max_outbound_frames().value();
    if (options.has_max_outbound_control_frames()) h2.max_outbound_control_frames = options.max_outbound_control_frames().value();
    if (options.has_max_consecutive_inbound_frames_with_empty_payload()) {
      h2.max_consecutive_empty_frames = options.max_consecutive_inbound_frames_with_empty_payload().value();
    }
    if (options.has_max_inbound_priority_frames_per_stream()) {
      h2.max_priority_frames_per_stream = options.max_inbound_priority_frames_per_stream().value();
    }
    if (options.has_max_inbound_window_update_frames_per_data_frame_sent()) {
      h2.max_window_updates_per_data_frame = options.max_inbound_window_update_frames_per_data_frame_sent().value();
    }
    if (options.has_override_stream_error_on_invalid_http_message()) {
      h2.stream_error_on_invalid_http_message = options.override_stream_error_on_invalid_http_message().value();
    } else if (in_.has_stream_error_on_invalid_http_message()) {
      h2.stream_error_on_invalid_http_message = in_.stream_error_on_invalid_http_message().value();
    }
    if (options.has_connection_keepalive()) {
      const core::KeepaliveSettings& keepalive = options.connection_keepalive();
      const auto inside = problems_.field("connection_keepalive");
      time("interval", keepalive.has_interval(), keepalive.interval(), h2.keepalive.interval);
      time("timeout", keepalive.has_timeout(), keepalive.timeout(), h2.keepalive.timeout);
      if (keepalive.has_interval_jitter()) {
        h2.keepalive.jitter_percent = static_cast<uint32_t>(keepalive.interval_jitter().value());
      }
    }
    if (h2.max_concurrent_streams == 0) problems_.addAt("max_concurrent_streams", "0", "is too small", "1 to 2147483647");
    if (h2.initial_stream_window < 65535) {
      problems_.addAt("initial_stream_window_size", std::to_string(h2.initial_stream_window), "is too small", "65535 to 2147483647");
    }
    if (h2.initial_connection_window < 65535) {
      problems_.addAt("initial_connection_window_size", std::to_string(h2.initial_connection_window), "is too small",
                      "65535 to 2147483647");
    }
  }

  void client() {
    if (in_.has_use_remote_address()) spec_.use_remote_address = in_.use_remote_address().value();
    spec_.xff_num_trusted_hops = in_.xff_num_trusted_hops();
    spec_.skip_xff_append = in_.skip_xff_append();
    spec_.add_user_agent = false;
    if (in_.has_add_user_agent() && in_.add_user_agent().value()) problems_.unsupported("add_user_agent");
    if (in_.has_internal_address_config()) {
      spec_.internal_ranges.clear();
      spec_.internal_unix = in_.internal_address_config().unix_sockets();
      const auto at = problems_.field("internal_address_config");
      ranges("cidr_ranges", in_.internal_address_config().cidr_ranges(), spec_.internal_ranges);
    }
    switch (in_.forward_client_cert_details()) {
      case pb::HttpConnectionManager::FORWARD_ONLY: spec_.client_cert = ClientCert::kForwardOnly; break;
      case pb::HttpConnectionManager::APPEND_FORWARD: spec_.client_cert = ClientCert::kAppendForward; break;
      case pb::HttpConnectionManager::SANITIZE_SET: spec_.client_cert = ClientCert::kSanitizeSet; break;
      case pb::HttpConnectionManager::ALWAYS_FORWARD_ONLY: spec_.client_cert = ClientCert::kAlwaysForwardOnly; break;
      default: spec_.client_cert = ClientCert::kSanitize;
    }
    const auto& details = in_.set_current_client_cert_details();
    spec_.cert_subject = details.subject().value();
    spec_.cert_cert = details.cert();
    spec_.cert_chain = details.chain();
    spec_.cert_dns = details.dns();
    spec_.cert_uri = details.uri();
    for (int i = 0; i < in_.original_ip_detection_extensions_size(); ++i) {
      const auto at = problems_.element("original_ip_detection_extensions", static_cast<size_t>(i));
      detection(in_.original_ip_detection_extensions(i));
    }
    if (spec_.ip_detection.empty()) return;
    if (spec_.use_remote_address) problems_.addAt("use_remote_address", "true", "stands beside original_ip_detection_extensions");
    if (spec_.xff_num_trusted_hops > 0) {
      problems_.addAt("xff_num_trusted_hops", std::to_string(spec_.xff_num_trusted_hops), "stands beside original_ip_detection_extensions",
                      "the field of that name inside of the extension");
    }
  }

  void detection(const core::TypedExtensionConfig& in) {
    const auto at = problems_.field("typed_config");
    const std::string type = config::innerType(in.typed_config());
    IpDetection out;
    if (type == detect::xff::v3::XffConfig::descriptor()->full_name()) {
      detect::xff::v3::XffConfig xff;
      if (!config::unpackChecked(in.typed_config(), xff, problems_)) return;
      out.trusted_hops = xff.xff_num_trusted_hops();
      if (xff.has_skip_xff_append()) out.skip_append = xff.skip_xff_append().value();
      if (xff.has_xff_trusted_cidrs()) {
        if (out.trusted_hops > 0) {
          problems_.addAt("xff_num_trusted_hops", std::to_string(out.trusted_hops), "stands beside xff_trusted_cidrs");
        }
        const auto inside = problems_.field("xff_trusted_cidrs");
        ranges("cidrs", xff.xff_trusted_cidrs().cidrs(), out.trusted);
      }
    } else if (type == detect::custom_header::v3::CustomHeaderConfig::descriptor()->full_name()) {
      detect::custom_header::v3::CustomHeaderConfig header;
      if (!config::unpackChecked(in.typed_config(), header, problems_)) return;
      out.kind = IpDetection::Kind::kHeader;
      out.header = absl::AsciiStrToLower(header.header_name());
      out.trusted_address = header.allow_extension_to_set_address_as_trusted();
      if (header.has_reject_with_status()) {
        const int code = header.reject_with_status().code();
        out.reject = code >= 400 && code <= 511 ? static_cast<uint16_t>(code) : 403;
      }
    } else {
      problems_.add(type, "is not supported; who the client is would be decided differently",
                    "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig or custom_header.v3.CustomHeaderConfig");
      return;
    }
    spec_.ip_detection.push_back(std::move(out));
  }

  template <class List>
  void ranges(std::string_view field, const List& in, std::vector<base::CidrRange>& out) {
    for (int i = 0; i < in.size(); ++i) {
      const core::CidrRange& range = in.Get(i);
      const auto parsed = base::CidrRange::parse(range.address_prefix(), range.prefix_len().value());
      const auto element = problems_.element(field, static_cast<size_t>(i));
      if (!parsed) {
        problems_.add(range.address_prefix(), "is no address range", "an IP address and a prefix length that fits it");
      } else {
        out.push_back(*parsed);
      }
    }
  }

  void paths() {
    if (in_.has_normalize_path()) spec_.normalize_path = in_.normalize_path().value();
    // An explicit choice of one keeps Envoy's meaning for the others.
    spec_.merge_slashes = in_.merge_slashes() || (!in_.has_normalize_path() && spec_.merge_slashes);
    switch (in_.path_with_escaped_slashes_action()) {
      case pb::HttpConnectionManager::KEEP_UNCHANGED: spec_.escaped_slashes = EscapedSlashes::kKeep; break;
      case pb::HttpConnectionManager::REJECT_REQUEST: spec_.escaped_slashes = EscapedSlashes::kReject; break;
      case pb::HttpConnectionManager::UNESCAPE_AND_REDIRECT: spec_.escaped_slashes = EscapedSlashes::kUnescapeAndRedirect; break;
      case pb::HttpConnectionManager::UNESCAPE_AND_FORWARD: spec_.escaped_slashes = EscapedSlashes::kUnescapeAndForward; break;
      default: break;
    }
    if (in_.scheme_header_transformation().match_upstream()) {
      const auto at = problems_.field("scheme_header_transformation");
      problems_.unsupported("match_upstream");
    }
    spec_.scheme = in_.scheme_header_transformation().scheme_to_overwrite();
    spec_.strip_matching_port = in_.strip_matching_host_port();
    spec_.strip_any_port = in_.strip_any_host_port();
    spec_.strip_trailing_dot = in_.strip_trailing_host_dot();
  }

  void routes() {
    switch (in_.route_specifier_case()) {
      case pb::HttpConnectionManager::kRouteConfig: {
        const auto at = problems_.field("route_config");
        std::shared_ptr<const config::RouteTable> table = config::parseRouteTable(in_.route_config(), context_.parse);
        out_.routes = context_.route_names.idOfInline();
        addTable(out_.routes, std::move(table));
        break;
      }
      case pb::HttpConnectionManager::kRds: {
        const auto at = problems_.field("rds");
        std::string name = in_.rds().route_config_name();
        if (name.empty()) problems_.addAt("route_config_name", {}, "is empty");
        const std::string source = in_.rds().config_source().SerializeAsString();
        checkSource("config_source", source, envoy::config::route::v3::RouteConfiguration::descriptor()->full_name());
        out_.routes = context_.route_names.idOfRds(name, source);
        addRds(out_.routes, name, source);
        break;
      }
      case pb::HttpConnectionManager::kScopedRoutes: scopes(in_.scoped_routes()); break;
      case pb::HttpConnectionManager::ROUTE_SPECIFIER_NOT_SET:
        problems_.add("has no routes; one of route_config, rds, scoped_routes must be set");
        break;
    }
  }

  void checkSource(std::string_view field, const std::string& source, const std::string& type) {
    const auto at = problems_.field(field);
    context_.route_names.checkSource(source, type, problems_);
  }

  void addTable(config::RouteTableId id, std::shared_ptr<const config::RouteTable> table) {
    out_.leases.push_back(context_.route_names.leaseOf(id));
    context_.needs.tables.push_back({id, std::move(table), out_.leases.back()});
  }

  void addRds(config::RouteTableId id, const std::string& name, const std::string& source) {
    out_.leases.push_back(context_.route_names.leaseOf(id));
    context_.needs.rds.push_back({id, name, source, absl::StrCat(context_.http_stat_prefix, "rds.", name, ".")});
  }

  void scopes(const pb::ScopedRoutes& in) {
    const auto at = problems_.field("scoped_routes");
    config::ScopeKeySpec key;
    {
      const auto inside = problems_.field("scope_key_builder");
      key = config::parseScopeKey(in.scope_key_builder(), problems_);
    }
    const size_t fragments = key.fragments.size();
    out_.scope_key = std::make_shared<config::ScopeKey>(std::move(key));
    const std::string source = in.rds_config_source().SerializeAsString();
    if (in.has_rds_config_source()) {
      checkSource("rds_config_source", source, envoy::config::route::v3::RouteConfiguration::descriptor()->full_name());
    }
    if (in.has_scoped_rds()) {
      const auto inside = problems_.field("scoped_rds");
      const std::string scoped = in.scoped_rds().scoped_rds_config_source().SerializeAsString();
      checkSource("scoped_rds_config_source", scoped, envoy::config::route::v3::ScopedRouteConfiguration::descriptor()->full_name());
      out_.scope_set =
          context_.route_names.idOfScopes(absl::StrCat(scoped.size(), ":", scoped, in.scoped_rds().srds_resources_locator(), "\n", source));
      if (out_.scope_set == config::kNoScopeSet) {
        problems_.add({}, "is not supported", "scoped_route_configurations_list");
        return;
      }
      context_.needs.scope_sets.push_back({out_.scope_set, in.name(), scoped, source, in.scoped_rds().srds_resources_locator(),
                                           absl::StrCat(context_.http_stat_prefix, "scoped_rds.", in.name(), ".")});
      return;
    }
    if (!in.has_scoped_route_configurations_list()) {
      problems_.add("has no scopes; one of scoped_route_configurations_list, scoped_rds must be set");
      return;
    }
    const auto inside = problems_.field("scoped_route_configurations_list");
    auto index = std::make_shared<config::ScopeIndex>();
    const auto& list = in.scoped_route_configurations_list();
    for (int i = 0; i < list.scoped_route_configurations_size(); ++i) {
      const auto& each = list.scoped_route_configurations(i);
      const auto element = problems_.element("scoped_route_configurations", static_cast<size_t>(i));
      const size_t before = problems_.size();
      const config::ScopeSpec scope = config::parseScope(each, problems_);
      if (problems_.size() > before) continue;
      if (scope.key.size() != fragments) {
        problems_.addAt("key", std::to_string(scope.key.size()), "is another number of fragments than scope_key_builder makes",
                        std::to_string(fragments));
        continue;
      }
      config::RouteTableId id;
      if (each.has_route_configuration()) {
        const auto table_at = problems_.field("route_configuration");
        id = context_.route_names.idOfInline();
        addTable(id, config::parseRouteTable(each.route_configuration(), context_.parse));
      } else {
        id = context_.route_names.idOfRds(scope.route_config, source);
        addRds(id, scope.route_config, source);
      }
      if (!index->add(scope, id)) problems_.addAt("key", {}, "is the key of another scope already");
    }
    out_.inline_scopes = std::move(index);
  }

  void filters() {
    std::vector<HttpChain::Entry> entries;
    const TerminalOps* terminal = nullptr;
    std::shared_ptr<const void> terminal_config;
    for (int i = 0; i < in_.http_filters_size(); ++i) {
      const pb::HttpFilter& filter = in_.http_filters(i);
      const auto at = problems_.element("http_filters", static_cast<size_t>(i));
      const bool last = i + 1 == in_.http_filters_size();
      if (filter.has_config_discovery()) {
        problems_.addAt("config_discovery", {}, "is not supported", "typed_config");
        continue;
      }
      const auto typed = problems_.field("typed_config");
      if (!filter.has_typed_config()) {
        problems_.add("is missing");
        continue;
      }
      const std::string type = config::innerType(filter.typed_config());
      const auto* entry = context_.registry.http.find(type);
      if (entry == nullptr || entry->posture == config::Posture::kRefused) {
        if (filter.is_optional()) {
          problems_.unsupported(type);
          continue;
        }
        problems_.add(type, "is not a filter that Outrider has", knownFilters());
        continue;
      }
      if (entry->posture == config::Posture::kInert) {
        problems_.unsupported(type);
        continue;
      }
      const auto bytes = config::checkedBytes(filter.typed_config(), problems_);
      if (!bytes.has_value()) continue;
      const HttpFilterProduct product = entry->parse(type, *bytes, context_);
      if (product.terminal != nullptr) {
        if (!last) problems_.add(type, "must be the last filter of the chain");
        if (filter.disabled()) problems_.addAt("disabled", "true", "is not possible for the filter that ends the chain");
        terminal = product.terminal;
        terminal_config = product.config;
      } else if (product.ops != nullptr) {
        if (last) problems_.add(type, "cannot be the last filter of the chain", "a terminal filter, as the router");
        entries.push_back({filter.name(), product.ops, product.config, 0, filter.disabled()});
        if (entries.size() > HttpChain::kMostFilters) problems_.add(type, "is one filter too many", "at most 64");
      }
    }
    if (terminal == nullptr) {
      if (problems_.empty()) problems_.addAt("http_filters", {}, "have no terminal filter", "the router comes last");
      return;
    }
    out_.chain = std::make_shared<HttpChain>(std::move(entries), *terminal, std::move(terminal_config));
  }

  std::string knownFilters() {
    std::string out = "one of ";
    for (const auto& [name, entry] : context_.registry.http.entries()) {
      if (entry.posture != config::Posture::kDone) continue;
      if (out.size() > 7) out += ", ";
      out += name;
    }
    return out;
  }

  void upgrades() {
    for (int i = 0; i < in_.upgrade_configs_size(); ++i) {
      const auto& upgrade = in_.upgrade_configs(i);
      const auto at = problems_.element("upgrade_configs", static_cast<size_t>(i));
      if (upgrade.filters_size() > 0)
        problems_.addAt("filters", {}, "are not supported: the chain of the connection manager serves upgrades");
      if (http::equalsIgnoreCase(upgrade.upgrade_type(), "CONNECT-UDP")) {
        problems_.addAt("upgrade_type", upgrade.upgrade_type(), "is not supported", "CONNECT, websocket, or another protocol over bytes");
      }
      spec_.upgrades.push_back({upgrade.upgrade_type(), !upgrade.has_enabled() || upgrade.enabled().value()});
    }
  }

  void accessLogs() {
    for (int i = 0; i < in_.access_log_size(); ++i) {
      const auto at = problems_.element("access_log", static_cast<size_t>(i));
      if (!context_.access_log) continue;
      if (auto log = context_.access_log(in_.access_log(i).SerializeAsString())) out_.access_logs.push_back(std::move(log));
    }
  }

  void rest() {
    if (in_.has_local_reply_config()) {
      const auto at = problems_.field("local_reply_config");
      out_.local_replies = parseLocalReplies(in_.local_reply_config(), problems_);
    }
    if (in_.early_header_mutation_extensions_size() > 0) {
      problems_.addAt("early_header_mutation_extensions", {}, "are not supported; headers that others rely on would be missing");
    }
    if (in_.has_request_id_extension()) requestId();
  }

  void requestId() {
    const auto at = problems_.field("request_id_extension");
    const auto inside = problems_.field("typed_config");
    const std::string type = config::innerType(in_.request_id_extension().typed_config());
    if (type != uuid::UuidRequestIdConfig::descriptor()->full_name()) {
      problems_.add(type, "is not supported", uuid::UuidRequestIdConfig::descriptor()->full_name());
      return;
    }
    uuid::UuidRequestIdConfig own;
    if (!config::unpackChecked(in_.request_id_extension().typed_config(), own, problems_)) return;
    // Both speak of traces, which are not made here.
    if (own.has_pack_trace_reason()) problems_.unsupported("pack_trace_reason");
    if (own.has_use_request_id_for_trace_sampling()) problems_.unsupported("use_request_id_for_trace_sampling");
  }

  const pb::HttpConnectionManager& in_;
  FilterContext& context_;
  config::Problems& problems_;
  HcmConfig& out_;
  HcmSpec& spec_;
};

}  // namespace

std::shared_ptr<const NetworkFilterFactory> parseHcm(std::string_view, std::string_view bytes, FilterContext& context) {
  pb::HttpConnectionManager in;
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    context.parse.problems.add("cannot be decoded as HttpConnectionManager");
    return nullptr;
  }
  checker().check(in, bytes, context.parse.problems);
  auto out = std::make_shared<HcmConfig>();
  Parser(in, context, *out).run();
  return out;
}

}  // namespace outrider::filter::network::http_connection_manager
