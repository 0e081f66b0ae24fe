// The contract of listener filters: they look at a connection's first bytes before a filter chain is chosen.
// The bytes are read (never peeked) into the connection's first block and handed on as its prefix.
// Thread: the accepting worker. Lifetime: a filter lives until the chain is chosen.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "source/base/address.h"

namespace outrider::filter {

// What listener filters find out; the chain match and the connection's info read it.
struct FirstBytes {
  std::string server_name;         // SNI, lower case
  std::string transport_protocol;  // "tls" or empty (raw_buffer)
  std::vector<std::string> application_protocols;
  base::Address original_destination;  // where the client wanted to go, if it was led here; invalid: not known
};

class ListenerFilter {
 public:
  enum class Answer : uint8_t {
    kMore,  // needs more bytes
    kDone,  // knows what it wanted (or that it cannot know)
    kClose  // this connection is refused
  };
  virtual ~ListenerFilter() = default;
  // Its turn, before any byte: the socket itself may tell. kMore: it wants bytes.
  virtual Answer onAccept(int fd, const base::Address& local, FirstBytes& found) {
    (void)fd, (void)local, (void)found;
    return Answer::kMore;
  }
  // `so_far`: everything read, from the first byte. `eof`: the peer finished.
  virtual Answer onBytes(std::string_view so_far, bool eof, FirstBytes& found) {
    (void)so_far, (void)eof, (void)found;
    return Answer::kDone;
  }
};

class ListenerFilterFactory {
 public:
  virtual ~ListenerFilterFactory() = default;
  virtual std::unique_ptr<ListenerFilter> make() const = 0;
  virtual size_t mostBytes() const = 0;  // how much it may ask for
};

}  // namespace outrider::filter
