#include "source/config/usual_endpoints.h"

#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "source/base/absl_compat.h"

namespace outrider::config {
namespace {

namespace core = envoy::config::core::v3;
namespace pb = envoy::config::endpoint::v3;

constexpr uint8_t kVarint = 0, kBytes = 2;
constexpr uint8_t tagOf(int field, uint8_t type) { return static_cast<uint8_t>(field << 3 | type); }

// The wire form, as far as a usual endpoint needs it. False is no error, but something that protobuf should look at.
class Wire {
 public:
  explicit Wire(std::string_view bytes) : left_(bytes) {}
  bool atEnd() const { return left_.empty(); }
  std::string_view left() const { return left_; }

  bool tag(uint8_t wanted) {
    if (left_.empty() || static_cast<uint8_t>(left_.front()) != wanted) return false;
    left_.remove_prefix(1);
    return true;
  }
  bool varint(uint32_t& out) {
    out = 0;
    for (int shift = 0; shift < 28 && !left_.empty(); shift += 7) {
      const auto byte = static_cast<uint8_t>(left_.front());
      left_.remove_prefix(1);
      out |= static_cast<uint32_t>(byte & 127) << shift;
      if (byte < 128) return true;
    }
    return false;
  }
  bool bytes(std::string_view& out) {
    uint32_t size = 0;
    if (!varint(size) || size > left_.size()) return false;
    out = left_.substr(0, size);
    left_.remove_prefix(size);
    return true;
  }
  bool message(int field, std::string_view& out) { return tag(tagOf(field, kBytes)) && bytes(out); }

  // Has fields of other numbers only, each a number or bytes.
  bool without(int a, int b) {
    while (!atEnd()) {
      uint32_t found = 0;
      std::string_view skipped;
      if (!varint(found) || static_cast<int>(found >> 3) == a || static_cast<int>(found >> 3) == b) return false;
      if ((found & 7) == kVarint ? !varint(found) : (found & 7) != kBytes || !bytes(skipped)) return false;
    }
    return true;
  }

 private:
  std::string_view left_;
};

}  // namespace

// LbEndpoint { endpoint { address { socket_address { address port_value } } ... } ... }: in the order of the numbers, as all write it.
bool UsualEndpoints::cut(std::string_view bytes) {
  Wire outer(bytes);
  std::string_view inner, ip;
  if (!outer.message(pb::LbEndpoint::kEndpointFieldNumber, inner)) return false;
  Wire endpoint(inner);
  if (!endpoint.message(pb::Endpoint::kAddressFieldNumber, inner)) return false;
  rest_ = {base::toAbsl(endpoint.left()), base::toAbsl(outer.left())};
  Wire address(inner);
  if (!address.message(core::Address::kSocketAddressFieldNumber, inner) || !address.atEnd()) return false;
  Wire socket(inner);
  uint32_t port = 0;
  if (!socket.message(core::SocketAddress::kAddressFieldNumber, ip)) return false;
  if (!socket.tag(tagOf(core::SocketAddress::kPortValueFieldNumber, kVarint)) || !socket.varint(port) || !socket.atEnd()) return false;
  if (port > 65535 || ip.find('\0') != std::string_view::npos) return false;
  auto parsed = base::Address::parseIp(ip, static_cast<uint16_t>(port));
  if (!parsed.has_value()) return false;
  address_ = *std::move(parsed);
  return true;
}

bool UsualEndpoints::read(std::string_view bytes, EndpointSpec& out) {
  learnable_ = cut(bytes);
  if (!learnable_) return false;
  if (last_ == nullptr || last_->first != rest_) {
    const auto at = known_.find(rest_);
    if (at == known_.end()) return false;
    last_ = &*at;
  }
  out = last_->second;
  out.address = address_;
  out.port = address_.port();
  return true;
}

void UsualEndpoints::learn(const EndpointSpec& made) {
  if (!learnable_ || known_.size() >= kMost) return;
  // What repeats the address, or the whole endpoint, may mean something else beside another address.
  if (!Wire(base::toStd(rest_.first)).without(pb::Endpoint::kAddressFieldNumber, pb::Endpoint::kAddressFieldNumber)) return;
  if (!Wire(base::toStd(rest_.second)).without(pb::LbEndpoint::kEndpointFieldNumber, pb::LbEndpoint::kEndpointNameFieldNumber)) return;
  last_ = &*known_.emplace(rest_, made).first;
}

}  // namespace outrider::config
