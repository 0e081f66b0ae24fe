#include "source/tls/socket_parse.h"

#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "source/config/tls_parse.h"

namespace outrider::tls {
namespace {

namespace pb = envoy::extensions::transport_sockets::tls::v3;

template <class Message>
bool decode(std::string_view wanted, std::string_view type, std::string_view bytes, Message& out, config::Problems& problems) {
  const size_t slash = type.rfind('/');
  if (slash != std::string_view::npos) type.remove_prefix(slash + 1);
  if (type != wanted) {
    problems.add(type, "is not a transport socket that Outrider has here", wanted);
    return false;
  }
  if (!out.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    problems.add(type, "cannot be decoded");
    return false;
  }
  return true;
}

}  // namespace

std::shared_ptr<LiveServerContext> parseServerSocket(std::string_view type, std::string_view bytes, const std::string& owner,
                                                     const SocketParse& shared, config::Problems& problems) {
  pb::DownstreamTlsContext in;
  if (!decode(kDownstreamType, type, bytes, in, problems)) return nullptr;
  const size_t before = problems.size();
  config::DownstreamTlsSpec spec = config::parseDownstreamTls(in, problems);
  if (problems.size() != before) return nullptr;
  auto out = std::make_shared<LiveServerContext>(std::move(spec), shared.contexts, SslStats::make(shared.stats, owner, SslSide::kServer));
  return shared.secrets.adopt(out, problems) ? out : nullptr;
}

std::shared_ptr<LiveClientContext> parseClientSocket(std::string_view type, std::string_view bytes, const std::string& owner,
                                                     const SocketParse& shared, config::Problems& problems) {
  pb::UpstreamTlsContext in;
  if (!decode(kUpstreamType, type, bytes, in, problems)) return nullptr;
  const size_t before = problems.size();
  config::UpstreamTlsSpec spec = config::parseUpstreamTls(in, problems);
  if (problems.size() != before) return nullptr;
  auto out = std::make_shared<LiveClientContext>(std::move(spec), shared.contexts, SslStats::make(shared.stats, owner, SslSide::kClient));
  return shared.secrets.adopt(out, problems) ? out : nullptr;
}

}  // namespace outrider::tls
