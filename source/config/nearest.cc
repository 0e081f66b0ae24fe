#include "source/config/nearest.h"

#include <algorithm>
#include <vector>

namespace outrider::config {
namespace {

// Levenshtein's distance, of short words only.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

std::string Nearest::plain(std::string_view word) {
  constexpr size_t kLongest = 80;
  std::string out;
  bool previous_lower = false;  // SHOUTING has no camels in it
  for (const char c : word.substr(0, kLongest)) {
    const bool upper = c >= 'A' && c <= 'Z';
    if (upper && previous_lower) out += '_';
    out += upper ? static_cast<char>(c - 'A' + 'a') : c == '-' ? '_' : c;
    previous_lower = c >= 'a' && c <= 'z';
  }
  return out;
}

Nearest::Nearest(std::string_view word) : word_(plain(word)), distance_(word_.size() / 3 + 1) {}

void Nearest::offer(std::string_view candidate) {
  const std::string other = plain(candidate);
  if (other.size() > word_.size() + distance_ || word_.size() > other.size() + distance_) return;
  const size_t away = distance(word_, other);
  if (away < distance_) {
    distance_ = away;
    best_ = candidate;
  }
}

}  // namespace outrider::config
