// A socket address: IPv4, IPv6 or UNIX (path or abstract). A plain value of 32 bytes, compared by content; copies of a UNIX path that
// does not fit share one constant copy of it.
// Thread: any. Text forms: "1.2.3.4:80", "[::1]:80", "/run/x.sock", "@abstract" (as Envoy prints them).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace outrider::base {

class Address final {
 public:
  Address() = default;
  Address(const Address& other) : storage_(other.storage_), length_(other.length_) {
    if (far()) shared()->refs.fetch_add(1, std::memory_order_relaxed);
  }
  Address(Address&& other) noexcept : storage_(other.storage_), length_(other.length_) {
    other.storage_ = Storage();
    other.length_ = 0;
  }
  Address& operator=(Address other) noexcept {
    std::swap(storage_, other.storage_);
    std::swap(length_, other.length_);
    return *this;
  }
  ~Address() {
    if (far()) drop();
  }
  static Address fromSockaddr(const sockaddr* address, socklen_t length);
  static std::optional<Address> parseIp(std::string_view ip, uint16_t port);  // no names
  static std::optional<Address> parseIpPort(std::string_view text);           // "1.2.3.4:80", "[::1]:80"
  static std::optional<Address> unixPath(std::string_view path);              // '@' first: abstract; nullopt: too long

  bool valid() const { return family() != AF_UNSPEC; }
  int family() const { return storage_.sa.sa_family; }
  bool isIp() const { return family() == AF_INET || family() == AF_INET6; }
  bool isUnix() const { return family() == AF_UNIX; }
  uint16_t port() const;
  Address withPort(uint16_t port) const;
  bool isLoopback() const;
  bool isAny() const;

  // length() bytes are readable.
  const sockaddr* sockAddr() const { return far() ? reinterpret_cast<const sockaddr*>(shared()->bytes) : &storage_.sa; }
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
  struct Shared {
    std::atomic<uint32_t> refs{1};
    alignas(sockaddr_un) char bytes[sizeof(sockaddr_un)] = {};
  };
  union Storage {
    sockaddr sa;
    sockaddr_in v4;
    sockaddr_in6 v6;
    struct {
      sa_family_t family;  // as in every sockaddr
      uint32_t at[2];      // a Shared*, in halves so that the whole stays at 32 bytes
    } shared;
    Storage() : v6{} {}
  } storage_;
  socklen_t length_ = 0;

  bool far() const { return length_ > sizeof(sockaddr_in6); }
  Shared* shared() const {
    Shared* at;
    static_assert(sizeof at == sizeof storage_.shared.at);
    std::memcpy(&at, storage_.shared.at, sizeof at);
    return at;
  }
  void drop();
  void assign(const void* address, size_t length);
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
