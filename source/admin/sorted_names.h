// Names that a page prints in order, thousands of them: sorted some at a time, since sorting all at once would hold up the loop.
// Thread: main. Lifetime: one answer's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "source/admin/slice.h"

namespace outrider::admin {

class SortedNames final {
 public:
  void add(std::string_view name) { names_.emplace_back(name); }
  // True: work goes on. False: they are in order, each once.
  bool sort(const Slice& slice);

  // Without order until sort() says false.
  size_t size() const { return names_.size(); }
  const std::string& operator[](size_t i) const { return names_[i]; }

 private:
  std::vector<std::string> names_;
  // Heap sort, which can stop anywhere: the first `heaped_` are a heap; then its greatest goes to the end, again and again.
  size_t heaped_ = 0, left_ = 0;
  bool draining_ = false, done_ = false;
};

}  // namespace outrider::admin
