#include "source/admin/sorted_names.h"

#include <algorithm>

namespace outrider::admin {

bool SortedNames::sort(const Slice& slice) {
  constexpr size_t kBetweenLooks = 64;
  if (done_) return false;
  const auto at = [this](size_t i) { return names_.begin() + static_cast<ptrdiff_t>(i); };
  size_t steps = 0;
  const auto late = [&] { return ++steps % kBetweenLooks == 0 && slice.over(); };
  while (heaped_ < names_.size()) {
    std::push_heap(names_.begin(), at(++heaped_));
    if (late()) return true;
  }
  if (!draining_) {
    draining_ = true;
    left_ = names_.size();
  }
  while (left_ > 1) {
    std::pop_heap(names_.begin(), at(left_--));
    if (late()) return true;
  }
  names_.erase(std::unique(names_.begin(), names_.end()), names_.end());
  done_ = true;
  return false;
}

}  // namespace outrider::admin
