// Reads the first message of a TLS connection without taking it: server name and offered protocols.
// No I/O. Bytes may come in any pieces; they may be spread over several records. Limits: 16 KiB of message.
// Thread: one at a time. Lifetime: until the answer is not kMore. Sources: RFC 8446 4.1.2, 5.1; RFC 6066 3; RFC
// 7301 3.1.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace outrider::tls {

class ClientHelloReader final {
 public:
  enum class Answer : uint8_t {
    kMore,    // so far it may become a ClientHello
    kFound,   // it is one: the fields are filled
    kNotTls,  // it is something else
    kBad      // it begins as TLS and then breaks the rules
  };
  static constexpr size_t kMostBytes = 16 * 1024;

  // `so_far`: everything from the first byte on, each time.
  Answer read(std::string_view so_far);

  const std::string& serverName() const { return server_name_; }  // lower case; empty: none
  const std::vector<std::string>& protocols() const { return protocols_; }

 private:
  Answer parseMessage(std::string_view body);
  bool parseServerName(std::string_view extension);
  bool parseProtocols(std::string_view extension);

  size_t record_ = 0;    // offset of the first record that is not wholly in message_
  std::string message_;  // handshake bytes of the records before it
  std::string server_name_;
  std::vector<std::string> protocols_;
};

}  // namespace outrider::tls
