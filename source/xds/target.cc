#include "source/xds/target.h"

#include <cstdlib>

#include "source/config/yaml.h"

namespace outrider::xds {
namespace {

namespace core = envoy::config::core::v3;

base::Nanos nanosOf(const google::protobuf::Duration& in) { return in.seconds() * base::kSecond + in.nanos(); }

void readBackoff(const core::RetryPolicy& in, Target& out, config::Problems& problems) {
  const auto at = problems.field("retry_policy");
  if (in.has_retry_back_off()) {
    const auto back_off = problems.field("retry_back_off");
    const base::Nanos base = nanosOf(in.retry_back_off().base_interval());
    const base::Nanos most = in.retry_back_off().has_max_interval() ? nanosOf(in.retry_back_off().max_interval()) : base * 10;
    if (base < base::kMilli) problems.addAt("base_interval", "", "must be at least 1ms");
    if (most < base) problems.addAt("max_interval", "", "must not be less than base_interval");
    out.base_backoff = base;
    out.max_backoff = most;
  }
}

std::string readSource(const core::DataSource& in, std::string_view field, config::Problems& problems) {
  const auto at = problems.field(field);
  switch (in.specifier_case()) {
    case core::DataSource::kFilename: {
      auto content = config::readFile(in.filename());
      if (content.ok()) return *std::move(content);
      problems.addAt("filename", in.filename(), std::string(content.status().message()));
      return {};
    }
    case core::DataSource::kInlineBytes: return in.inline_bytes();
    case core::DataSource::kInlineString: return in.inline_string();
    case core::DataSource::kEnvironmentVariable: {
      const char* value = std::getenv(in.environment_variable().c_str());
      if (value != nullptr) return value;
      problems.addAt("environment_variable", in.environment_variable(), "is not set");
      return {};
    }
    case core::DataSource::SPECIFIER_NOT_SET: break;
  }
  problems.add("no source is set");
  return {};
}

void readEnvoyGrpc(const core::GrpcService::EnvoyGrpc& in, Target& out, config::Problems& problems) {
  const auto at = problems.field("envoy_grpc");
  out.cluster = in.cluster_name();
  if (out.cluster.empty()) problems.addAt("cluster_name", "", "must not be empty");
  out.authority = in.authority().empty() ? in.cluster_name() : in.authority();
  if (in.has_max_receive_message_length()) out.max_receive_bytes = static_cast<int>(in.max_receive_message_length().value());
  if (in.has_retry_policy()) readBackoff(in.retry_policy(), out, problems);
}

void readGoogleGrpc(const core::GrpcService::GoogleGrpc& in, Target& out, config::Problems& problems) {
  const auto at = problems.field("google_grpc");
  out.uri = in.target_uri();
  if (out.uri.empty()) problems.addAt("target_uri", "", "must not be empty");
  if (!in.credentials_factory_name().empty()) {
    problems.addAt("credentials_factory_name", in.credentials_factory_name(), "is not implemented");
  }
  if (in.has_config()) problems.addAt("config", "", "is not implemented");
  if (in.call_credentials_size() > 0) problems.addAt("call_credentials", "", "is not implemented");
  if (in.channel_credentials_plugin_size() > 0) problems.addAt("channel_credentials_plugin", "", "is not implemented");
  if (in.call_credentials_plugin_size() > 0) problems.addAt("call_credentials_plugin", "", "is not implemented");
  if (in.has_channel_credentials()) {
    const auto credentials = problems.field("channel_credentials");
    switch (in.channel_credentials().credential_specifier_case()) {
      case core::GrpcService::GoogleGrpc::ChannelCredentials::kSslCredentials: {
        const auto ssl = problems.field("ssl_credentials");
        const auto& from = in.channel_credentials().ssl_credentials();
        out.tls = true;
        if (from.has_root_certs()) out.root_certs = readSource(from.root_certs(), "root_certs", problems);
        if (from.has_private_key()) out.private_key = readSource(from.private_key(), "private_key", problems);
        if (from.has_cert_chain()) out.cert_chain = readSource(from.cert_chain(), "cert_chain", problems);
        break;
      }
      case core::GrpcService::GoogleGrpc::ChannelCredentials::kGoogleDefault:
        problems.addAt("google_default", "", "is not implemented", "use ssl_credentials");
        break;
      case core::GrpcService::GoogleGrpc::ChannelCredentials::kLocalCredentials:
        problems.addAt("local_credentials", "", "is not implemented", "use ssl_credentials");
        break;
      case core::GrpcService::GoogleGrpc::ChannelCredentials::CREDENTIAL_SPECIFIER_NOT_SET: break;
    }
  }
  if (in.has_channel_args()) {
    const auto args = problems.field("channel_args");
    for (const auto& [name, value] : in.channel_args().args()) {
      if (value.value_specifier_case() == core::GrpcService::GoogleGrpc::ChannelArgs::Value::kIntValue) {
        out.int_args.emplace_back(name, value.int_value());
      } else {
        out.string_args.emplace_back(name, value.string_value());
      }
    }
  }
}

}  // namespace

bool readTarget(const core::ApiConfigSource& in, Target& out, config::Problems& problems) {
  const size_t before = problems.size();
  switch (in.api_type()) {
    case core::ApiConfigSource::GRPC: out.delta = false; break;
    case core::ApiConfigSource::DELTA_GRPC: out.delta = true; break;
    default: problems.addAt("api_type", core::ApiConfigSource::ApiType_Name(in.api_type()), "is not implemented", "GRPC or DELTA_GRPC");
  }
  if (in.transport_api_version() != core::ApiVersion::V3) {
    problems.addAt("transport_api_version", core::ApiVersion_Name(in.transport_api_version()), "the xDS transport is version 3 only", "V3");
  }
  if (in.grpc_services_size() == 0) {
    problems.addAt("grpc_services", "", "names no server", "one envoy_grpc or google_grpc");
    return false;
  }
  if (in.grpc_services_size() > 1) problems.unsupported("grpc_services[1]");
  if (in.has_rate_limit_settings()) problems.unsupported("rate_limit_settings");
  if (in.config_validators_size() > 0) problems.addAt("config_validators", "", "is not implemented");
  const auto at = problems.element("grpc_services", 0);
  const core::GrpcService& service = in.grpc_services(0);
  switch (service.target_specifier_case()) {
    case core::GrpcService::kEnvoyGrpc: readEnvoyGrpc(service.envoy_grpc(), out, problems); break;
    case core::GrpcService::kGoogleGrpc: readGoogleGrpc(service.google_grpc(), out, problems); break;
    case core::GrpcService::TARGET_SPECIFIER_NOT_SET: problems.add("names no server", "one of envoy_grpc and google_grpc"); break;
  }
  if (service.has_retry_policy()) readBackoff(service.retry_policy(), out, problems);
  for (int i = 0; i < service.initial_metadata_size(); ++i) {
    const core::HeaderValue& header = service.initial_metadata(i);
    const auto step = problems.element("initial_metadata", static_cast<size_t>(i));
    if (header.value().find('%') != std::string::npos) {
      problems.addAt("value", header.value(), "substitution is not implemented here", "a value without '%'");
    }
    out.metadata.emplace_back(header.key(), header.raw_value().empty() ? header.value() : header.raw_value());
  }
  return problems.size() == before;
}

}  // namespace outrider::xds
