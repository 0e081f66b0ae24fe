// What a page answers: a status and a text, or a text that is made piece by piece while it is sent.
// Thread: main. Lifetime: values of one exchange.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace outrider::admin {

inline constexpr std::string_view kText = "text/plain; charset=UTF-8";
inline constexpr std::string_view kJson = "application/json";
inline constexpr std::string_view kHtml = "text/html; charset=UTF-8";

// A large body. One piece is made a turn of the loop, and none while the client does not read: no answer is ever whole in
// memory, and none holds the loop for longer than one piece takes.
class Pieces {
 public:
  virtual ~Pieces() = default;
  // Appends about kPieceBytes or what a millisecond gives. False: that was the last; true with nothing added: work goes on.
  virtual bool next(std::string& out) = 0;
};
inline constexpr size_t kPieceBytes = 32 * 1024;

struct Answer {
  uint16_t status = 200;
  std::string_view content_type = kText;  // static
  std::string body;
  std::unique_ptr<Pieces> pieces;  // after `body`

  static Answer text(std::string body, uint16_t status = 200) { return {status, kText, std::move(body), nullptr}; }
  static Answer json(std::string body) { return {200, kJson, std::move(body), nullptr}; }
  static Answer stream(std::unique_ptr<Pieces> pieces, std::string_view content_type = kText) {
    return {200, content_type, {}, std::move(pieces)};
  }
};

}  // namespace outrider::admin
