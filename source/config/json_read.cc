#include <charconv>
#include <cmath>

#include "source/config/readers.h"

namespace outrider::config {

std::string formatNumber(double value) {
  char text[32];
  if (value == std::floor(value) && std::fabs(value) < 1e15) {
    const auto [end, code] = std::to_chars(text, text + sizeof(text), static_cast<int64_t>(value));
    return std::string(text, end);
  }
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  const auto [end, code] = std::to_chars(text, text + sizeof(text), value);
  return std::string(text, end);
}

const Node* JsonReader::read(ReadError& error) {
  const std::string& text = document_.text_;
  at_ = line_start_ = text.data();
  end_ = at_ + text.size();
  Node* root = document_.make();
  if (value(*root, 0)) {
    skipSpace();
    if (at_ == end_) return root;
    fail("something follows the end of the JSON value");
  }
  error = error_;
  return nullptr;
}

bool JsonReader::fail(std::string_view what) {
  if (error_.line == 0) {
    error_.what = what;
    error_.line = line_;
    error_.column = static_cast<uint32_t>(at_ - line_start_) + 1;
  }
  return false;
}

void JsonReader::skipSpace() {
  for (; at_ != end_; ++at_) {
    if (*at_ == '\n') {
      ++line_;
      line_start_ = at_ + 1;
    } else if (*at_ != ' ' && *at_ != '\t' && *at_ != '\r') {
      return;
    }
  }
}

bool JsonReader::value(Node& out, int depth) {
  if (depth > kMostLevels) return fail("nested too deeply");
  skipSpace();
  if (at_ == end_) return fail("the JSON text ends too early");
  out.line = line_;
  out.column = static_cast<uint32_t>(at_ - line_start_) + 1;
  switch (*at_) {
    case '{': return object(out, depth);
    case '[': return array(out, depth);
    case '"': out.kind = Node::Kind::kScalar; return string(out.text);
    case 'n': return literal("null");
    case 't':
      out.kind = Node::Kind::kScalar;
      out.plain = true;
      out.text = "true";
      return literal("true");
    case 'f':
      out.kind = Node::Kind::kScalar;
      out.plain = true;
      out.text = "false";
      return literal("false");
    default:
      out.kind = Node::Kind::kScalar;
      out.plain = true;
      return number(out.text);
  }
}

bool JsonReader::object(Node& out, int depth) {
  out.kind = Node::Kind::kMap;
  ++at_;
  skipSpace();
  if (at_ != end_ && *at_ == '}') {
    ++at_;
    return true;
  }
  Node* last = nullptr;
  while (true) {
    skipSpace();
    if (at_ == end_ || *at_ != '"') return fail("expected a name in double quotes");
    Node* member = document_.make();
    if (!string(member->key)) return false;
    skipSpace();
    if (at_ == end_ || *at_ != ':') return fail("expected ':' after a name");
    ++at_;
    if (!value(*member, depth + 1)) return false;
    (last == nullptr ? out.first : last->next) = member;
    last = member;
    skipSpace();
    if (at_ != end_ && *at_ == ',') {
      ++at_;
      continue;
    }
    if (at_ == end_ || *at_ != '}') return fail("expected ',' or '}'");
    ++at_;
    return true;
  }
}

bool JsonReader::array(Node& out, int depth) {
  out.kind = Node::Kind::kList;
  ++at_;
  skipSpace();
  if (at_ != end_ && *at_ == ']') {
    ++at_;
    return true;
  }
  Node* last = nullptr;
  while (true) {
    Node* element = document_.make();
    if (!value(*element, depth + 1)) return false;
    (last == nullptr ? out.first : last->next) = element;
    last = element;
    skipSpace();
    if (at_ != end_ && *at_ == ',') {
      ++at_;
      continue;
    }
    if (at_ == end_ || *at_ != ']') return fail("expected ',' or ']'");
    ++at_;
    return true;
  }
}

bool JsonReader::string(std::string_view& out) {
  const char* start = ++at_;
  bool ascii = true;
  for (; at_ != end_; ++at_) {
    const auto c = static_cast<unsigned char>(*at_);
    if (c == '"') {
      out = {start, static_cast<size_t>(at_ - start)};
      ++at_;
      return ascii || isUtf8(out) || fail("a string that is not UTF-8");
    }
    if (c == '\\') return unescape(out, start);
    if (c < 0x20) return fail("a control character inside of a string");
    if (c >= 0x80) ascii = false;
  }
  return fail("a string without its end");
}

namespace {

void appendUtf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

bool hex4(const char* at, const char* end, uint32_t& out) {
  if (end - at < 4) return false;
  const auto [stop, code] = std::from_chars(at, at + 4, out, 16);
  return code == std::errc() && stop == at + 4;
}

}  // namespace

bool JsonReader::unescape(std::string_view& out, const char* start) {
  std::string text(start, at_);
  while (at_ != end_) {
    const auto c = static_cast<unsigned char>(*at_);
    if (c == '"') {
      ++at_;
      if (!isUtf8(text)) return fail("a string that is not UTF-8");
      out = document_.keep(text);
      return true;
    }
    if (c < 0x20) return fail("a control character inside of a string");
    if (c != '\\') {
      text += *at_++;
      continue;
    }
    if (++at_ == end_) break;
    switch (*at_++) {
      case '"': text += '"'; break;
      case '\\': text += '\\'; break;
      case '/': text += '/'; break;
      case 'b': text += '\b'; break;
      case 'f': text += '\f'; break;
      case 'n': text += '\n'; break;
      case 'r': text += '\r'; break;
      case 't': text += '\t'; break;
      case 'u': {
        uint32_t unit = 0;
        if (!hex4(at_, end_, unit)) return fail("\\u needs four hexadecimal digits");
        at_ += 4;
        if (unit >= 0xD800 && unit < 0xDC00) {
          uint32_t low = 0;
          if (end_ - at_ < 6 || at_[0] != '\\' || at_[1] != 'u' || !hex4(at_ + 2, end_, low) || low < 0xDC00 || low > 0xDFFF) {
            return fail("half of a surrogate pair");
          }
          at_ += 6;
          unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
        } else if (unit >= 0xDC00 && unit < 0xE000) {
          return fail("half of a surrogate pair");
        }
        appendUtf8(text, unit);
        break;
      }
      default: return fail("an escape that JSON does not have");
    }
  }
  return fail("a string without its end");
}

bool JsonReader::number(std::string_view& out) {
  const char* start = at_;
  const auto digits = [this] {
    const char* from = at_;
    while (at_ != end_ && *at_ >= '0' && *at_ <= '9') ++at_;
    return at_ - from;
  };
  if (at_ != end_ && *at_ == '-') ++at_;
  const bool zero = at_ != end_ && *at_ == '0';
  const auto whole = digits();
  if (whole == 0 || (zero && whole > 1)) {
    at_ = start;
    return fail("expected a JSON value");
  }
  if (at_ != end_ && *at_ == '.') {
    ++at_;
    if (digits() == 0) return fail("expected digits after '.'");
  }
  if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
    ++at_;
    if (at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
    if (digits() == 0) return fail("expected digits after the exponent");
  }
  out = {start, static_cast<size_t>(at_ - start)};
  return true;
}

bool JsonReader::literal(std::string_view word) {
  if (std::string_view(at_, static_cast<size_t>(end_ - at_)).substr(0, word.size()) != word) return fail("expected a JSON value");
  at_ += word.size();
  return true;
}

}  // namespace outrider::config
