// A config part (route table, cluster, chain) as one worker holds it: immutable, pinned by streams and connections with a plain
// count. The last local reference posts the part back to main, so big parts are never destroyed on a worker.
// Thread: its worker, but the part itself is read-only for all. Lifetime: counted.
#pragma once

#include <memory>
#include <utility>

#include "source/base/local_ref.h"
#include "source/event/mailbox.h"

namespace outrider::config {

template <class T>
class LocalPart final {
 public:
  LocalPart(std::shared_ptr<const T> part, event::Mailbox& main) : part_(std::move(part)), main_(main) {}
  const T& operator*() const { return *part_; }
  const T* operator->() const { return part_.get(); }
  const std::shared_ptr<const T>& shared() const { return part_; }

  void ref() { ++refs_; }
  void unref() {
    if (--refs_ > 0) return;
    main_.post([part = std::move(part_)] {});
    delete this;
  }

 private:
  ~LocalPart() = default;
  std::shared_ptr<const T> part_;
  event::Mailbox& main_;
  uint32_t refs_ = 0;
};

template <class T>
using PartRef = base::LocalRef<LocalPart<T>>;

template <class T>
PartRef<T> makePart(std::shared_ptr<const T> part, event::Mailbox& main) {
  return PartRef<T>(new LocalPart<T>(std::move(part), main));
}

}  // namespace outrider::config
