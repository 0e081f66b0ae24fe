#include "source/format/metadata.h"

#include <cmath>
#include <cstring>
#include <optional>

#include "source/format/json_format.h"

namespace outrider::format {
namespace {

constexpr int kMostDepth = 64;

// The fields of one message on the wire.
class Wire {
 public:
  explicit Wire(std::string_view bytes) : left_(bytes) {}

  // False at the end, or at what is malformed.
  bool next() {
    uint64_t tag = 0;
    if (left_.empty() || !varint(tag)) return false;
    number_ = static_cast<uint32_t>(tag >> 3);
    switch (tag & 7) {
      case 0: return varint(integer_);
      case 1: return take(8);
      case 2: {
        uint64_t size = 0;
        return varint(size) && take(size);
      }
      case 5: return take(4);
      default: return false;
    }
  }
  uint32_t number() const { return number_; }
  uint64_t integer() const { return integer_; }
  std::string_view bytes() const { return bytes_; }

 private:
  bool varint(uint64_t& out) {
    out = 0;
    for (int shift = 0; shift < 64 && !left_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(left_.front());
      left_.remove_prefix(1);
      out |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  }
  bool take(uint64_t size) {
    if (size > left_.size()) return false;
    bytes_ = left_.substr(0, size);
    left_.remove_prefix(size);
    return true;
  }

  std::string_view left_;
  uint32_t number_ = 0;
  uint64_t integer_ = 0;
  std::string_view bytes_;
};

struct Entry {
  std::string_view key, value;
};

Entry entryOf(std::string_view bytes) {
  Entry out;
  for (Wire wire(bytes); wire.next();) {
    if (wire.number() == 1) out.key = wire.bytes();
    if (wire.number() == 2) out.value = wire.bytes();
  }
  return out;
}

// Of the map that is field 1 of `message`; the last of a key counts.
std::optional<std::string_view> at(std::string_view message, std::string_view key) {
  std::optional<std::string_view> out;
  for (Wire wire(message); wire.next();) {
    if (wire.number() != 1) continue;
    const Entry entry = entryOf(wire.bytes());
    if (entry.key == key) out = entry.value;
  }
  return out;
}

// google.protobuf.Value's fields.
enum : uint32_t { kNull = 1, kNumber = 2, kString = 3, kBool = 4, kStruct = 5, kList = 6 };

struct Value {
  uint32_t kind = 0;  // 0: none
  uint64_t integer = 0;
  std::string_view bytes;
};

Value valueOf(std::string_view bytes) {
  Value out;
  for (Wire wire(bytes); wire.next();) {
    if (wire.number() < kNull || wire.number() > kList) continue;
    out = {wire.number(), wire.integer(), wire.bytes()};
  }
  return out;
}

void addQuoted(std::string_view text, Text& out) {
  out.add('"');
  addJsonEscaped(text, out);
  out.add('"');
}

void addJson(const Value& value, int depth, Text& out);

void addStruct(std::string_view bytes, int depth, Text& out) {
  out.add('{');
  bool first = true;
  for (Wire wire(bytes); wire.next();) {
    if (wire.number() != 1) continue;
    const Entry entry = entryOf(wire.bytes());
    if (!std::exchange(first, false)) out.add(',');
    addQuoted(entry.key, out);
    out.add(':');
    addJson(valueOf(entry.value), depth + 1, out);
  }
  out.add('}');
}

void addJson(const Value& value, int depth, Text& out) {
  if (depth > kMostDepth) {
    out.add("null");
    return;
  }
  switch (value.kind) {
    case kNumber: {
      double number = 0;
      if (value.bytes.size() == sizeof number) std::memcpy(&number, value.bytes.data(), sizeof number);
      addJsonNumber(number, out);
      return;
    }
    case kString: addQuoted(value.bytes, out); return;
    case kBool: out.add(value.integer != 0 ? "true" : "false"); return;
    case kStruct: addStruct(value.bytes, depth, out); return;
    case kList: {
      out.add('[');
      bool first = true;
      for (Wire wire(value.bytes); wire.next();) {
        if (wire.number() != 1) continue;
        if (!std::exchange(first, false)) out.add(',');
        addJson(valueOf(wire.bytes()), depth + 1, out);
      }
      out.add(']');
      return;
    }
    default: out.add("null");
  }
}

}  // namespace

bool printMetadata(std::string_view metadata, std::string_view path, bool json, uint32_t most, Text& out) {
  size_t colon = path.find(':');
  auto found = at(metadata, path.substr(0, colon));
  if (!found.has_value()) return false;
  Value value{kStruct, 0, *found};
  while (colon != std::string_view::npos) {
    path.remove_prefix(colon + 1);
    colon = path.find(':');
    if (value.kind != kStruct) return false;
    found = at(value.bytes, path.substr(0, colon));
    if (!found.has_value()) return false;
    value = valueOf(*found);
  }
  if (value.kind == 0 || value.kind == kNull) return false;
  if (json) {
    if (value.kind == kString) value.bytes = value.bytes.substr(0, most);
    addJson(value, 0, out);
    return true;
  }
  const size_t from = out.size();
  if (value.kind == kString)
    out.add(value.bytes);
  else
    addJson(value, 0, out);
  if (most < out.size() - from) out.truncate(from + most);
  return true;
}

}  // namespace outrider::format
