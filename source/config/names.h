// Names of clusters as dense numbers, so that the data path never compares text.
// Thread: any (a mutex; config time only, never per request). Lifetime: the table lives as long as the process's config; an id
// stays valid and keeps its name for as long as the table lives, whether or not a cluster of that name exists.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "source/base/absl_compat.h"

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
    if (const auto it = ids_.find(base::toAbsl(name)); it != ids_.end()) return ClusterId(it->second);
    names_.push_back(keep(name));
    const auto index = static_cast<uint32_t>(names_.size() - 1);
    ids_.emplace(base::toAbsl(names_.back()), index);
    return ClusterId(index);
  }
  // Invalid: nobody has named it yet.
  ClusterId find(std::string_view name) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto it = ids_.find(base::toAbsl(name));
    return it == ids_.end() ? ClusterId() : ClusterId(it->second);
  }
  std::string_view name(ClusterId id) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return id.index() < names_.size() ? names_[id.index()] : std::string_view();
  }
  size_t size() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return names_.size();
  }

 private:
  // Texts lie close together: one that outlives its cluster holds no page of what the cluster had.
  std::string_view keep(std::string_view name) {
    if (texts_.empty() || kTexts - used_ < name.size()) {
      texts_.push_back(std::make_unique<char[]>(std::max(kTexts, name.size())));
      used_ = 0;
    }
    char* to = texts_.back().get() + used_;
    std::copy(name.begin(), name.end(), to);
    used_ = std::min(kTexts, used_ + name.size());
    return {to, name.size()};
  }

  static constexpr size_t kTexts = 32 * 1024;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<char[]>> texts_;
  size_t used_ = 0;  // of the last
  std::vector<std::string_view> names_;
  absl::flat_hash_map<absl::string_view, uint32_t> ids_;  // views into texts_
};

}  // namespace outrider::config
