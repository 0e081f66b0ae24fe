#include "source/listener/listener_parse.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "source/config/any.h"
#include "source/config/checked_any.h"

namespace outrider::listener {

namespace pb = envoy::config::listener::v3;
namespace core = envoy::config::core::v3;

namespace {

base::Nanos nanosOf(const google::protobuf::Duration& duration) { return duration.seconds() * base::kSecond + duration.nanos(); }

std::string statName(const base::Address& address) {
  std::string name = address.str();
  std::replace(name.begin(), name.end(), ':', '_');
  return name;
}

class Parser {
 public:
  Parser(const pb::Listener& in, const ListenerVersion* before, ListenerParse& context, ParsedListener& out)
      : in_(in), before_(before), context_(context), problems_(context.parse.problems), out_(out), version_(*out.version) {}

  void run() {
    version_.name = in_.name();
    addresses();
    std::string stat_prefix = in_.stat_prefix();
    if (stat_prefix.empty() && !version_.addresses.empty()) stat_prefix = statName(version_.addresses[0]);
    stat_prefix_ = absl::StrCat("listener.", stat_prefix, ".");
    version_.stats = ListenerStats(context_.parse.stats.scope(stat_prefix_, kListenerTable));
    options();
    listenerFilters();
    accessLogs();
    chains();
    rest();
  }

 private:
  std::optional<base::Address> address(const core::Address& in) {
    if (in.has_pipe()) {
      const auto path = base::Address::unixPath(in.pipe().path());
      if (!path) problems_.addAt("pipe.path", in.pipe().path(), "is no UNIX socket path", "1 to 107 bytes");
      if (in.pipe().mode() != 0) version_.options.unix_mode = in.pipe().mode();
      return path;
    }
    if (!in.has_socket_address()) {
      problems_.add("has no address that a listener can have", "socket_address or pipe");
      return std::nullopt;
    }
    const auto at = problems_.field("socket_address");
    const core::SocketAddress& socket = in.socket_address();
    if (socket.protocol() == core::SocketAddress::UDP) {
      problems_.addAt("protocol", "UDP", "is not supported", "TCP");
      return std::nullopt;
    }
    if (socket.has_named_port()) {
      problems_.addAt("named_port", socket.named_port(), "is not supported", "port_value");
      return std::nullopt;
    }
    const auto parsed = base::Address::parseIp(socket.address(), static_cast<uint16_t>(socket.port_value()));
    if (!parsed) {
      problems_.addAt("address", socket.address(), "malformed IP address", "an IPv4 or IPv6 address: a listener binds no names");
    }
    if (socket.port_value() > 65535) problems_.addAt("port_value", absl::StrCat(socket.port_value()), "is no port", "0 to 65535");
    if (socket.ipv4_compat()) version_.options.v6_only = false;
    return parsed;
  }

  void addresses() {
    {
      const auto at = problems_.field("address");
      if (!in_.has_address()) {
        problems_.add("is missing");
        return;
      }
      if (auto main = address(in_.address())) version_.addresses.push_back(*main);
    }
    for (int i = 0; i < in_.additional_addresses_size(); ++i) {
      const auto at = problems_.element("additional_addresses", static_cast<size_t>(i));
      const auto inner = problems_.field("address");
      if (auto more = address(in_.additional_addresses(i).address())) version_.addresses.push_back(*more);
    }
  }

  void options() {
    net::ListenOptions& options = version_.options;
    if (in_.has_enable_reuse_port()) options.reuse_port = in_.enable_reuse_port().value();
    options.freebind = in_.freebind().value();
    options.transparent = in_.transparent().value();
    if (in_.has_tcp_backlog_size()) options.backlog = static_cast<int>(in_.tcp_backlog_size().value());
    if (in_.has_tcp_fast_open_queue_length()) options.fast_open = static_cast<int>(in_.tcp_fast_open_queue_length().value());
    for (int i = 0; i < in_.socket_options_size(); ++i) {
      const core::SocketOption& option = in_.socket_options(i);
      std::string value = option.buf_value();
      if (option.has_int_value()) {
        const int number = static_cast<int>(option.int_value());
        value.assign(reinterpret_cast<const char*>(&number), sizeof number);
      }
      options.raw.push_back({static_cast<int>(option.level()), static_cast<int>(option.name()), std::move(value)});
    }
    if (in_.has_bind_to_port()) version_.bind_to_port = in_.bind_to_port().value();
    if (in_.deprecated_v1().has_bind_to_port()) version_.bind_to_port = in_.deprecated_v1().bind_to_port().value();
    if (in_.has_max_connections_to_accept_per_socket_event()) {
      version_.most_accepts = std::max(1u, in_.max_connections_to_accept_per_socket_event().value());
    }
    if (in_.has_listener_filters_timeout()) version_.first_bytes_timeout = nanosOf(in_.listener_filters_timeout());
    version_.continue_on_timeout = in_.continue_on_listener_filters_timeout();
    version_.direction = static_cast<TrafficDirection>(in_.traffic_direction());
    buffer_limit_ = context_.parse.defaults.envoy ? 1 << 20 : 64 * 1024;
    if (in_.has_per_connection_buffer_limit_bytes()) buffer_limit_ = in_.per_connection_buffer_limit_bytes().value();
  }

  filter::FilterContext filterContext() {
    filter::FilterContext context{context_.parse, context_.registry, context_.route_names, out_.needs, stat_prefix_, {}, {}};
    context.buffer_limit = buffer_limit_;
    if (context_.access_log) {
      context.access_log = [this](std::string_view bytes) { return context_.access_log(bytes, problems_); };
    }
    return context;
  }

  void accessLogs() {
    for (int i = 0; i < in_.access_log_size(); ++i) {
      const auto at = problems_.element("access_log", static_cast<size_t>(i));
      if (!context_.access_log) continue;
      if (auto log = context_.access_log(in_.access_log(i).SerializeAsString(), problems_)) version_.access_logs.push_back(std::move(log));
    }
  }

  void listenerFilters() {
    for (int i = 0; i < in_.listener_filters_size(); ++i) {
      const auto at = problems_.element("listener_filters", static_cast<size_t>(i));
      const pb::ListenerFilter& filter = in_.listener_filters(i);
      if (filter.has_config_discovery()) {
        problems_.addAt("config_discovery", {}, "is not supported", "typed_config");
        continue;
      }
      if (filter.has_filter_disabled()) problems_.unsupported("filter_disabled");
      const auto typed = problems_.field("typed_config");
      const std::string type = config::innerType(filter.typed_config());
      const auto* entry = context_.registry.listener.find(type);
      if (entry == nullptr || entry->posture == config::Posture::kRefused) {
        problems_.add(type, "is not a listener filter that Outrider has");
        continue;
      }
      if (entry->posture == config::Posture::kInert) {
        problems_.unsupported(type);
        continue;
      }
      const auto bytes = config::checkedBytes(filter.typed_config(), problems_);
      if (!bytes.has_value()) continue;
      filter::FilterContext context = filterContext();
      if (auto factory = entry->parse(type, *bytes, context)) {
        version_.listener_filters.push_back(std::move(factory));
      }
    }
  }

  void chains() {
    for (int i = 0; i < in_.filter_chains_size(); ++i) {
      const auto at = problems_.element("filter_chains", static_cast<size_t>(i));
      ListenerVersion::Chain next;
      {
        const auto match = problems_.field("filter_chain_match");
        next.match = parseMatch(in_.filter_chains(i).filter_chain_match());
        version_.matcher.add(next.match, i, problems_);
      }
      chain(in_.filter_chains(i), next);
      version_.chains.push_back(std::move(next));
    }
    if (in_.has_default_filter_chain()) {
      const auto at = problems_.field("default_filter_chain");
      ListenerVersion::Chain next;
      chain(in_.default_filter_chain(), next);
      version_.default_chain = static_cast<int>(version_.chains.size());
      version_.chains.push_back(std::move(next));
    }
    if (version_.chains.empty())
      problems_.addAt("filter_chains", {}, "has no filter chain; at least one, or default_filter_chain, must be set");
  }

  std::vector<base::CidrRange> ranges(std::string_view field, const google::protobuf::RepeatedPtrField<core::CidrRange>& in) {
    std::vector<base::CidrRange> out;
    for (int i = 0; i < in.size(); ++i) {
      const auto parsed = base::CidrRange::parse(in[i].address_prefix(), in[i].prefix_len().value());
      if (parsed) {
        out.push_back(*parsed);
        continue;
      }
      const auto at = problems_.element(field, static_cast<size_t>(i));
      problems_.add(absl::StrCat(in[i].address_prefix(), "/", in[i].prefix_len().value()), "is no address range",
                    "an IP address and a prefix length that fits it");
    }
    return out;
  }

  ChainMatchSpec parseMatch(const pb::FilterChainMatch& in) {
    ChainMatchSpec out;
    out.destination_port = in.destination_port().value();
    out.prefix_ranges = ranges("prefix_ranges", in.prefix_ranges());
    for (int i = 0; i < in.server_names_size(); ++i) {
      const std::string name = absl::AsciiStrToLower(in.server_names(i));
      if (name.find('*') != std::string::npos && (!name.starts_with("*.") || name.find('*', 1) != std::string::npos)) {
        const auto at = problems_.element("server_names", static_cast<size_t>(i));
        problems_.add(name, "partial wildcards are not supported in server_names", "'name' or '*.suffix'");
      }
      out.server_names.push_back(name);
    }
    out.transport_protocol = in.transport_protocol();
    out.application_protocols.assign(in.application_protocols().begin(), in.application_protocols().end());
    out.direct_source_ranges = ranges("direct_source_prefix_ranges", in.direct_source_prefix_ranges());
    switch (in.source_type()) {
      case pb::FilterChainMatch::SAME_IP_OR_LOOPBACK: out.source_type = SourceType::kSameIpOrLoopback; break;
      case pb::FilterChainMatch::EXTERNAL: out.source_type = SourceType::kExternal; break;
      default: break;
    }
    out.source_ranges = ranges("source_prefix_ranges", in.source_prefix_ranges());
    out.source_ports.assign(in.source_ports().begin(), in.source_ports().end());
    if (!in.address_suffix().empty() || in.has_suffix_len()) {
      problems_.addAt("address_suffix", in.address_suffix(), "is not supported");
    }
    return out;
  }

  void chain(const pb::FilterChain& in, ListenerVersion::Chain& out) {
    // The listener's own fields that reach into a chain are part of what makes it equal.
    out.hash = std::hash<std::string>()(absl::StrCat(in.SerializeAsString(), "|", buffer_limit_, "|", in_.name()));
    auto part = std::make_shared<filter::ChainPart>();
    part->info.name = in_.name();
    part->info.filter_chain = in.name();
    part->buffer_limit = buffer_limit_;
    part->handshake_timeout = context_.parse.defaults.envoy ? 0 : context_.default_handshake_timeout;
    if (in.has_transport_socket_connect_timeout()) part->handshake_timeout = nanosOf(in.transport_socket_connect_timeout());
    if (in.has_use_proxy_proto() && in.use_proxy_proto().value()) {
      problems_.addAt("use_proxy_proto", "true", "is not supported: clients would be known by the wrong address");
    }
    filter::FilterContext context = filterContext();
    if (in.has_transport_socket()) {
      const auto at = problems_.field("transport_socket");
      const auto typed = problems_.field("typed_config");
      const std::string type = config::innerType(in.transport_socket().typed_config());
      if (type != "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer") {
        if (context_.transport) {
          const auto bytes = config::checkedBytes(in.transport_socket().typed_config(), problems_);
          if (bytes.has_value()) part->transport = context_.transport(type, *bytes, context);
        } else {
          problems_.add(type, "is not a transport socket that Outrider has");
        }
      }
    }
    if (in.filters_size() != 1) {
      problems_.addAt("filters", absl::StrCat(in.filters_size(), " filters"), "a chain must have exactly one network filter",
                      "http_connection_manager or tcp_proxy");
    }
    for (int i = 0; i < in.filters_size(); ++i) {
      const auto at = problems_.element("filters", static_cast<size_t>(i));
      const pb::Filter& filter = in.filters(i);
      if (filter.has_config_discovery()) {
        problems_.addAt("config_discovery", {}, "is not supported", "typed_config");
        continue;
      }
      const auto typed = problems_.field("typed_config");
      const std::string type = config::innerType(filter.typed_config());
      const auto* entry = context_.registry.network.find(type);
      if (entry == nullptr || entry->posture != config::Posture::kDone) {
        problems_.add(type, "is not a network filter that Outrider has");
        continue;
      }
      const auto bytes = config::checkedBytes(filter.typed_config(), problems_);
      if (bytes.has_value()) part->factory = entry->parse(type, *bytes, context);
    }
    out.part = std::move(part);
    out.admission = admission(in.transport_socket());
    if (before_ == nullptr) return;
    for (const ListenerVersion::Chain& old : before_->chains) {
      if (old.hash == out.hash && old.part->info.filter_chain == in.name()) out.part = old.part;
    }
  }

  // Certificates, ALPN and ciphers may change under a connection that stays; who may have one at all may not.
  uint64_t admission(const core::TransportSocket& in) {
    envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext tls;
    if (!config::innerType(in.typed_config()).ends_with(".DownstreamTlsContext") || !config::unpack(in.typed_config(), tls, problems_)) {
      return std::hash<std::string>()(in.typed_config().type_url());
    }
    envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext who;
    *who.mutable_require_client_certificate() = tls.require_client_certificate();
    auto& common = *tls.mutable_common_tls_context();
    common.clear_tls_certificates();
    common.clear_tls_certificate_sds_secret_configs();
    common.clear_alpn_protocols();
    common.clear_tls_params();
    *who.mutable_common_tls_context() = common;
    return std::hash<std::string>()(who.SerializeAsString());
  }

  void rest() {
    version_.hand_off = in_.use_original_dst().value();
    if (in_.has_filter_chain_matcher()) problems_.addAt("filter_chain_matcher", {}, "is not supported yet", "filter_chain_match");
    if (in_.has_udp_listener_config()) problems_.addAt("udp_listener_config", {}, "is not supported");
    if (in_.has_api_listener()) problems_.addAt("api_listener", {}, "is not supported");
    if (in_.has_internal_listener()) problems_.addAt("internal_listener", {}, "is not supported yet");
    if (in_.has_connection_balance_config()) problems_.unsupported("connection_balance_config");
    if (in_.enable_mptcp()) problems_.unsupported("enable_mptcp");
  }

  const pb::Listener& in_;
  const ListenerVersion* before_;
  ListenerParse& context_;
  config::Problems& problems_;
  ParsedListener& out_;
  ListenerVersion& version_;
  std::string stat_prefix_;
  uint32_t buffer_limit_ = 0;
};

}  // namespace

ParsedListener parseListener(const pb::Listener& in, const ListenerVersion* before, ListenerParse& context) {
  ParsedListener out;
  out.version = std::make_shared<ListenerVersion>();
  Parser(in, before, context, out).run();
  return out;
}

}  // namespace outrider::listener
