// Names of clusters as dense numbers, so that the data path never compares text.
// Thread: any (a mutex; config time only, never per request). Lifetime: the table lives as long as the process's config; an id
// stays valid and keeps its name for as long as the table lives, whether or not a cluster of that name exists.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace outrider::config {

class ClusterId {
 public:
  constexpr ClusterId() = default;
  constexpr explicit ClusterId(uint32_t index) : index_(index) {}
  constexpr bool valid() const { return index_ != kNone; }
  constexpr uint32_t index() const { return index_; }
  bool operator==(const ClusterId&) const = default;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  uint32_t index_ = kNone;
};

class NameTable final {
 public:
  // The id of `name`; a new one for a name not seen before.
  ClusterId intern(std::string_view name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (const auto it = ids_.find(name); it != ids_.end()) return ClusterId(it->second);
    names_.emplace_back(name);
    const auto index = static_cast<uint32_t>(names_.size() - 1);
    ids_.emplace(names_.back(), index);
    return ClusterId(index);
  }
  // Invalid: nobody has named it yet.
  ClusterId find(std::string_view name) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto it = ids_.find(name);
    return it == ids_.end() ? ClusterId() : ClusterId(it->second);
  }
  std::string_view name(ClusterId id) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return id.index() < names_.size() ? std::string_view(names_[id.index()]) : std::string_view();
  }
  size_t size() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return names_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::deque<std::string> names_;                       // never moves a name
  std::unordered_map<std::string_view, uint32_t> ids_;  // views into names_
};

}  // namespace outrider::config
