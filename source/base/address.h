// A socket address: IPv4, IPv6 or UNIX (path or abstract). A plain value, compared by content.
// Thread: any. Text forms: "1.2.3.4:80", "[::1]:80", "/run/x.sock", "@abstract" (as Envoy prints them).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace outrider::base {

class Address final {
 public:
  Address() { storage_.ss.ss_family = AF_UNSPEC; }
  static Address fromSockaddr(const sockaddr* address, socklen_t length);
  static std::optional<Address> parseIp(std::string_view ip, uint16_t port);  // no names
  static std::optional<Address> parseIpPort(std::string_view text);           // "1.2.3.4:80", "[::1]:80"
  static std::optional<Address> unixPath(std::string_view path);              // '@' first: abstract; nullopt: too long

  bool valid() const { return family() != AF_UNSPEC; }
  int family() const { return storage_.ss.ss_family; }
  bool isIp() const { return family() == AF_INET || family() == AF_INET6; }
  bool isUnix() const { return family() == AF_UNIX; }
  uint16_t port() const;
  Address withPort(uint16_t port) const;
  bool isLoopback() const;
  bool isAny() const;

  const sockaddr* sockAddr() const { return &storage_.sa; }
  socklen_t length() const { return length_; }

  // IP without port (no brackets), or the UNIX path.
  std::string ip() const;
  std::string str() const;
  // Writes str() to `to` (at least kTextSize bytes); returns its length. No allocation.
  static constexpr size_t kTextSize = 128;
  size_t print(char* to, bool with_port = true) const;

  // Raw address bytes in network order (4 or 16), for prefix matching.
  std::string_view ipBytes() const;

  bool operator==(const Address& other) const;
  size_t hash() const;

 private:
  union Storage {
    sockaddr_storage ss;
    sockaddr sa;
    sockaddr_in v4;
    sockaddr_in6 v6;
    sockaddr_un un;
    Storage() : ss{} {}
  } storage_;
  socklen_t length_ = 0;
};

// 10.0.0.0/8 and friends (core.CidrRange).
struct CidrRange {
  Address base;
  uint8_t bits = 0;
  static std::optional<CidrRange> parse(std::string_view prefix, uint32_t bits);
  bool contains(const Address& address) const;  // an IPv4-mapped IPv6 address counts as its IPv4 one
  bool operator==(const CidrRange&) const = default;
};

}  // namespace outrider::base
