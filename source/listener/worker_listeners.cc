#include "source/listener/worker_listeners.h"

#include <algorithm>

namespace outrider::listener {

// A removed listener whose connections get the drain time to end.
struct WorkerListeners::Leaving {
  Leaving(WorkerListeners& owner, std::unique_ptr<ActiveListener> listener, base::Nanos drain_time, DrainingRef draining)
      : owner(owner),
        listener(std::move(listener)),
        draining(std::move(draining)),
        timer(event::Timer::to<&Leaving::onTime>(owner.worker_.loop.timers(), this)),
        look(event::Deferred::to<&Leaving::onLook>(this)) {
    this->listener->onEmpty([this] { this->owner.worker_.loop.defer(look); });
    timer.armIn(drain_time);
  }
  void onTime() {
    listener->closeAll();
    owner.worker_.loop.defer(look);
  }
  void onLook() {
    if (listener->connections() > 0) return;
    // Out of its own callback: the list lets go of it after the call.
    std::erase_if(owner.leaving_, [this](const auto& each) { return each.get() == this; });
  }
  WorkerListeners& owner;
  std::unique_ptr<ActiveListener> listener;
  DrainingRef draining;
  event::Timer timer;
  event::Deferred look;
};

WorkerListeners::WorkerListeners(filter::WorkerContext& worker, ConnectionLimit& limit) : worker_(worker), limit_(limit) {}
WorkerListeners::~WorkerListeners() = default;

void WorkerListeners::apply(const ListenerChange& change) {
  if (change.id >= active_.size()) active_.resize(change.id + 1);
  std::unique_ptr<ActiveListener>& slot = active_[change.id];
  if (change.version == nullptr) {
    if (slot == nullptr) return;
    slot->stopListening(true);
    slot->drainAll();
    if (slot->connections() > 0) {
      leaving_.push_back(std::make_unique<Leaving>(*this, std::move(slot), change.drain_time, change.draining));
    }
    slot.reset();
    return;
  }
  if (slot == nullptr) {
    slot = std::make_unique<ActiveListener>(worker_, limit_, [this](const base::Address& address) { return find(address); });
  }
  slot->apply(change.version, change.drain_time, change.draining);
  if (change.new_sockets) slot->listen(change.sockets);
}

// Exactly at the address, else at any address of its port.
ActiveListener* WorkerListeners::find(const base::Address& address) const {
  const auto any = base::Address::parseIp(address.family() == AF_INET ? "0.0.0.0" : "::", address.port());
  for (const base::Address* wanted : {&address, any.has_value() ? &*any : nullptr}) {
    if (wanted == nullptr) continue;
    for (const auto& listener : active_) {
      if (listener != nullptr && listener->isAt(*wanted)) return listener.get();
    }
  }
  return nullptr;
}

void WorkerListeners::stopAccepting(bool inbound_only, bool take_queue) {
  for (const auto& listener : active_) {
    if (listener == nullptr) continue;
    if (inbound_only && listener->version()->direction != TrafficDirection::kInbound) continue;
    listener->stopListening(take_queue);
  }
}

void WorkerListeners::drainAll(bool inbound_only) {
  for (const auto& listener : active_) {
    if (listener == nullptr) continue;
    if (inbound_only && listener->version()->direction != TrafficDirection::kInbound) continue;
    listener->drainAll();
  }
}

void WorkerListeners::closeAll() {
  for (const auto& listener : active_) {
    if (listener != nullptr) listener->closeAll();
  }
  for (const auto& each : leaving_) each->listener->closeAll();
}

size_t WorkerListeners::connections() const {
  size_t n = 0;
  for (const auto& listener : active_) n += listener == nullptr ? 0 : listener->connections();
  for (const auto& each : leaving_) n += each->listener->connections();
  return n;
}

}  // namespace outrider::listener
