// Nodes that an owner embeds so that a loop can call it later without allocating.
// Thread: the loop's. Lifetime: a node that is destroyed is taken off its list and is never called.
#pragma once

#include "source/base/intrusive_list.h"

namespace outrider::event {

struct DeferredTag;
struct FlushTag;
struct GraveTag;

// A call later in the same turn, at most once until it has run: Deferred work_ = Deferred::to<&Stream::run>(this);
class Deferred final : public base::TaggedNode<DeferredTag> {
 public:
  using Fn = void (*)(void* owner);
  Deferred(Fn fn, void* owner) : fn_(fn), owner_(owner) {}
  template <auto Method, class T>
  static Deferred to(T* owner) {
    return Deferred([](void* at) { (static_cast<T*>(at)->*Method)(); }, owner);
  }
  void call() const { fn_(owner_); }

 private:
  Fn fn_;
  void* owner_;
};

// A member of the dirty list: has bytes to write at the end of the turn.
class Dirty : public base::TaggedNode<FlushTag> {
 public:
  virtual void flush() = 0;

 protected:
  ~Dirty() = default;
};

// Destroyed when the turn ends, never while someone up the stack may still use it.
class Retired : public base::TaggedNode<GraveTag> {
 public:
  virtual ~Retired() = default;
  // Arena objects destroy themselves in place.
  virtual void bury() { delete this; }
};

}  // namespace outrider::event
