// Of several words the one that a mistyped word most likely meant: for messages only.
// Thread: one at a time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace outrider::config {

class Nearest final {
 public:
  // camelCase and '-' are read as the API spells names: snake_case.
  explicit Nearest(std::string_view word);
  void offer(std::string_view candidate);
  const std::string& best() const { return best_; }  // empty: none is near

 private:
  static std::string plain(std::string_view word);
  std::string word_;
  std::string best_;
  size_t distance_;
};

}  // namespace outrider::config
