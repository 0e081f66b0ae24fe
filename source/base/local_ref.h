// A counted pointer for objects that never leave their thread: the count is a plain integer.
// Thread: one, the same for the object's whole life. T has `void ref()` and `void unref()`.
#pragma once

#include <utility>

namespace outrider::base {

template <class T>
class LocalRef {
 public:
  LocalRef() = default;
  explicit LocalRef(T* object) : object_(object) {
    if (object_ != nullptr) object_->ref();
  }
  LocalRef(const LocalRef& other) : LocalRef(other.object_) {}
  LocalRef(LocalRef&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  LocalRef& operator=(LocalRef other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~LocalRef() {
    if (object_ != nullptr) object_->unref();
  }

  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }
  void reset() { LocalRef().swap(*this); }
  void swap(LocalRef& other) noexcept { std::swap(object_, other.object_); }

 private:
  T* object_ = nullptr;
};

}  // namespace outrider::base
