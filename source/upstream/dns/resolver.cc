#include "source/upstream/dns/resolver.h"

#include <algorithm>
#include <unordered_map>

#include <ares.h>
#include <netdb.h>
#include <sys/time.h>

#include "source/base/log.h"

namespace outrider::upstream::dns {

// One lookup: perhaps two questions (one family, then the other).
struct Lookup {
  Channel* channel;
  Query* query;            // null: nobody waits any more
  int second_family = -1;  // AF_*: asked when the first gives nothing
  Answer answer;
};

class Channel final {
 public:
  Channel(event::Loop& loop, const config::DnsSpec& spec)
      : loop_(loop),
        timer_(event::Timer::to<&Channel::onTimer>(loop.timers(), this)),
        deliver_(event::Deferred::to<&Channel::deliver>(this)) {
    ares_options options{};
    int mask = ARES_OPT_SOCK_STATE_CB;
    options.sock_state_cb = [](void* at, ares_socket_t fd, int readable, int writable) {
      static_cast<Channel*>(at)->watch(fd, readable != 0, writable != 0);
    };
    options.sock_state_cb_data = this;
    if (spec.use_tcp) {
      options.flags |= ARES_FLAG_USEVC;
      mask |= ARES_OPT_FLAGS;
    }
    if (spec.no_search) {
      options.flags |= ARES_FLAG_NOSEARCH;
      mask |= ARES_OPT_FLAGS;
    }
    if (ares_init_options(&channel_, &options, mask) != ARES_SUCCESS) channel_ = nullptr;
    if (channel_ != nullptr && !spec.resolvers.empty()) {
      std::string servers;
      for (const base::Address& server : spec.resolvers) {
        if (!servers.empty()) servers += ',';
        servers += server.str();
      }
      if (ares_set_servers_ports_csv(channel_, servers.c_str()) != ARES_SUCCESS) {
        OUTRIDER_LOG(kError, kDns, "cannot use the resolvers %s", servers.c_str());
      }
    }
  }
  ~Channel() {
    if (channel_ != nullptr) ares_destroy(channel_);  // ends every lookup
    for (Lookup* lookup : done_) delete lookup;
    for (Lookup* lookup : again_) delete lookup;
    for (auto& [fd, watch] : watches_) loop_.remove(fd, *watch);
  }

  // The lookup's end comes by deliver(), never from within this call.
  Lookup* ask(Query& query, config::DnsFamily family) {
    auto* lookup = new Lookup{this, &query, -1, {}};
    int first = AF_UNSPEC;
    switch (family) {
      case config::DnsFamily::kAuto:
        first = AF_INET6;
        lookup->second_family = AF_INET;
        break;
      case config::DnsFamily::kV4Preferred:
        first = AF_INET;
        lookup->second_family = AF_INET6;
        break;
      case config::DnsFamily::kV4Only: first = AF_INET; break;
      case config::DnsFamily::kV6Only: first = AF_INET6; break;
      case config::DnsFamily::kAll: break;
    }
    if (channel_ == nullptr) {
      lookup->answer.failure = "the resolver could not be made";
      end(*lookup);
      return lookup;
    }
    begin(*lookup, first);
    return lookup;
  }

 private:
  class Watch final : public event::IoHandler {
   public:
    Watch(Channel& channel, int fd) : channel_(channel), fd_(fd) {}
    void onReady(uint32_t events) override {
      channel_.process((events & (event::kReadable | event::kHungUp | event::kFailed)) != 0 ? fd_ : ARES_SOCKET_BAD,
                       (events & event::kWritable) != 0 ? fd_ : ARES_SOCKET_BAD);
    }

   private:
    Channel& channel_;
    const int fd_;
  };

  void begin(Lookup& lookup, int family) {
    ares_addrinfo_hints hints{};
    hints.ai_family = family;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = ARES_AI_NOSORT;
    ares_getaddrinfo(channel_, lookup.query->name().c_str(), nullptr, &hints, &Channel::onDone, &lookup);
    rearm();
  }

  static void onDone(void* at, int status, int, ares_addrinfo* info) {
    auto& lookup = *static_cast<Lookup*>(at);
    Channel& channel = *lookup.channel;
    if (status == ARES_EDESTRUCTION) {
      delete &lookup;
      return;
    }
    Answer& answer = lookup.answer;
    if (info != nullptr) {
      for (const ares_addrinfo_node* node = info->nodes; node != nullptr; node = node->ai_next) {
        char text[INET6_ADDRSTRLEN];
        if (::getnameinfo(node->ai_addr, node->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) continue;
        const auto address = base::Address::parseIp(text, 0);
        if (!address || std::find(answer.addresses.begin(), answer.addresses.end(), *address) != answer.addresses.end()) continue;
        answer.addresses.push_back(*address);
        const base::Nanos ttl = node->ai_ttl * base::kSecond;
        if (ttl > 0) answer.ttl = answer.ttl == 0 ? ttl : std::min(answer.ttl, ttl);
      }
      // A name that leads elsewhere is as short-lived as its shortest link.
      for (const ares_addrinfo_cname* link = info->cnames; link != nullptr; link = link->next) {
        const base::Nanos ttl = link->ttl * base::kSecond;
        if (ttl > 0 && answer.ttl > 0) answer.ttl = std::min(answer.ttl, ttl);
      }
      ares_freeaddrinfo(info);
    }
    // A name that does not exist, or has no address, is an answer; silence is a failure.
    answer.ok = status == ARES_SUCCESS || status == ARES_ENODATA || status == ARES_ENOTFOUND;
    if (!answer.ok) answer.failure = ares_strerror(status);
    if (answer.addresses.empty() && lookup.second_family >= 0 && lookup.query != nullptr) {
      channel.again_.push_back(&lookup);
    } else {
      channel.done_.push_back(&lookup);
    }
    channel.loop_.defer(channel.deliver_);
  }

  void end(Lookup& lookup) {
    done_.push_back(&lookup);
    loop_.defer(deliver_);
  }

  void deliver();

  void watch(int fd, bool readable, bool writable) {
    auto it = watches_.find(fd);
    if (!readable && !writable) {
      if (it == watches_.end()) return;
      loop_.remove(fd, *it->second);
      old_.push_back(std::move(it->second));
      watches_.erase(it);
      loop_.defer(deliver_);
      return;
    }
    const uint32_t events = (readable ? event::kReadable : 0u) | (writable ? event::kWritable : 0u);
    if (it == watches_.end()) {
      it = watches_.emplace(fd, std::make_unique<Watch>(*this, fd)).first;
      loop_.add(fd, *it->second, events);
    } else {
      loop_.modify(fd, *it->second, events);
    }
  }

  void process(int readable, int writable) {
    ares_process_fd(channel_, readable, writable);
    rearm();
  }
  void onTimer() { process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); }
  void rearm() {
    timeval left{};
    if (ares_timeout(channel_, nullptr, &left) == nullptr) {
      timer_.cancel();
      return;
    }
    timer_.armIn(left.tv_sec * base::kSecond + left.tv_usec * base::kMicro + base::kMilli);
  }

  event::Loop& loop_;
  ares_channel channel_ = nullptr;
  event::Timer timer_;
  event::Deferred deliver_;
  std::unordered_map<int, std::unique_ptr<Watch>> watches_;
  std::vector<std::unique_ptr<Watch>> old_;  // may be up the stack; destroyed by deliver()
  std::vector<Lookup*> done_, again_;
};

void Channel::deliver() {
  old_.clear();
  for (Lookup* lookup : std::exchange(again_, {})) {
    if (lookup->query == nullptr) {
      delete lookup;
      continue;
    }
    const int family = std::exchange(lookup->second_family, -1);
    lookup->answer = {};
    begin(*lookup, family);
  }
  for (Lookup* lookup : std::exchange(done_, {})) {
    const std::unique_ptr<Lookup> owned(lookup);
    if (lookup->query == nullptr) continue;
    lookup->query->pending_ = nullptr;
    lookup->query->finish(lookup->answer);
  }
}

Resolver::Resolver(event::Loop& loop, const config::DnsSpec& spec)
    : loop_(loop), spec_(spec), channel_(std::make_unique<Channel>(loop, spec)) {}

Resolver::~Resolver() = default;

Query::Query(Resolver& resolver, QueryOwner& owner, std::string name)
    : resolver_(resolver),
      owner_(owner),
      name_(std::move(name)),
      timer_(event::Timer::to<&Query::ask>(resolver.loop().timers(), this)),
      random_(reinterpret_cast<uintptr_t>(this) ^ static_cast<uint64_t>(resolver.loop().wall())) {}

Query::~Query() {
  if (pending_ != nullptr) pending_->query = nullptr;
}

void Query::start() { ask(); }

void Query::ask() {
  if (pending_ == nullptr) pending_ = resolver_.channel_->ask(*this, resolver_.spec().family);
}

base::Nanos Query::random(base::Nanos below) {
  if (below <= 0) return 0;
  random_ = random_ * 6364136223846793005u + 1442695040888963407u;
  return static_cast<base::Nanos>((random_ >> 11) % static_cast<uint64_t>(below));
}

void Query::finish(const Answer& answer) {
  const config::DnsSpec& spec = resolver_.spec();
  base::Nanos wait = spec.refresh;
  if (answer.ok) {
    failures_ = 0;
    if (spec.respect_ttl && answer.ttl > 0) wait = answer.ttl;
    wait += random(spec.jitter);
  } else {
    // Exponential with full jitter, as the failure rate's bounds say.
    const base::Nanos window = std::min(spec.failure_base << std::min(failures_, 10u), spec.failure_max);
    wait = spec.failure_max > spec.failure_base ? std::max(spec.failure_base / 2, random(window)) : spec.failure_base;
    ++failures_;
    OUTRIDER_LOG(kDebug, kDns, "%s: %.*s", name_.c_str(), static_cast<int>(answer.failure.size()), answer.failure.data());
  }
  timer_.armIn(wait);
  owner_.onAnswer(*this, answer);
}

}  // namespace outrider::upstream::dns
