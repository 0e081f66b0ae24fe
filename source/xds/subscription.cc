#include "source/xds/subscription.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
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

std::vector<std::string> moveOut(std::set<std::string>& names) {
  std::vector<std::string> out;
  out.reserve(names.size());
  while (!names.empty()) out.push_back(std::move(names.extract(names.begin()).value()));
  return out;
}

}  // namespace

struct Subscription::Watch {
  Watch(Subscription& table, WatchId number, std::string_view wanted, Watcher& user, std::string prefix)
      : owner(table),
        id(number),
        name(wanted),
        watcher(user),
        stats(table.store_.scope(prefix, kSubscriptionTable)),
        text_name(std::move(prefix) + "version_text"),
        fetch(event::Timer::to<&Watch::onTimer>(table.loop_.timers(), this)) {
    table.store_.text(text_name, [text = version_text] { return *text; });
  }
  ~Watch() { owner.store_.dropText(text_name); }
  void onTimer() { owner.onTimeout(*this); }

  void countUpdate(const std::string& version) {
    stats.inc(SubscriptionStat::kUpdateSuccess);
    stats.inc(SubscriptionStat::kUpdateAttempt);
    stats.set(SubscriptionStat::kUpdateTime, static_cast<uint64_t>(owner.loop_.wall() / base::kMilli));
    stats.set(SubscriptionStat::kVersion, hashBytes(version) >> 1);
    *version_text = version;
  }
  void countRejected() {
    stats.inc(SubscriptionStat::kUpdateRejected);
    stats.inc(SubscriptionStat::kUpdateAttempt);
  }

  Subscription& owner;
  const WatchId id;
  const std::string name;
  Watcher& watcher;
  const stats::Set<SubscriptionStat> stats;
  const std::string text_name;
  const std::shared_ptr<std::string> version_text = std::make_shared<std::string>();
  event::Timer fetch;
  bool delivered = false;
};

// How far a response is: its items are held against what was accepted, handed over, and, with all answers there, taken up.
struct Subscription::Round {
  enum class Phase : uint8_t { kComparing, kHandingOver, kAnswering, kSettling };
  Subscription* owner = nullptr;
  Incoming in;
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
      late_(event::Deferred::to<&Subscription::deliverLate>(this)) {}

Subscription::~Subscription() {
  if (round_ == nullptr) return;
  round_->owner = nullptr;
  const auto dropped = std::exchange(round_->deliveries, {});  // they refer to the round
}

void Subscription::add(WatchId id, std::string_view name, Watcher& watcher, const std::string& stats_prefix, base::Nanos fetch_timeout) {
  auto watch = std::make_unique<Watch>(*this, id, name, watcher, stats_prefix.empty() ? defaultPrefix(type_url_, name) : stats_prefix);
  watch->stats.inc(SubscriptionStat::kUpdateAttempt);
  std::vector<Watch*>& same = by_name_[watch->name];
  const std::string key = name.empty() ? "*" : std::string(name);
  if (same.empty()) {
    if (removed_.erase(key) == 0) added_.insert(key);
    changed_ = true;
    names_known_ = false;
  }
  same.push_back(watch.get());
  if (name.empty()) ++wildcard_watches_;
  const bool known = name.empty() ? ever_ : held_.contains(watch->name);
  if (known) {
    latecomers_.insert(id);
    loop_.defer(late_);
  } else if (fetch_timeout > 0) {
    watch->fetch.armIn(fetch_timeout);
  }
  watches_.emplace(id, std::move(watch));
  if (changed_) names_changed_();
}

bool Subscription::remove(WatchId id) {
  const auto at = watches_.find(id);
  if (at == watches_.end()) return false;
  const std::string name = at->second->name;
  std::vector<Watch*>& same = by_name_[name];
  std::erase(same, at->second.get());
  if (name.empty()) --wildcard_watches_;
  if (same.empty()) {
    by_name_.erase(name);
    const std::string key = name.empty() ? "*" : name;
    if (added_.erase(key) == 0) removed_.insert(key);
    changed_ = true;
    names_known_ = false;
  }
  watches_.erase(at);
  latecomers_.erase(id);
  // Watches of one name may share a prefix; the readout that just went is another one's too.
  if (const auto left = by_name_.find(name); left != by_name_.end()) {
    for (const Watch* watch : left->second) store_.text(watch->text_name, [text = watch->version_text] { return *text; });
  }
  if (changed_) names_changed_();
  return true;
}

const std::string& Subscription::namesOfRequest() const {
  if (std::exchange(names_known_, true)) return names_encoded_;
  std::vector<std::string_view> sorted;
  sorted.reserve(by_name_.size());
  for (const auto& [name, watches] : by_name_) {
    if (!name.empty()) sorted.push_back(name);
  }
  std::sort(sorted.begin(), sorted.end());
  names_encoded_.clear();
  for (const std::string_view name : sorted) appendName(names_encoded_, 3, name);
  return names_encoded_;
}

void Subscription::forget(const std::string& name) {
  refused_.erase(name);
  const auto at = held_.find(name);
  if (at == held_.end()) return;
  if (at->second.expires > 0) expiring_.erase({at->second.expires, name});
  held_.erase(at);
}

// What nobody wants any more is kept until its request leaves: who asks again in the same turn gets it at once.
Subscription::Changes Subscription::takeChanges() {
  Changes changes;
  changes.any = changed_;
  const bool all_gone = removed_.contains("*");
  changes.added = moveOut(added_);
  changes.removed = moveOut(removed_);
  if (all_gone) {
    std::vector<std::string> gone;
    for (const auto& [name, held] : held_) {
      if (!by_name_.contains(name)) gone.push_back(name);
    }
    for (const std::string& name : gone) forget(name);
    ever_ = false;
  } else if (!wildcard()) {
    for (const std::string& name : changes.removed) forget(name);
  }
  changed_ = false;
  return changes;
}

std::vector<std::pair<std::string, std::string>> Subscription::held() const {
  std::vector<std::pair<std::string, std::string>> all;
  all.reserve(held_.size());
  for (const auto& [name, held] : held_) all.emplace_back(name, held.version);
  std::sort(all.begin(), all.end());
  return all;
}

void Subscription::visit(const std::function<void(const ResourceView&)>& fn) const {
  std::set<std::string_view> names;
  for (const auto& [name, held] : held_) names.insert(name);
  for (const auto& [name, refused] : refused_) names.insert(name);
  for (const auto& [name, watches] : by_name_) {
    if (!name.empty()) names.insert(name);
  }
  for (const std::string_view each : names) {
    const std::string name(each);
    const auto held = held_.find(name);
    const auto refused = refused_.find(name);
    ResourceView::Version accepted;
    if (held != held_.end()) accepted = {held->second.bytes, held->second.version, held->second.at};
    fn({name, held == held_.end() ? nullptr : &accepted, held == held_.end() ? nullptr : held->second.replaced.get(),
        refused == refused_.end() ? nullptr : &refused->second.version, refused == refused_.end() ? nullptr : &refused->second.error});
  }
}

void Subscription::dropReplaced() {
  for (const std::string& name : replaced_) {
    if (const auto held = held_.find(name); held != held_.end()) held->second.replaced.reset();
  }
  replaced_.clear();
}

std::vector<Subscription::Watch*> Subscription::watchesOf(const std::string& name) const {
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? std::vector<Watch*>() : at->second;
}

void Subscription::setExpiry(const std::string& name, Held& held, base::Nanos ttl) {
  if (held.expires > 0) expiring_.erase({held.expires, name});
  held.expires = ttl > 0 ? loop_.now() + ttl : 0;
  if (held.expires == 0) return;
  expiring_.insert({held.expires, name});
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
        watch->second->countUpdate(round->in.version);
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
  round->done = std::move(done);
  round->changed.resize(round->in.items.size());
  round->absence_deletes = round->in.full && absence_deletes_ && wildcard();
  for (const Watch* watch : watchesOf("")) {
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
    const auto held = held_.find(item.name);
    if (item.heartbeat) {
      if (held != held_.end()) setExpiry(item.name, held->second, item.ttl);
      continue;
    }
    if (held != held_.end() && held->second.hash == item.hash) {
      held->second.version = item.version;
      setExpiry(item.name, held->second, item.ttl);
      continue;
    }
    round.changed[i] = std::move(item.bytes);
    for (auto& [id, delivery] : round.deliveries) delivery.resources.push_back({item.name, item.version, round.changed[i]});
  }
  return round.next < items.size();
}

void Subscription::closeComparison(const std::shared_ptr<Round>& round) {
  if (round->absence_deletes && wildcard()) {
    for (const auto& [name, held] : held_) {
      if (!round->present.contains(name)) round->in.removed.push_back(name);
    }
    std::sort(round->in.removed.begin(), round->in.removed.end());
  }
  // One delivery for each watcher of everything; those of single names follow item by item, so that ten thousand do not come at once.
  for (auto at = round->deliveries.begin(); at != round->deliveries.end();) {
    Delivery& delivery = at->second;
    for (const std::string& name : round->in.removed) {
      if (held_.contains(name)) delivery.removed.push_back(name);
    }
    const auto watch = watches_.find(at->first);
    const bool first = watch != watches_.end() && !watch->second->delivered && !latecomers_.contains(at->first);
    if (watch != watches_.end() && (first || !delivery.resources.empty() || !delivery.removed.empty())) {
      bindAnswer(delivery, round, at->first, {});
      ++at;
      continue;
    }
    if (watch != watches_.end()) watch->second->countUpdate(round->in.version);
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
  watch->second->fetch.cancel();
  latecomers_.erase(id);
  watch->second->watcher.onDelivery(std::move(delivery));
}

// To the watchers of one name: item `at`, or, behind the items, one of the removed names.
void Subscription::deliverOne(const std::shared_ptr<Round>& round, size_t at) {
  const std::vector<Incoming::Item>& items = round->in.items;
  const bool gone = at >= items.size();
  const std::string& name = gone ? round->in.removed[at - items.size()] : items[at].name;
  if (name.empty()) return;
  std::vector<WatchId> ids;
  for (const Watch* watch : watchesOf(name)) ids.push_back(watch->id);
  for (const WatchId id : ids) {
    if (!gone && round->changed[at] == nullptr) {
      if (const auto watch = watches_.find(id); watch != watches_.end()) watch->second->countUpdate(round->in.version);
      continue;
    }
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
  const auto namesWatched = [&] { return by_name_.size() > (wildcard() ? 1u : 0u); };
  for (size_t i = 0; i < kPerTurn && round->next < all && namesWatched(); ++i) {
    if (i > 0 && loop_.overtime()) break;
    deliverOne(round, round->next++);
  }
  return round->next < all && namesWatched();
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
  if (round.changed[at] == nullptr) {
    if (held_.contains(item.name)) refused_.erase(item.name);  // back to what serves
    return;
  }
  if (!wildcard() && !by_name_.contains(item.name)) return;
  if (round.bad.contains(item.name)) {
    refused_[item.name] = {{std::move(round.changed[at]), item.version, loop_.wall()}, round.total.error};
    return;
  }
  refused_.erase(item.name);
  Held& held = held_[item.name];
  if (keep_replaced_ && held.bytes != nullptr && held.replaced == nullptr) {
    held.replaced = std::make_unique<ResourceView::Version>(ResourceView::Version{held.bytes, held.version, held.at});
    replaced_.push_back(item.name);
  }
  held.at = loop_.wall();
  held.hash = item.hash;
  held.version = item.version;
  held.bytes = std::move(round.changed[at]);
  setExpiry(item.name, held, item.ttl);
  for (const Watch* watch : watchesOf(item.name)) {
    if (!watch->delivered) latecomers_.insert(watch->id);  // came while the round ran
  }
}

void Subscription::finish(Round& round) {
  const std::shared_ptr<Round> keep = std::move(round_);
  round_ = nullptr;
  ever_ = true;
  if (round.total.accepted) version_ = round.in.version;
  for (const std::string& name : round.in.removed) forget(name);
  for (const Watch* watch : watchesOf("")) {
    if (!watch->delivered) latecomers_.insert(watch->id);
  }
  if (!latecomers_.empty()) loop_.defer(late_);
  if (!expiring_.empty()) expiry_.armAt(expiring_.begin()->first);
  if (round.done) round.done(round.total);
}

void Subscription::deliverLate() {
  if (busy()) return;  // finish() calls again
  const std::set<WatchId> ids = std::exchange(latecomers_, {});
  for (const WatchId id : ids) {
    const auto at = watches_.find(id);
    if (at == watches_.end()) continue;
    Watch& watch = *at->second;
    Delivery delivery;
    delivery.type_url = type_url_;
    if (watch.name.empty()) {
      delivery.version = version_;
      for (const auto& [name, held] : held_) delivery.resources.push_back({name, held.version, held.bytes});
      std::sort(delivery.resources.begin(), delivery.resources.end(),
                [](const ResourceIn& a, const ResourceIn& b) { return a.name < b.name; });
    } else {
      const auto held = held_.find(watch.name);
      if (held == held_.end()) continue;
      delivery.version = held->second.version;
      delivery.resources.push_back({watch.name, held->second.version, held->second.bytes});
    }
    // The response was answered long ago; a refusal is this watcher's own matter.
    delivery.answer = std::make_unique<Delivery::Answer>(
        [self = this, alive = std::weak_ptr<bool>(alive_), id, version = delivery.version](Verdict verdict) {
          if (alive.expired()) return;
          const auto late = self->watches_.find(id);
          if (late == self->watches_.end()) return;
          if (verdict.accepted) {
            late->second->countUpdate(version);
            return;
          }
          late->second->countRejected();
          OUTRIDER_LOG(kWarning, kXds, "%s %s: %s", std::string(typeLabel(self->type_url_)).c_str(), late->second->name.c_str(),
                       verdict.error.c_str());
        });
    watch.delivered = true;
    watch.fetch.cancel();
    watch.watcher.onDelivery(std::move(delivery));
  }
}

void Subscription::onTimeout(Watch& watch) {
  watch.stats.inc(SubscriptionStat::kInitFetchTimeout);
  watch.stats.inc(SubscriptionStat::kUpdateAttempt);
  OUTRIDER_LOG(kWarning, kXds, "%s: initial fetch timed out for %s", std::string(typeLabel(type_url_)).c_str(),
               watch.name.empty() ? "all resources" : watch.name.c_str());
  const std::string name = watch.name;  // the watcher may end the watch
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
