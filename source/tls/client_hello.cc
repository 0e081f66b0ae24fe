#include "source/tls/client_hello.h"

#include <algorithm>
#include <utility>

namespace outrider::tls {
namespace {

constexpr uint8_t kHandshakeRecord = 22;
constexpr uint8_t kClientHello = 1;
constexpr size_t kRecordHead = 5;
constexpr size_t kMessageHead = 4;
constexpr size_t kMostRecord = 16 * 1024;
constexpr uint16_t kServerName = 0;
constexpr uint16_t kAlpn = 16;

// Takes numbers and fields with a length in front off a text; once it ran out it stays bad.
class Cursor final {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}
  bool good() const { return good_; }
  bool empty() const { return rest_.empty(); }

  uint32_t number(size_t bytes) {
    uint32_t out = 0;
    for (const char c : take(bytes)) out = out << 8 | static_cast<uint8_t>(c);
    return out;
  }
  std::string_view field(size_t length_bytes) { return take(number(length_bytes)); }
  std::string_view take(size_t n) {
    if (!good_ || n > rest_.size()) {
      good_ = false;
      return {};
    }
    const std::string_view out = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return out;
  }

 private:
  std::string_view rest_;
  bool good_ = true;
};

uint8_t at(std::string_view text, size_t i) { return static_cast<uint8_t>(text[i]); }

}  // namespace

ClientHelloReader::Answer ClientHelloReader::read(std::string_view so_far) {
  while (true) {
    const std::string_view rest = so_far.substr(std::min(record_, so_far.size()));
    const Answer broken = record_ == 0 ? Answer::kNotTls : Answer::kBad;
    // What is plainly not TLS should not wait for a fifth byte.
    if (!rest.empty() && at(rest, 0) != kHandshakeRecord) return broken;
    if (rest.size() > 1 && at(rest, 1) != 3) return broken;
    if (rest.size() < kRecordHead) return so_far.size() >= kMostBytes ? Answer::kBad : Answer::kMore;
    const size_t size = static_cast<size_t>(at(rest, 3)) << 8 | at(rest, 4);
    if (size == 0 || size > kMostRecord) return broken;
    const std::string_view body = rest.substr(kRecordHead, std::min(size, rest.size() - kRecordHead));
    if (message_.empty() && !body.empty() && at(body, 0) != kClientHello) return broken;

    // The message may end within this record, complete or not.
    std::string joined;
    std::string_view text = body;
    if (!message_.empty()) {
      joined = message_;
      joined += body;
      text = joined;
    }
    if (text.size() >= kMessageHead) {
      const size_t length = static_cast<size_t>(at(text, 1)) << 16 | static_cast<size_t>(at(text, 2)) << 8 | at(text, 3);
      if (length > kMostBytes - kMessageHead) return Answer::kBad;
      if (text.size() >= kMessageHead + length) return parseMessage(text.substr(kMessageHead, length));
    }
    if (body.size() < size) return so_far.size() >= kMostBytes ? Answer::kBad : Answer::kMore;
    message_ = text;
    record_ += kRecordHead + size;
    if (message_.size() >= kMostBytes) return Answer::kBad;
  }
}

ClientHelloReader::Answer ClientHelloReader::parseMessage(std::string_view body) {
  Cursor hello(body);
  const uint32_t version = hello.number(2);
  hello.take(32);  // random
  const std::string_view session = hello.field(1);
  const std::string_view ciphers = hello.field(2);
  const std::string_view compressions = hello.field(1);
  if (!hello.good() || version >> 8 != 3 || session.size() > 32 || ciphers.empty() || ciphers.size() % 2 != 0 || compressions.empty()) {
    return Answer::kBad;
  }
  if (hello.empty()) return Answer::kFound;  // no extensions at all
  Cursor extensions(hello.field(2));
  if (!hello.good() || !hello.empty()) return Answer::kBad;
  bool named = false;
  bool offered = false;
  while (!extensions.empty()) {
    const uint32_t type = extensions.number(2);
    const std::string_view data = extensions.field(2);
    if (!extensions.good()) return Answer::kBad;
    if (type == kServerName) {
      if (std::exchange(named, true) || !parseServerName(data)) return Answer::kBad;
    } else if (type == kAlpn) {
      if (std::exchange(offered, true) || !parseProtocols(data)) return Answer::kBad;
    }
  }
  return Answer::kFound;
}

bool ClientHelloReader::parseServerName(std::string_view extension) {
  Cursor outer(extension);
  Cursor list(outer.field(2));
  if (!outer.good() || !outer.empty() || list.empty()) return false;
  bool named = false;
  while (!list.empty()) {
    const uint32_t type = list.number(1);
    const std::string_view name = list.field(2);
    if (!list.good() || name.empty()) return false;
    if (type != 0) continue;
    if (std::exchange(named, true) || name.size() > 255 || name.find('\0') != std::string_view::npos) return false;
    server_name_ = name;
    for (char& c : server_name_) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
  }
  return true;
}

bool ClientHelloReader::parseProtocols(std::string_view extension) {
  Cursor outer(extension);
  Cursor list(outer.field(2));
  if (!outer.good() || !outer.empty() || list.empty()) return false;
  while (!list.empty()) {
    const std::string_view name = list.field(1);
    if (!list.good() || name.empty()) return false;
    protocols_.emplace_back(name);
  }
  return true;
}

}  // namespace outrider::tls
