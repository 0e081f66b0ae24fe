#include "source/base/address.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>

#include <arpa/inet.h>

namespace outrider::base {

void Address::drop() {
  Shared* const at = shared();
  if (at->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete at;
}

// Of an empty address.
void Address::assign(const void* address, size_t length) {
  length_ = static_cast<socklen_t>(length);
  if (!far()) {
    std::memcpy(static_cast<void*>(&storage_), address, length);
    return;
  }
  auto* shared = new Shared();
  std::memcpy(shared->bytes, address, length);
  storage_.shared.family = reinterpret_cast<const sockaddr*>(shared->bytes)->sa_family;
  std::memcpy(storage_.shared.at, &shared, sizeof shared);
}

Address Address::fromSockaddr(const sockaddr* address, socklen_t length) {
  Address out;
  // Whoever asked with more room than it takes may not know its length.
  const size_t most = address->sa_family == AF_INET    ? sizeof(sockaddr_in)
                      : address->sa_family == AF_INET6 ? sizeof(sockaddr_in6)
                                                       : sizeof(sockaddr_un);
  out.assign(address, std::min<size_t>(length, most));
  return out;
}

std::optional<Address> Address::parseIp(std::string_view ip, uint16_t port) {
  char text[INET6_ADDRSTRLEN + 1];
  if (ip.empty() || ip.size() >= sizeof text) return std::nullopt;
  std::memcpy(text, ip.data(), ip.size());
  text[ip.size()] = '\0';
  Address out;
  if (::inet_pton(AF_INET, text, &out.storage_.v4.sin_addr) == 1) {
    out.storage_.v4.sin_family = AF_INET;
    out.storage_.v4.sin_port = htons(port);
    out.length_ = sizeof(sockaddr_in);
    return out;
  }
  if (::inet_pton(AF_INET6, text, &out.storage_.v6.sin6_addr) == 1) {
    out.storage_.v6.sin6_family = AF_INET6;
    out.storage_.v6.sin6_port = htons(port);
    out.length_ = sizeof(sockaddr_in6);
    return out;
  }
  return std::nullopt;
}

std::optional<Address> Address::parseIpPort(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view ip = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  if (ip.size() >= 2 && ip.front() == '[' && ip.back() == ']') {
    ip = ip.substr(1, ip.size() - 2);
  } else if (ip.find(':') != std::string_view::npos) {
    return std::nullopt;  // an IPv6 address needs its brackets here
  }
  return parseIp(ip, port);
}

std::optional<Address> Address::unixPath(std::string_view path) {
  sockaddr_un un{};
  if (path.empty() || path.size() >= sizeof un.sun_path) return std::nullopt;
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path, path.data(), path.size());
  size_t length = offsetof(sockaddr_un, sun_path) + path.size();
  if (path[0] == '@') {
    un.sun_path[0] = '\0';
  } else {
    length += 1;  // the closing zero
  }
  Address out;
  out.assign(&un, length);
  return out;
}

uint16_t Address::port() const {
  if (family() == AF_INET) return ntohs(storage_.v4.sin_port);
  if (family() == AF_INET6) return ntohs(storage_.v6.sin6_port);
  return 0;
}

Address Address::withPort(uint16_t port) const {
  Address out(*this);
  if (family() == AF_INET) out.storage_.v4.sin_port = htons(port);
  if (family() == AF_INET6) out.storage_.v6.sin6_port = htons(port);
  return out;
}

std::string_view Address::ipBytes() const {
  if (family() == AF_INET) return {reinterpret_cast<const char*>(&storage_.v4.sin_addr), 4};
  if (family() == AF_INET6) return {reinterpret_cast<const char*>(&storage_.v6.sin6_addr), 16};
  return {};
}

bool Address::isLoopback() const {
  if (family() == AF_INET) return (ntohl(storage_.v4.sin_addr.s_addr) >> 24) == 127;
  if (family() == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&storage_.v6.sin6_addr);
  return false;
}

bool Address::isAny() const {
  if (family() == AF_INET) return storage_.v4.sin_addr.s_addr == 0;
  if (family() == AF_INET6) return IN6_IS_ADDR_UNSPECIFIED(&storage_.v6.sin6_addr);
  return false;
}

size_t Address::print(char* to, bool with_port) const {
  char* at = to;
  if (family() == AF_INET) {
    const auto* b = reinterpret_cast<const unsigned char*>(&storage_.v4.sin_addr);
    for (int i = 0; i < 4; ++i) {
      if (i > 0) *at++ = '.';
      at = std::to_chars(at, at + 3, b[i]).ptr;
    }
  } else if (family() == AF_INET6) {
    if (with_port) *at++ = '[';
    ::inet_ntop(AF_INET6, &storage_.v6.sin6_addr, at, INET6_ADDRSTRLEN);
    at += std::strlen(at);
    if (with_port) *at++ = ']';
  } else if (family() == AF_UNIX) {
    const size_t header = offsetof(sockaddr_un, sun_path);
    if (length_ <= header) return 0;  // an unnamed peer
    const char* path = reinterpret_cast<const char*>(sockAddr()) + header;
    const bool abstract = path[0] == '\0';
    const size_t size = abstract ? length_ - header : ::strnlen(path, length_ - header);
    std::memcpy(at, path, size);
    if (abstract) *at = '@';
    return size;
  } else {
    return 0;
  }
  if (with_port) {
    *at++ = ':';
    at = std::to_chars(at, at + 5, port()).ptr;
  }
  return static_cast<size_t>(at - to);
}

std::string Address::str() const {
  char text[kTextSize];
  return std::string(text, print(text));
}

std::string Address::ip() const {
  char text[kTextSize];
  return std::string(text, print(text, false));
}

bool Address::operator==(const Address& other) const {
  if (family() != other.family()) return false;
  if (isIp()) return port() == other.port() && ipBytes() == other.ipBytes();
  return length_ == other.length_ && std::memcmp(sockAddr(), other.sockAddr(), length_) == 0;
}

size_t Address::hash() const {
  const std::string_view bytes = isIp() ? ipBytes() : std::string_view(reinterpret_cast<const char*>(sockAddr()), length_);
  return std::hash<std::string_view>()(bytes) * 31 + port();
}

std::optional<CidrRange> CidrRange::parse(std::string_view prefix, uint32_t bits) {
  const auto base = Address::parseIp(prefix, 0);
  if (!base) return std::nullopt;
  const uint32_t most = base->family() == AF_INET ? 32 : 128;
  if (bits > most) return std::nullopt;
  // Bits beyond the prefix do not count, as in Envoy.
  std::string bytes(base->ipBytes());
  for (uint32_t i = bits; i < most; ++i) bytes[i / 8] = static_cast<char>(bytes[i / 8] & ~(0x80 >> (i % 8)));
  char text[INET6_ADDRSTRLEN];
  ::inet_ntop(base->family(), bytes.data(), text, sizeof text);
  return CidrRange{*Address::parseIp(text, 0), static_cast<uint8_t>(bits)};
}

bool CidrRange::contains(const Address& address) const {
  std::string_view bytes = address.ipBytes();
  const std::string_view mine = base.ipBytes();
  constexpr std::string_view kMapped("\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
  if (mine.size() == 4 && bytes.size() == 16 && bytes.substr(0, 12) == kMapped) bytes.remove_prefix(12);
  if (bytes.size() != mine.size() || bytes.empty()) return false;
  const size_t whole = bits / 8;
  if (bytes.substr(0, whole) != mine.substr(0, whole)) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<unsigned char>(0xff << (8 - bits % 8));
  return ((bytes[whole] ^ mine[whole]) & mask) == 0;
}

}  // namespace outrider::base
