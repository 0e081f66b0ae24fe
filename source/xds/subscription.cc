#include "source/xds/subscription.h"

#include <algorithm>
#include <map>

#include "absl/container/inlined_vector.h"
#include "source/base/absl_compat.h"
#include "source/base/log.h"
#include "source/xds/types.h"

namespace outrider::xds {
namespace {

// Items of a response that are compared or taken up in a turn, and after how many of them the clock is asked.
constexpr size_t kMostInATurn = 4096;
constexpr size_t kLookAtClock = 32;

// Resources keep their place in the order of the response; errors of several watchers follow each other.
void join(std::string& text, const std::string& more) {
  if (!text.empty() && !more.empty()) text += '\n';
  text += more;
}

std::string defaultPrefix(std::string_view type_url, std::string_view name) {
  if (type_url == kClusterType) return "cluster_manager.cds.";
  if (type_url == kListenerType) return "listener_manager.lds.";
  if (type_url == kEndpointType) return "cluster." + std::string(name) + ".";
  if (type_url == kSecretType) return "sds." + std::string(name) + ".";
  if (type_url == kRouteType) return "rds." + std::string(name) + ".";
  if (type_url == kRuntimeType) return "runtime." + std::string(name) + ".";
  return "xds." + std::string(typeLabel(type_url)) + "." + std::string(name) + ".";
}

// A request of a few names has them in order, for those who read it. Of thousands nobody does, and the sort would cost more than the rest.
constexpr size_t kSorted = 1000;
template <class Names>
void sortFew(Names& names) {
  if (names.size() <= kSorted) std::sort(names.begin(), names.end());
}

}  // namespace

// Until the first delivery.
struct Subscription::Fetch {
  Fetch(Subscription& table, Watch& user)
      : owner(table), watch(user), timer(event::Timer::to<&Fetch::onTimer>(table.loop_.timers(), this)) {}
  void onTimer() { owner.onTimeout(watch); }
  Subscription& owner;
  Watch& watch;
  event::Timer timer;
};

struct Subscription::Watch {
  Watch(Entry& of, WatchId number, Watcher& user, stats::ScopeRef scope) : entry(of), id(number), watcher(user), stats(std::move(scope)) {}

  void countUpdate(const Subscription& table, const Text& accepted) {
    stats.inc(SubscriptionStat::kUpdateSuccess);
    stats.inc(SubscriptionStat::kUpdateAttempt);
    stats.set(SubscriptionStat::kUpdateTime, static_cast<uint64_t>(table.loop_.wall() / base::kMilli));
    stats.set(SubscriptionStat::kVersion, hashBytes(*accepted) >> 1);
    version = accepted;
  }
  void countRejected() {
    stats.inc(SubscriptionStat::kUpdateRejected);
    stats.inc(SubscriptionStat::kUpdateAttempt);
  }

  Watch* next = nullptr;  // of the same name
  Entry& entry;
  const WatchId id;
  Watcher& watcher;
  const stats::Set<SubscriptionStat> stats;
  Text version;  // of the last update; null: none came
  std::unique_ptr<Fetch> fetch;
  bool delivered = false;
};

// How far a response is: its items are held against what was accepted, handed over, and, with all answers there, taken up.
struct Subscription::Round {
  enum class Phase : uint8_t { kComparing, kHandingOver, kAnswering, kSettling };
  Subscription* owner = nullptr;
  Incoming in;
  Text version;
  Phase phase = Phase::kComparing;
  size_t next = 0;                                          // the first item that the phase has not reached
  std::vector<std::shared_ptr<const std::string>> changed;  // by item; null: as accepted before
  bool absence_deletes = false;                             // what is held and not among the items is gone
  absl::flat_hash_set<std::string_view> present;            // then: names of the items
  std::map<WatchId, Delivery> deliveries;                   // to watchers of everything, not handed over yet
  size_t open = 1;                                          // answers that are owed, and one until all are handed over
  Verdict total;
  absl::flat_hash_set<std::string> bad;
  std::function<void(const Verdict&)> done;
};

Subscription::Subscription(event::Loop& loop, stats::Store& store, std::string type_url, std::function<void()> names_changed)
    : loop_(loop),
      store_(store),
      type_url_(std::move(type_url)),
      absence_deletes_(findTypeInfo(type_url_) != nullptr && findTypeInfo(type_url_)->absence_deletes),
      names_changed_(std::move(names_changed)),
      expiry_(event::Timer::to<&Subscription::expire>(loop.timers(), this)),
      late_(event::Deferred::to<&Subscription::deliverLate>(this)) {
  store_.texts(this, [this](const stats::Store::AddText& add) {
    for (const auto& [id, watch] : watches_) {
      add(std::string(watch->stats.scope()->prefix()) + "version_text", watch->version == nullptr ? std::string() : *watch->version);
    }
  });
}

Subscription::~Subscription() {
  store_.dropTexts(this);
  for (const auto& [id, watch] : watches_) delete watch;
  if (round_ == nullptr) return;
  round_->owner = nullptr;
  const auto dropped = std::exchange(round_->deliveries, {});  // they refer to the round
}

Subscription::Entry* Subscription::find(std::string_view name) const {
  const auto at = entries_.find(name);
  return at == entries_.end() ? nullptr : at->get();
}

const Subscription::Entry* Subscription::findHeld(std::string_view name) const {
  const Entry* entry = find(name);
  return entry == nullptr || entry->bytes == nullptr ? nullptr : entry;
}

Subscription::Entry& Subscription::need(std::string_view name) {
  if (Entry* known = find(name)) return *known;
  return **entries_.insert(std::make_unique<Entry>(name)).first;
}

// Whether it is wanted has changed.
void Subscription::touch(Entry& entry) {
  changed_ = true;
  names_known_ = false;
  if (!std::exchange(entry.touched, true)) touched_.push_back(&entry);
}

void Subscription::dropIfEmpty(Entry& entry) {
  if (&entry == &wildcard_ || entry.watches != nullptr || entry.bytes != nullptr || entry.touched) return;
  entries_.erase(entries_.find(std::string_view(entry.name)));
}

// Many resources of a response have the same version.
Subscription::Text Subscription::shared(const std::string& version) {
  if (last_version_ == nullptr || *last_version_ != version) last_version_ = std::make_shared<const std::string>(version);
  return last_version_;
}

void Subscription::add(WatchId id, std::string_view name, Watcher& watcher, const std::string& stats_prefix, base::Nanos fetch_timeout) {
  Entry& entry = name.empty() ? wildcard_ : need(name);
  auto* watch =
      new Watch(entry, id, watcher, store_.scope(stats_prefix.empty() ? defaultPrefix(type_url_, name) : stats_prefix, kSubscriptionTable));
  watch->stats.inc(SubscriptionStat::kUpdateAttempt);
  if (entry.watches == nullptr) {
    if (!name.empty()) ++watched_names_;
    touch(entry);
  }
  Watch** last = &entry.watches;
  while (*last != nullptr) last = &(*last)->next;
  *last = watch;
  const bool known = name.empty() ? ever_ : entry.bytes != nullptr;
  if (known) {
    latecomers_.insert(id);
    loop_.defer(late_);
  } else if (fetch_timeout > 0) {
    watch->fetch = std::make_unique<Fetch>(*this, *watch);
    watch->fetch->timer.armIn(fetch_timeout);
  }
  watches_.emplace(id, watch);
  if (changed_) names_changed_();
}

bool Subscription::remove(WatchId id) {
  const auto at = watches_.find(id);
  if (at == watches_.end()) return false;
  const std::unique_ptr<Watch> watch(at->second);
  watches_.erase(at);
  latecomers_.erase(id);
  Entry& entry = watch->entry;
  Watch** link = &entry.watches;
  while (*link != watch.get()) link = &(*link)->next;
  *link = watch->next;
  if (entry.watches == nullptr) {
    if (&entry != &wildcard_) --watched_names_;
    touch(entry);
  }
  if (changed_) names_changed_();
  return true;
}

const std::string& Subscription::namesOfRequest() const {
  if (std::exchange(names_known_, true)) return names_encoded_;
  std::vector<std::string_view> names;
  names.reserve(watched_names_);
  size_t bytes = 0;
  for (const auto& entry : entries_) {
    if (entry->watches == nullptr) continue;
    names.push_back(entry->name);
    bytes += entry->name.size() + 4;
  }
  sortFew(names);
  names_encoded_.clear();
  names_encoded_.reserve(bytes);
  for (const std::string_view name : names) appendName(names_encoded_, 3, name);
  return names_encoded_;
}

std::string Subscription::takeNamesOfRequest() {
  (void)namesOfRequest();
  names_known_ = false;
  return std::exchange(names_encoded_, {});
}

void Subscription::forget(std::string_view name) {
  refused_.erase(base::toAbsl(name));
  Entry* entry = find(name);
  if (entry == nullptr) return;
  setExpiry(entry->name, 0);
  replaced_.erase(entry->name);
  entry->bytes = nullptr;
  entry->version = nullptr;
  dropIfEmpty(*entry);
}

// What nobody wants any more is kept until its request leaves: who asks again in the same turn gets it at once.
Subscription::Changes Subscription::takeChanges() {
  Changes changes;
  changes.any = std::exchange(changed_, false);
  bool all_gone = false;
  for (Entry* entry : std::exchange(touched_, {})) {
    entry->touched = false;
    const bool wanted = entry->watches != nullptr;
    if (entry->asked == wanted) {
      dropIfEmpty(*entry);
      continue;
    }
    entry->asked = wanted;
    const bool all = entry == &wildcard_;
    if (wanted) {
      changes.added.push_back(all ? "*" : std::string_view(entry->name));
    } else {
      all_gone = all_gone || all;
      changes.removed.push_back(all ? "*" : entry->name);
    }
  }
  sortFew(changes.added);
  sortFew(changes.removed);
  if (all_gone) {
    std::vector<std::string> gone;
    for (const auto& entry : entries_) {
      if (entry->watches == nullptr) gone.push_back(entry->name);
    }
    for (const std::string& name : gone) forget(name);
    ever_ = false;
  } else if (!wildcard()) {
    for (const std::string& name : changes.removed) forget(name);
  } else {
    for (const std::string& name : changes.removed) {
      if (Entry* entry = find(name)) dropIfEmpty(*entry);
    }
  }
  return changes;
}

void Subscription::forEachHeld(const std::function<void(const std::string&, const std::string&)>& fn) const {
  for (const auto& entry : entries_) {
    if (entry->bytes != nullptr) fn(entry->name, *entry->version);
  }
}

void Subscription::visitNames(const std::function<void(std::string_view)>& fn) const {
  for (const auto& entry : entries_) fn(entry->name);
  for (const auto& [name, refused] : refused_) fn(name);
}

void Subscription::visit(const std::string& name, const std::function<void(const ResourceView&)>& fn) const {
  const Entry* known = find(name);
  const auto refused = refused_.find(name);
  if (known == nullptr && refused == refused_.end()) return;
  const Entry* held = findHeld(name);
  const auto replaced = replaced_.find(name);
  ResourceView::Version accepted;
  if (held != nullptr) accepted = {held->bytes, *held->version, held->at};
  fn({name, held == nullptr ? nullptr : &accepted, held == nullptr || replaced == replaced_.end() ? nullptr : &replaced->second,
      refused == refused_.end() ? nullptr : &refused->second.version, refused == refused_.end() ? nullptr : &refused->second.error});
}

void Subscription::dropReplaced() { replaced_.clear(); }

void Subscription::setExpiry(const std::string& name, base::Nanos ttl) {
  if (ttl == 0 && expires_.empty()) return;
  if (const auto at = expires_.find(name); at != expires_.end()) {
    expiring_.erase({at->second, name});
    expires_.erase(at);
  }
  if (ttl == 0) return;
  const base::Nanos end = loop_.now() + ttl;
  expires_.emplace(name, end);
  expiring_.insert({end, name});
  expiry_.armAt(expiring_.begin()->first);
}

void Subscription::expire() {
  if (busy()) return;  // finish() arms again
  Incoming gone;
  gone.version = version_;
  for (const auto& [deadline, name] : expiring_) {
    if (deadline > loop_.now()) break;
    gone.removed.push_back(name);
  }
  if (!gone.removed.empty()) {
    OUTRIDER_LOG(kWarning, kXds, "%s: the time to live of %zu resources ended without a refresh, first: %s",
                 std::string(typeLabel(type_url_)).c_str(), gone.removed.size(), gone.removed.front().c_str());
    apply(std::move(gone), [](const Verdict&) {});
  }
  if (!busy() && !expiring_.empty()) expiry_.armAt(expiring_.begin()->first);
}

// An empty name: the delivery has everything that is new, so a refusal that names nothing refuses all of it.
void Subscription::bindAnswer(Delivery& delivery, const std::shared_ptr<Round>& round, WatchId id, std::string name) {
  ++round->open;
  delivery.answer = std::make_unique<Delivery::Answer>([round, id, name = std::move(name)](Verdict verdict) {
    if (!verdict.accepted) {
      round->total.accepted = false;
      join(round->total.error, verdict.error);
      round->bad.insert(verdict.rejected.begin(), verdict.rejected.end());
      if (verdict.rejected.empty() && !name.empty()) round->bad.insert(name);
      for (size_t i = 0; verdict.rejected.empty() && name.empty() && i < round->changed.size(); ++i) {
        if (round->changed[i] != nullptr) round->bad.insert(round->in.items[i].name);
      }
    }
    if (round->owner == nullptr) return;
    const auto watch = round->owner->watches_.find(id);
    if (watch != round->owner->watches_.end()) {
      if (verdict.accepted) {
        watch->second->countUpdate(*round->owner, round->version);
      } else {
        watch->second->countRejected();
      }
    }
    if (--round->open == 0) round->owner->advance(round);
  });
}

void Subscription::apply(Incoming in, std::function<void(const Verdict&)> done) {
  const auto round = std::make_shared<Round>();
  round_ = round;
  round->owner = this;
  round->in = std::move(in);
  round->version = shared(round->in.version);
  round->done = std::move(done);
  round->changed.resize(round->in.items.size());
  round->absence_deletes = round->in.full && absence_deletes_ && wildcard();
  for (const Watch* watch = wildcard_.watches; watch != nullptr; watch = watch->next) {
    Delivery& delivery = round->deliveries[watch->id];
    delivery.type_url = type_url_;
    delivery.version = round->in.version;
    delivery.full = round->in.full;
  }
  advance(round);
}

// As far as this turn has time; the rest follows from a letter.
void Subscription::advance(const std::shared_ptr<Round>& round) {
  using Phase = Round::Phase;
  bool more = false;
  if (round->phase == Phase::kComparing) {
    more = compareSome(*round);
    if (!more) closeComparison(round);
  }
  if (!more && round->phase == Phase::kHandingOver) {
    more = handOverSome(round);
    if (!more) {
      round->phase = Phase::kAnswering;
      --round->open;
    }
  }
  if (!more && round->phase == Phase::kAnswering && round->open == 0) {
    round->phase = Phase::kSettling;
    round->next = 0;
  }
  if (!more && round->phase == Phase::kSettling) {
    more = settleSome(*round);
    if (!more) finish(*round);
  }
  if (!more) return;
  loop_.mailbox().post([round] {
    if (round->owner != nullptr) round->owner->advance(round);
  });
}

// Which bytes are news; true: there are more items.
bool Subscription::compareSome(Round& round) {
  std::vector<Incoming::Item>& items = round.in.items;
  const size_t end = std::min(items.size(), round.next + kMostInATurn);
  for (; round.next < end; ++round.next) {
    if (round.next % kLookAtClock == kLookAtClock - 1 && loop_.overtime()) break;
    const size_t i = round.next;
    Incoming::Item& item = items[i];
    if (round.absence_deletes) round.present.insert(item.name);
    Entry* entry = find(item.name);
    const bool held = entry != nullptr && entry->bytes != nullptr;
    if (item.heartbeat) {
      if (held) setExpiry(item.name, item.ttl);
      continue;
    }
    if (held && entry->hash == item.hash) {
      if (*entry->version != item.version) entry->version = shared(item.version);
      setExpiry(item.name, item.ttl);
      continue;
    }
    round.changed[i] = std::move(item.bytes);
    for (auto& [id, delivery] : round.deliveries) delivery.resources.push_back({item.name, item.version, round.changed[i]});
  }
  return round.next < items.size();
}

void Subscription::closeComparison(const std::shared_ptr<Round>& round) {
  if (round->absence_deletes && wildcard()) {
    for (const auto& entry : entries_) {
      if (entry->bytes != nullptr && !round->present.contains(entry->name)) round->in.removed.push_back(entry->name);
    }
    std::sort(round->in.removed.begin(), round->in.removed.end());
  }
  // One delivery for each watcher of everything; those of single names follow item by item, so that ten thousand do not come at once.
  for (auto at = round->deliveries.begin(); at != round->deliveries.end();) {
    Delivery& delivery = at->second;
    for (const std::string& name : round->in.removed) {
      if (findHeld(name) != nullptr) delivery.removed.push_back(name);
    }
    const auto watch = watches_.find(at->first);
    const bool first = watch != watches_.end() && !watch->second->delivered && !latecomers_.contains(at->first);
    if (watch != watches_.end() && (first || !delivery.resources.empty() || !delivery.removed.empty())) {
      bindAnswer(delivery, round, at->first, {});
      ++at;
      continue;
    }
    if (watch != watches_.end()) watch->second->countUpdate(*this, round->version);
    at = round->deliveries.erase(at);
  }
  round->phase = Round::Phase::kHandingOver;
  round->next = 0;
}

// A watcher may add and remove watches, also this whole table's last one; it may not destroy the table (the hub defers that).
void Subscription::handOver(WatchId id, Delivery delivery) {
  const auto watch = watches_.find(id);
  if (watch == watches_.end()) {
    delivery.done(Verdict::ok());
    return;
  }
  watch->second->delivered = true;
  watch->second->fetch.reset();
  latecomers_.erase(id);
  watch->second->watcher.onDelivery(std::move(delivery));
}

// To the watchers of one name: item `at`, or, behind the items, one of the removed names.
void Subscription::deliverOne(const std::shared_ptr<Round>& round, size_t at) {
  const std::vector<Incoming::Item>& items = round->in.items;
  const bool gone = at >= items.size();
  const std::string& name = gone ? round->in.removed[at - items.size()] : items[at].name;
  if (name.empty()) return;
  const Entry* entry = find(name);
  if (entry == nullptr) return;
  if (!gone && round->changed[at] == nullptr) {
    for (Watch* watch = entry->watches; watch != nullptr; watch = watch->next) watch->countUpdate(*this, round->version);
    return;
  }
  absl::InlinedVector<WatchId, 4> ids;  // what a watcher does may end this entry
  for (const Watch* watch = entry->watches; watch != nullptr; watch = watch->next) ids.push_back(watch->id);
  for (const WatchId id : ids) {
    Delivery delivery;
    delivery.type_url = type_url_;
    delivery.version = round->in.version;
    delivery.full = round->in.full;
    if (gone) {
      delivery.removed.push_back(name);
    } else {
      delivery.resources.push_back({name, items[at].version, round->changed[at]});
    }
    bindAnswer(delivery, round, id, name);
    handOver(id, std::move(delivery));
  }
}

// True: there are more.
bool Subscription::handOverSome(const std::shared_ptr<Round>& round) {
  constexpr size_t kPerTurn = 128;
  while (!round->deliveries.empty()) {
    auto next = round->deliveries.extract(round->deliveries.begin());
    handOver(next.key(), std::move(next.mapped()));
  }
  const size_t all = round->in.items.size() + round->in.removed.size();
  for (size_t i = 0; i < kPerTurn && round->next < all && watched_names_ > 0; ++i) {
    if (i > 0 && loop_.overtime()) break;
    deliverOne(round, round->next++);
  }
  return round->next < all && watched_names_ > 0;
}

// What was accepted is held from now on; true: there are more items.
bool Subscription::settleSome(Round& round) {
  const size_t end = std::min(round.in.items.size(), round.next + kMostInATurn);
  for (; round.next < end; ++round.next) {
    if (round.next % kLookAtClock == kLookAtClock - 1 && loop_.overtime()) break;
    settleOne(round, round.next);
  }
  return round.next < round.in.items.size();
}

void Subscription::settleOne(Round& round, size_t at) {
  const Incoming::Item& item = round.in.items[at];
  if (item.heartbeat) return;
  Entry* entry = find(item.name);
  if (round.changed[at] == nullptr) {
    if (entry != nullptr && entry->bytes != nullptr) refused_.erase(item.name);  // back to what serves
    return;
  }
  if (!wildcard() && (entry == nullptr || entry->watches == nullptr)) return;
  if (round.bad.contains(item.name)) {
    refused_[item.name] = {{std::move(round.changed[at]), item.version, loop_.wall()}, round.total.error};
    return;
  }
  refused_.erase(item.name);
  if (entry == nullptr) entry = &need(item.name);
  if (keep_replaced_ && entry->bytes != nullptr)
    replaced_.try_emplace(item.name, ResourceView::Version{entry->bytes, *entry->version, entry->at});
  entry->at = loop_.wall();
  entry->hash = item.hash;
  entry->version = shared(item.version);
  entry->bytes = std::move(round.changed[at]);
  setExpiry(item.name, item.ttl);
  for (const Watch* watch = entry->watches; watch != nullptr; watch = watch->next) {
    if (!watch->delivered) latecomers_.insert(watch->id);  // came while the round ran
  }
}

void Subscription::finish(Round& round) {
  const std::shared_ptr<Round> keep = std::move(round_);
  round_ = nullptr;
  ever_ = true;
  if (round.total.accepted) version_ = round.in.version;
  for (const std::string& name : round.in.removed) forget(name);
  for (const Watch* watch = wildcard_.watches; watch != nullptr; watch = watch->next) {
    if (!watch->delivered) latecomers_.insert(watch->id);
  }
  if (!latecomers_.empty()) loop_.defer(late_);
  if (!expiring_.empty()) expiry_.armAt(expiring_.begin()->first);
  if (round.done) round.done(round.total);
}

// As many as this turn has time for.
void Subscription::deliverLate() {
  if (busy()) return;  // finish() calls again
  std::set<WatchId> ids = std::exchange(latecomers_, {});
  while (!ids.empty()) {
    deliverLateOne(ids.extract(ids.begin()).value());
    if (ids.empty() || !loop_.overtime()) continue;
    latecomers_.merge(ids);
    loop_.mailbox().post([this, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) deliverLate();
    });
    return;
  }
}

void Subscription::deliverLateOne(WatchId id) {
  const auto at = watches_.find(id);
  if (at == watches_.end()) return;
  Watch& watch = *at->second;
  Delivery delivery;
  delivery.type_url = type_url_;
  if (&watch.entry == &wildcard_) {
    delivery.version = version_;
    for (const auto& entry : entries_) {
      if (entry->bytes != nullptr) delivery.resources.push_back({entry->name, *entry->version, entry->bytes});
    }
    std::sort(delivery.resources.begin(), delivery.resources.end(),
              [](const ResourceIn& a, const ResourceIn& b) { return a.name < b.name; });
  } else {
    const Entry& held = watch.entry;
    if (held.bytes == nullptr) return;
    delivery.version = *held.version;
    delivery.resources.push_back({held.name, *held.version, held.bytes});
  }
  // The response was answered long ago; a refusal is this watcher's own matter.
  delivery.answer = std::make_unique<Delivery::Answer>(
      [this, alive = std::weak_ptr<bool>(alive_), id, version = shared(delivery.version)](const Verdict& verdict) {
        if (alive.expired()) return;
        const auto late = watches_.find(id);
        if (late == watches_.end()) return;
        if (verdict.accepted) {
          late->second->countUpdate(*this, version);
          return;
        }
        late->second->countRejected();
        OUTRIDER_LOG(kWarning, kXds, "%s %s: %s", std::string(typeLabel(type_url_)).c_str(), late->second->entry.name.c_str(),
                     verdict.error.c_str());
      });
  watch.delivered = true;
  watch.fetch.reset();
  watch.watcher.onDelivery(std::move(delivery));
}

void Subscription::onTimeout(Watch& watch) {
  watch.stats.inc(SubscriptionStat::kInitFetchTimeout);
  watch.stats.inc(SubscriptionStat::kUpdateAttempt);
  OUTRIDER_LOG(kWarning, kXds, "%s: initial fetch timed out for %s", std::string(typeLabel(type_url_)).c_str(),
               watch.entry.name.empty() ? "all resources" : watch.entry.name.c_str());
  const std::string name = watch.entry.name;  // the watcher may end the watch
  watch.watcher.onFetchTimeout(name);
}

void Subscription::countFailure() {
  for (const auto& [id, watch] : watches_) {
    watch->stats.inc(SubscriptionStat::kUpdateFailure);
    watch->stats.inc(SubscriptionStat::kUpdateAttempt);
  }
}

void Subscription::countRejected() {
  for (const auto& [id, watch] : watches_) watch->countRejected();
}

}  // namespace outrider::xds
