#include "source/admin/admin_parse.h"

#include "absl/strings/str_cat.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"

namespace outrider::admin {

std::optional<AdminSpec> parseAdmin(const envoy::config::bootstrap::v3::Admin& in, config::Problems& problems) {
  if (!in.has_address()) return std::nullopt;
  const auto at_admin = problems.field("admin");
  const auto at_address = problems.field("address");
  AdminSpec out;
  out.options.reuse_port = false;
  std::optional<base::Address> address;
  if (in.address().has_pipe()) {
    address = base::Address::unixPath(in.address().pipe().path());
    if (!address) problems.addAt("pipe.path", in.address().pipe().path(), "is no UNIX socket path", "1 to 107 bytes");
    out.options.unix_mode = in.address().pipe().mode();
  } else if (in.address().has_socket_address()) {
    const auto& socket = in.address().socket_address();
    const auto at_socket = problems.field("socket_address");
    if (socket.port_value() > 65535) {
      problems.addAt("port_value", absl::StrCat(socket.port_value()), "is no port", "0 to 65535");
      return std::nullopt;
    }
    address = base::Address::parseIp(socket.address(), static_cast<uint16_t>(socket.port_value()));
    if (!address) problems.addAt("address", socket.address(), "malformed IP address", "an IPv4 or IPv6 address");
    out.options.v6_only = !socket.ipv4_compat();
  } else {
    problems.add("has no address that the admin endpoint can have", "socket_address or pipe");
  }
  if (!address) return std::nullopt;
  out.address = *address;
  for (const auto& option : in.socket_options()) {
    std::string value = option.buf_value();
    if (option.has_int_value()) {
      const int number = static_cast<int>(option.int_value());
      value.assign(reinterpret_cast<const char*>(&number), sizeof number);
    }
    out.options.raw.push_back({static_cast<int>(option.level()), static_cast<int>(option.name()), std::move(value)});
  }
  return out;
}

void declareAdmin(config::Honored& honored) {
  // The endpoint's connections are never counted against the global limit.
  honored.fields<envoy::config::bootstrap::v3::Admin>({"address", "socket_options", "ignore_global_conn_limit"});
}

}  // namespace outrider::admin
