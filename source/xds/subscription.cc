#include "source/xds/subscription.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "source/base/log.h"
#include "source/xds/types.h"

namespace outrider::xds {
namespace {

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

}  // namespace

// Tells equal bytes from others; nothing trusts it against an attacker, who would only keep his own old config.
uint64_t hashBytes(std::string_view bytes) {
  uint64_t hash = 0x9e3779b97f4a7c15 ^ bytes.size();
  const auto mix = [&hash](uint64_t word) {
    word *= 0x87c37b91114253d5;
    word = (word << 31) | (word >> 33);
    hash ^= word * 0x4cf5ad432745937f;
    hash = ((hash << 27) | (hash >> 37)) * 5 + 0x52dce729;
  };
  size_t at = 0;
  for (; at + sizeof(uint64_t) <= bytes.size(); at += sizeof(uint64_t)) {
    uint64_t word;
    __builtin_memcpy(&word, bytes.data() + at, sizeof word);
    mix(word);
  }
  uint64_t rest = 0;
  __builtin_memcpy(&rest, bytes.data() + at, bytes.size() - at);
  mix(rest);
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccd;
  hash ^= hash >> 33;
  hash *= 0xc4ceb9fe1a85ec53;
  hash ^= hash >> 33;
  return hash;
}

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

struct Subscription::Round {
  Subscription* owner = nullptr;
  Incoming in;
  std::vector<uint64_t> hashes;                              // of in.items
  std::vector<std::shared_ptr<const std::string>> changed;   // null: as accepted before
  std::map<WatchId, Delivery> deliveries;                    // to watchers of everything, not handed over yet
  size_t next = 0;                                           // of the items, then of the removed: not handed to watchers of names yet
  size_t open = 1;                                           // answers that are owed, and one until all are handed over
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
  const auto dropped = std::exchange(round_->deliveries, {});   // they refer to the round
}

void Subscription::add(WatchId id, std::string_view name, Watcher& watcher, const std::string& stats_prefix,
                       base::Nanos fetch_timeout) {
  auto watch = std::make_unique<Watch>(*this, id, name, watcher, stats_prefix.empty() ? defaultPrefix(type_url_, name) : stats_prefix);
  watch->stats.inc(SubscriptionStat::kUpdateAttempt);
  std::vector<Watch*>& same = by_name_[watch->name];
  const std::string key = name.empty() ? "*" : std::string(name);
  if (same.empty()) {
    if (removed_.erase(key) == 0) added_.insert(key);
    changed_ = true;
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

std::vector<std::string> Subscription::names() const {
  std::vector<std::string> names;
  names.reserve(by_name_.size());
  for (const auto& [name, watches] : by_name_) {
    if (!name.empty()) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
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
  changes.added.assign(added_.begin(), added_.end());
  changes.removed.assign(removed_.begin(), removed_.end());
  if (removed_.contains("*")) {
    std::vector<std::string> gone;
    for (const auto& [name, held] : held_) {
      if (!by_name_.contains(name)) gone.push_back(name);
    }
    for (const std::string& name : gone) forget(name);
    ever_ = false;
  } else if (!wildcard()) {
    for (const std::string& name : removed_) forget(name);
  }
  added_.clear();
  removed_.clear();
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

std::string Subscription::duplicateText(const std::string& name, bool delta) const {
  const TypeInfo* type = findTypeInfo(type_url_);
  if (!delta && type != nullptr && type->absence_deletes) {
    return "duplicate " + std::string(type->noun) + " " + name + " found";
  }
  return "duplicate name " + name + " found among added/updated resources";
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
  if (busy()) return;   // settle() arms again
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

void Subscription::bindAnswer(Delivery& delivery, const std::shared_ptr<Round>& round, WatchId id, std::vector<std::string> names) {
  ++round->open;
  delivery.answer = std::make_unique<Delivery::Answer>([round, id, names = std::move(names)](Verdict verdict) {
    if (!verdict.accepted) {
      round->total.accepted = false;
      join(round->total.error, verdict.error);
      const std::vector<std::string>& bad = verdict.rejected.empty() ? names : verdict.rejected;
      round->bad.insert(bad.begin(), bad.end());
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
    if (--round->open == 0) round->owner->finish(*round);
  });
}

void Subscription::apply(Incoming in, std::function<void(const Verdict&)> done) {
  const auto round = std::make_shared<Round>();
  round_ = round;
  round->owner = this;
  round->in = std::move(in);
  round->done = std::move(done);

  // Which bytes are news.
  absl::flat_hash_set<std::string_view> present;
  std::vector<Incoming::Item>& items = round->in.items;
  round->hashes.resize(items.size());
  round->changed.resize(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    Incoming::Item& item = items[i];
    present.insert(item.name);
    const auto held = held_.find(item.name);
    if (item.heartbeat) {
      if (held != held_.end()) setExpiry(item.name, held->second, item.ttl);
      continue;
    }
    round->hashes[i] = hashBytes(item.bytes);
    if (held != held_.end() && held->second.hash == round->hashes[i]) {
      held->second.version = item.version;
      setExpiry(item.name, held->second, item.ttl);
      continue;
    }
    if (wildcard() || by_name_.contains(item.name)) round->changed[i] = std::make_shared<const std::string>(std::move(item.bytes));
  }
  if (round->in.full && absence_deletes_ && wildcard()) {
    for (const auto& [name, held] : held_) {
      if (!present.contains(name)) round->in.removed.push_back(name);
    }
    std::sort(round->in.removed.begin(), round->in.removed.end());
  }

  // One delivery for each watcher of everything; those of single names follow item by item, so that ten thousand do not come at once.
  for (const Watch* watch : watchesOf("")) {
    Delivery delivery;
    delivery.type_url = type_url_;
    delivery.version = round->in.version;
    delivery.full = round->in.full;
    std::vector<std::string> names;
    for (size_t i = 0; i < items.size(); ++i) {
      if (round->changed[i] == nullptr) continue;
      delivery.resources.push_back({items[i].name, items[i].version, round->changed[i]});
      names.push_back(items[i].name);
    }
    for (const std::string& name : round->in.removed) {
      if (held_.contains(name)) delivery.removed.push_back(name);
    }
    const bool first = !watch->delivered && !latecomers_.contains(watch->id);
    if (!first && delivery.resources.empty() && delivery.removed.empty()) {
      watches_.at(watch->id)->countUpdate(round->in.version);
      continue;
    }
    bindAnswer(delivery, round, watch->id, std::move(names));
    round->deliveries.emplace(watch->id, std::move(delivery));
  }
  deliver(round);
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
    bindAnswer(delivery, round, id, gone ? std::vector<std::string>() : std::vector<std::string>{name});
    handOver(id, std::move(delivery));
  }
}

void Subscription::deliver(const std::shared_ptr<Round>& round) {
  constexpr size_t kPerTurn = 128;
  while (!round->deliveries.empty()) {
    auto next = round->deliveries.extract(round->deliveries.begin());
    handOver(next.key(), std::move(next.mapped()));
  }
  const size_t all = round->in.items.size() + round->in.removed.size();
  const auto namesWatched = [&] { return by_name_.size() > (wildcard() ? 1u : 0u); };
  for (size_t i = 0; i < kPerTurn && round->next < all && namesWatched(); ++i) deliverOne(round, round->next++);
  if (round->next < all && namesWatched()) {
    loop_.mailbox().post([round] {
      if (round->owner != nullptr) round->owner->deliver(round);
    });
    return;
  }
  if (--round->open == 0 && round->owner != nullptr) finish(*round);
}

void Subscription::finish(Round& round) {
  const std::shared_ptr<Round> keep = std::move(round_);
  round_ = nullptr;
  settle(round);
  if (round.done) round.done(round.total);
}

void Subscription::settle(Round& round) {
  ever_ = true;
  if (round.total.accepted) version_ = round.in.version;
  std::vector<Incoming::Item>& items = round.in.items;
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].heartbeat) continue;
    if (round.changed[i] == nullptr) {
      if (held_.contains(items[i].name)) refused_.erase(items[i].name);   // back to what serves
      continue;
    }
    if (!wildcard() && !by_name_.contains(items[i].name)) continue;
    if (round.bad.contains(items[i].name)) {
      refused_[items[i].name] = {{std::move(round.changed[i]), items[i].version, loop_.wall()}, round.total.error};
      continue;
    }
    refused_.erase(items[i].name);
    Held& held = held_[items[i].name];
    if (keep_replaced_ && held.bytes != nullptr && held.replaced == nullptr) {
      held.replaced = std::make_unique<ResourceView::Version>(ResourceView::Version{held.bytes, held.version, held.at});
      replaced_.push_back(items[i].name);
    }
    held.at = loop_.wall();
    held.hash = round.hashes[i];
    held.version = items[i].version;
    held.bytes = std::move(round.changed[i]);
    setExpiry(items[i].name, held, items[i].ttl);
    for (const Watch* watch : watchesOf(items[i].name)) {
      if (!watch->delivered) latecomers_.insert(watch->id);   // came while the round ran
    }
  }
  for (const std::string& name : round.in.removed) forget(name);
  for (const Watch* watch : watchesOf("")) {
    if (!watch->delivered) latecomers_.insert(watch->id);
  }
  if (!latecomers_.empty()) loop_.defer(late_);
  if (!expiring_.empty()) expiry_.armAt(expiring_.begin()->first);
}

void Subscription::deliverLate() {
  if (busy()) return;   // settle() calls again
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
    delivery.answer = std::make_unique<Delivery::Answer>([self = this, alive = std::weak_ptr<bool>(alive_), id,
                                                          version = delivery.version](Verdict verdict) {
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
  const std::string name = watch.name;   // the watcher may end the watch
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
