#include "source/xds/relay.h"

#include <cstring>

namespace outrider::xds {
namespace {

constexpr size_t kMostBuffered = 1024 * 1024;
constexpr base::Nanos kLinger = base::kSecond;

std::string reasonText(net::Connection& connection, net::CloseReason reason) {
  switch (reason) {
    case net::CloseReason::kNone:
    case net::CloseReason::kLocal: return "closed";
    case net::CloseReason::kRemoteFin: return "the server closed the connection";
    case net::CloseReason::kRemoteReset: return "the server reset the connection";
    case net::CloseReason::kUnwatched: return "epoll_ctl: " + std::string(strerror(connection.error()));
    case net::CloseReason::kConnectFailed: return "connect: " + std::string(strerror(connection.error()));
    case net::CloseReason::kConnectTimeout: return "connect timeout";
    case net::CloseReason::kTransportError: return "transport failure: " + std::string(connection.transport().failure());
    case net::CloseReason::kHandshakeTimeout: return "handshake timeout";
  }
  return "closed";
}

}  // namespace

Relay::End::End(Relay& owner, std::unique_ptr<net::Connection> made, bool far) : relay(owner), connection(std::move(made)), is_far(far) {
  if (connection == nullptr) return;
  connection->setSink(*this);
  connection->setBufferLimit(kMostBuffered);
}

void Relay::End::onConnected() {
  if (is_far && relay.events_.connected) relay.events_.connected();
}

void Relay::End::onBytes(base::Buffer& in, bool eof) {
  if (other->connection == nullptr) {
    in.clear();
    return;
  }
  net::Connection& to = *other->connection;
  to.out().move(in);
  to.markDirty();
  if (eof) {
    // HTTP/2 has no use for half a connection: what is under way is written, then both ends are closed.
    relay.why_ = is_far ? "the server closed the connection" : "closed";
    to.closeAfterFlush(kLinger);
    relay.retire(*this);
    return;
  }
  if (to.out().size() > kMostBuffered) connection->pauseReading(net::Connection::kPauseUpstream);
}

void Relay::End::onRoom() {
  if (other->connection != nullptr) other->connection->resumeReading(net::Connection::kPauseUpstream);
}

void Relay::End::onClosed(net::CloseReason reason) {
  if (relay.why_.empty()) relay.why_ = reasonText(*connection, reason);
  relay.close();
}

Relay::Relay(event::Loop& loop, int fd, Dialed dialed, Events events)
    : loop_(loop),
      pin_(std::move(dialed.pin)),
      events_(std::move(events)),
      near_(*this, std::make_unique<net::Connection>(loop, fd, net::makePlainTransport(), base::Address(), base::Address()), false),
      far_(*this, std::move(dialed.connection), true) {
  near_.other = &far_;
  far_.other = &near_;
  base::Buffer nothing;
  near_.connection->startAccepted(nothing);
  far_.connection->startConnect(dialed.connect_timeout);
}

Relay::~Relay() {
  retire(near_);
  retire(far_);
}

void Relay::retire(End& end) {
  if (end.connection == nullptr) return;
  end.connection->closeNow();
  loop_.retire(end.connection.release());
}

void Relay::close() {
  const std::string why = why_;
  retire(near_);
  retire(far_);
  const auto closed = std::exchange(events_.closed, nullptr);
  if (closed) closed(why);
}

}  // namespace outrider::xds
