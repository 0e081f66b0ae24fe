// What a user of xDS sees: resources that are new, changed or gone, and the answer that it owes for them.
// Thread: main.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "source/config/resource_view.h"

namespace outrider::xds {

struct ResourceIn {
  std::string name;
  std::string version;
  std::shared_ptr<const std::string> bytes;  // the serialized inner message: a Cluster, not the Any
};

using config::ResourceView;

// Good resources were applied in either case. With an error, `rejected` names the bad ones; none named: all of this delivery were.
struct Verdict {
  bool accepted = true;
  std::string error;  // "Error adding/updating listener(s) a: why", several joined by '\n'
  std::vector<std::string> rejected;
  static Verdict ok() { return {}; }
  static Verdict nack(std::string error, std::vector<std::string> rejected = {}) { return {false, std::move(error), std::move(rejected)}; }
};

// The part of one response that concerns one watcher. Resources whose bytes are the accepted ones are left out, so what is here
// is news; `removed` names what is gone, in both protocols (also by absence, for the types where that deletes).
// A wildcard watcher's first delivery comes even when it is empty.
struct Delivery {
  std::string type_url;
  std::string version;
  bool full = false;  // from a state-of-the-world response
  std::vector<ResourceIn> resources;
  std::vector<std::string> removed;

  Delivery() = default;
  Delivery(Delivery&& other) noexcept = default;
  Delivery& operator=(Delivery&& other) noexcept {
    if (this == &other) return *this;
    done(Verdict::ok());
    type_url = std::move(other.type_url);
    version = std::move(other.version);
    full = other.full;
    resources = std::move(other.resources);
    removed = std::move(other.removed);
    answer = std::move(other.answer);
    return *this;
  }
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;
  ~Delivery() { done(Verdict::ok()); }  // a watcher that went away objects to nothing

  // At once or later, once. The ACK or NACK leaves when all watchers of the response have answered.
  void done(Verdict verdict) {
    if (answer == nullptr) return;
    const std::unique_ptr<Answer> once = std::move(answer);
    (*once)(std::move(verdict));
  }

  using Answer = std::function<void(Verdict)>;
  std::unique_ptr<Answer> answer;  // the subscription's
};

class Watcher {
 public:
  virtual void onDelivery(Delivery delivery) = 0;
  // Nothing came within initial_fetch_timeout. A delivery may still follow.
  virtual void onFetchTimeout(std::string_view name) = 0;

 protected:
  ~Watcher() = default;
};

using WatchId = uint64_t;  // 0: none

}  // namespace outrider::xds
