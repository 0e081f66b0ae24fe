#include "source/listener/active_listener.h"

#include <algorithm>

#include <sys/socket.h>
#include <unistd.h>

#include "source/accesslog/access_log.h"

namespace outrider::listener {

// ---- first bytes ----

// Reads what listener filters ask for, then hands the bytes on as the connection's prefix.
class ActiveListener::Pending final : public event::IoHandler, public event::Retired, public base::TaggedNode<PendingTag> {
 public:
  // `prefix`: bytes that another listener has read already; `first`: what it found out.
  Pending(ActiveListener& owner, int fd, const base::Address& local, const base::Address& remote, base::Buffer& prefix,
          const filter::FirstBytes& first)
      : owner_(owner),
        version_(owner.version_),
        timer_(event::Timer::to<&Pending::onTimeout>(owner.worker_.loop.timers(), this)),
        local_(local),
        remote_(remote),
        first_(first),
        fd_(fd) {
    bytes_.move(prefix);
    for (const auto& factory : version_->listener_filters) filters_.push_back(factory->make());
    version_->stats.inc(ListenerStat::kPreCxActive);
  }
  ~Pending() override {
    if (fd_ >= 0) close();
  }

  // Once, when it is in the owner's list.
  void begin() {
    if (look(false)) return;
    watched_ = true;
    unwatchable_ = owner_.worker_.loop.add(fd_, *this, event::kReadable | event::kPeerFinished) != 0;
    if (unwatchable_) owner_.worker_.loop.makeReady(*this);  // nobody would ever wake it
    if (version_->first_bytes_timeout > 0) timer_.armIn(version_->first_bytes_timeout);
  }

  void onReady(uint32_t) override {
    if (unwatchable_) {
      version_->stats.inc(ListenerStat::kCxEmfile);
      give(false);
      return;
    }
    const auto room = bytes_.reserve(2048);
    const ssize_t n = ::recv(fd_, room.data, room.size, 0);
    if (n < 0) {
      bytes_.commit(0);
      if (errno == EAGAIN || errno == EINTR) return;
      give(false);
      return;
    }
    bytes_.commit(static_cast<size_t>(n));
    (void)look(n == 0);
  }

 private:
  // True: it is over.
  bool look(bool eof) {
    using Answer = filter::ListenerFilter::Answer;
    for (; next_ < filters_.size(); ++next_, asked_ = false) {
      filter::ListenerFilter& filter = *filters_[next_];
      Answer answer = std::exchange(asked_, true) ? Answer::kMore : filter.onAccept(fd_, local_, first_);
      if (answer == Answer::kMore) {
        if (bytes_.empty() && !eof) return false;
        answer = filter.onBytes(bytes_.linear(std::min(bytes_.size(), base::kBlockSize)), eof, first_);
        // What cannot become more knows what it knows.
        if (answer == Answer::kMore && !eof && bytes_.size() < base::kBlockSize) return false;
      }
      if (answer == Answer::kClose) {
        give(false);
        return true;
      }
    }
    give(true);
    return true;
  }
  void onTimeout() {
    version_->stats.inc(ListenerStat::kPreCxTimeout);
    give(version_->continue_on_timeout);
  }
  void give(bool on) {
    if (watched_) owner_.worker_.loop.remove(fd_, *this);
    timer_.cancel();
    base::TaggedNode<PendingTag>::unlink();
    version_->stats.dec(ListenerStat::kPreCxActive);
    const int fd = std::exchange(fd_, -1);
    owner_.worker_.loop.retire(this);
    if (on) {
      owner_.start(fd, local_, remote_, first_, bytes_);
    } else {
      owner_.refuse(fd);
    }
  }
  void close() {
    if (watched_) owner_.worker_.loop.remove(fd_, *this);
    version_->stats.dec(ListenerStat::kPreCxActive);
    ::close(std::exchange(fd_, -1));
  }

  ActiveListener& owner_;
  const ListenerVersionRef version_;
  event::Timer timer_;
  base::Address local_, remote_;
  base::Buffer bytes_;
  filter::FirstBytes first_;
  std::vector<std::unique_ptr<filter::ListenerFilter>> filters_;
  size_t next_ = 0;
  int fd_;
  bool asked_ = false;  // the filter at hand, of the socket
  bool watched_ = false, unwatchable_ = false;
};

// ---- one socket of several ----

// Knows by which socket a connection came, and so its own address without asking the kernel; only wildcards have to ask.
class ActiveListener::Door final : private net::AcceptSink {
 public:
  Door(ActiveListener& owner, std::shared_ptr<net::ListenSocket> socket)
      : owner_(owner),
        socket_(std::move(socket)),
        acceptor_(owner.worker_.loop, socket_->fd(owner.worker_.slot - 1), socket_->shared(), *this) {
    acceptor_.setMostPerTurn(owner.version_->most_accepts);
  }
  void stop(bool take_queue) {
    if (take_queue) {
      acceptor_.drainQueue();
    } else {
      acceptor_.stop();
    }
  }

 private:
  void onAccepted(int fd, const base::Address& remote) override { owner_.onAccepted(fd, localOf(fd), remote); }
  void onAcceptFailed(int) override { owner_.version_->stats.inc(ListenerStat::kCxEmfile); }
  base::Address localOf(int fd) const {
    const base::Address& bound = socket_->local();
    sockaddr_storage own;
    socklen_t size = sizeof own;
    if (!bound.isAny() || ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) != 0) return bound;
    return base::Address::fromSockaddr(reinterpret_cast<sockaddr*>(&own), size);
  }

  ActiveListener& owner_;
  const std::shared_ptr<net::ListenSocket> socket_;
  net::Acceptor acceptor_;
};

// ---- the listener ----

struct ActiveListener::OldChains {
  OldChains(event::TimerWheel& timers, DrainingRef draining)
      : draining(std::move(draining)), timer(event::Timer::to<&OldChains::close>(timers, this)) {}
  bool empty() const {
    return std::all_of(chains.begin(), chains.end(), [](const auto& chain) { return chain->connections.empty(); });
  }
  void close() {
    for (const auto& chain : chains) {
      while (!chain->connections.empty()) chain->connections.front().closeNow("filter_chain_drained");
    }
    chains.clear();
    draining.reset();
  }
  std::vector<std::unique_ptr<ActiveChain>> chains;
  DrainingRef draining;
  event::Timer timer;
};

ActiveListener::ActiveListener(filter::WorkerContext& worker, ConnectionLimit& limit, Find find)
    : worker_(worker), limit_(limit), find_(std::move(find)) {}

ActiveListener::~ActiveListener() {
  on_empty_ = nullptr;
  closeAll();
}

void ActiveListener::apply(ListenerVersionRef version, base::Nanos drain_time, DrainingRef draining) {
  std::erase_if(old_chains_, [](const auto& old) { return old->empty(); });
  std::vector<std::unique_ptr<ActiveChain>> former;
  former.swap(chains_);
  for (const ListenerVersion::Chain& next : version->chains) {
    const auto same =
        std::find_if(former.begin(), former.end(), [&](const auto& old) { return old != nullptr && next.succeeds(old->spec); });
    if (same == former.end()) {
      auto chain = std::make_unique<ActiveChain>();
      chain->part = config::makePart<filter::ChainPart>(next.part, worker_.main);
      chain->spec = next;
      chains_.push_back(std::move(chain));
      continue;
    }
    std::unique_ptr<ActiveChain> chain = std::move(*same);
    chain->spec = next;
    if (chain->part->shared() != next.part) {
      // Connections stay; what starts on them from now on takes the new config.
      chain->part = config::makePart<filter::ChainPart>(next.part, worker_.main);
      chain->connections.forEach([&](filter::NetworkChain& each) { each.update(chain->part); });
    }
    chains_.push_back(std::move(chain));
  }
  version_ = std::move(version);
  std::erase_if(former, [](const auto& left) { return left == nullptr || left->connections.empty(); });
  if (former.empty()) return;
  auto old = std::make_unique<OldChains>(worker_.loop.timers(), std::move(draining));
  old->chains = std::move(former);
  old->timer.armIn(drain_time);
  for (const auto& chain : old->chains) chain->connections.forEach([](filter::NetworkChain& each) { each.drain(); });
  old_chains_.push_back(std::move(old));
}

void ActiveListener::listen(std::vector<std::shared_ptr<net::ListenSocket>> sockets) {
  stopListening(true);
  for (auto& socket : sockets) doors_.push_back(std::make_unique<Door>(*this, std::move(socket)));
}

void ActiveListener::stopListening(bool take_queue) {
  for (const auto& door : doors_) door->stop(take_queue);
  doors_.clear();
}

void ActiveListener::drainAll() {
  for (const auto& chain : chains_) chain->connections.forEach([](filter::NetworkChain& each) { each.drain(); });
}

void ActiveListener::closeAll() {
  while (!pending_.empty()) delete &pending_.popFront();
  for (const auto& chain : chains_) {
    while (!chain->connections.empty()) chain->connections.front().closeNow("listener_closed");
  }
  for (const auto& old : old_chains_) old->close();
}

void ActiveListener::onAccepted(int fd, const base::Address& local, const base::Address& remote) {
  const uint64_t limit = limit_.limit.load(std::memory_order_relaxed);
  if (limit_.active.fetch_add(1, std::memory_order_relaxed) >= limit && limit > 0) {
    version_->stats.inc(ListenerStat::kGlobalCxOverflow);
    limit_.active.fetch_sub(1, std::memory_order_relaxed);
    ::close(fd);
    return;
  }
  base::Buffer none;
  look(fd, local, remote, none, {});
}

void ActiveListener::look(int fd, const base::Address& local, const base::Address& remote, base::Buffer& prefix,
                          const filter::FirstBytes& first) {
  ++connections_;
  if (version_->listener_filters.empty()) {
    start(fd, local, remote, first, prefix);
    return;
  }
  auto* pending = new Pending(*this, fd, local, remote, prefix, first);
  pending_.pushBack(*pending);
  pending->begin();
}

bool ActiveListener::isAt(const base::Address& address) const {
  return std::find(version_->addresses.begin(), version_->addresses.end(), address) != version_->addresses.end();
}

// What iptables led here goes to the listener of the address that the client wanted, which looks at it with its own filters.
bool ActiveListener::handOff(int fd, const base::Address& remote, const filter::FirstBytes& first, base::Buffer& prefix) {
  if (!version_->hand_off || !first.original_destination.valid() || !find_) return false;
  ActiveListener* other = find_(first.original_destination);
  if (other == nullptr || other == this) return false;
  filter::FirstBytes known;
  known.original_destination = first.original_destination;
  --connections_;
  other->look(fd, first.original_destination, remote, prefix, known);
  if (connections_ == 0 && on_empty_) on_empty_();
  return true;
}

void ActiveListener::refuse(int fd) {
  ::close(fd);
  leave();
}

void ActiveListener::start(int fd, const base::Address& local, const base::Address& remote, const filter::FirstBytes& first,
                           base::Buffer& prefix) {
  if (handOff(fd, remote, first, prefix)) return;
  const base::Address& to = first.original_destination.valid() ? first.original_destination : local;
  int index = version_->matcher.find({to, remote, remote, &first});
  if (index == ChainMatcher::kNoChain) index = version_->default_chain;
  if (index == ChainMatcher::kNoChain) {
    version_->stats.inc(ListenerStat::kNoFilterChainMatch);
    if (!version_->access_logs.empty()) {
      stream::ConnectionInfo connection;
      connection.peer = &remote;
      connection.own = &to;
      if (!first.server_name.empty()) connection.hello().server_name = first.server_name;
      stream::StreamInfo info;
      info.flags.set(stream::ResponseFlag::kNoRouteFound);
      info.details = "filter_chain_not_found";
      log(info, connection, worker_.loop.now());
    }
    refuse(fd);
    return;
  }
  version_->stats.inc(ListenerStat::kCxTotal);
  version_->stats.inc(ListenerStat::kCxActive);
  ActiveChain& chain = *chains_[static_cast<size_t>(index)];
  const filter::ChainPart& part = **chain.part;
  stream::ConnectionInfo info;
  info.local_restored = first.original_destination.valid();
  if (!first.server_name.empty()) info.hello().server_name = first.server_name;
  auto connection = std::make_unique<net::Connection>(
      worker_.loop, fd, part.transport == nullptr ? net::makePlainTransport() : part.transport->make(), to, remote);
  auto* network = new filter::NetworkChain(worker_, *this, std::move(connection), std::move(info), chain.part);
  chain.connections.pushBack(*network);
  network->start(prefix);
}

void ActiveListener::onChainClosed(filter::NetworkChain& chain, net::CloseReason reason) {
  if (reason == net::CloseReason::kHandshakeTimeout) {
    version_->stats.inc(ListenerStat::kCxTransportSocketConnectTimeout);
  } else if (reason == net::CloseReason::kUnwatched) {
    version_->stats.inc(ListenerStat::kCxEmfile);  // as an accept that failed for want of what the kernel had to give
  }
  version_->stats.record(ListenerStat::kCxLength,
                         static_cast<uint64_t>((worker_.loop.now() - chain.connection().startedAt()) / base::kMilli));
  if (!version_->access_logs.empty()) {
    stream::StreamInfo info;
    info.bytes_received = chain.connection().bytesRead();
    info.bytes_sent = chain.connection().bytesWritten();
    log(info, chain.info(), chain.connection().startedAt());
  }
  version_->stats.inc(ListenerStat::kCxDestroy);
  version_->stats.dec(ListenerStat::kCxActive);
  leave();
}

// The listener's own logs: one entry a connection, at its end.
void ActiveListener::log(stream::StreamInfo& info, const stream::ConnectionInfo& connection, base::Nanos started) const {
  info.connection = &connection;
  info.remote = connection.remote();
  info.start = started;
  info.end = worker_.loop.now();
  info.start_wall = worker_.loop.wall() - (info.end - info.start);
  for (const auto& each : version_->access_logs) each->log({nullptr, nullptr, nullptr, info, true});
}

void ActiveListener::leave() {
  limit_.active.fetch_sub(1, std::memory_order_relaxed);
  if (--connections_ == 0 && on_empty_) on_empty_();
}

}  // namespace outrider::listener
