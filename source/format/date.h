// Points in time as text: strftime's letters, and Envoy's %f, %1f to %9f (fraction), %s (seconds since the epoch), %E3S.
// Compiled once; prints without allocation. Thread: immutable, any. Source: Envoy's access log START_TIME(FORMAT).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "source/base/clock.h"
#include "source/format/text.h"

namespace outrider::format {

class DateFormat final {
 public:
  // An empty format is Envoy's default: 2018-12-18T11:00:00.123Z (a local one ends with its offset, +0100).
  explicit DateFormat(std::string_view format = {}, bool local = false);
  void print(base::Nanos since_epoch, Text& out) const;
  bool hasNewline() const { return has_newline_; }  // %n: not allowed where the text may become a header

 private:
  struct Piece {
    char letter;       // 0: literal
    int digits;        // for 'f'
    std::string text;  // literal, or what strftime gets
  };
  void add(std::string_view format, size_t& at);
  std::vector<Piece> pieces_;
  bool local_;
  bool has_newline_ = false;
};

}  // namespace outrider::format
