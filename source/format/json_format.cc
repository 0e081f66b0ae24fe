#include "source/format/json_format.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"

namespace outrider::format {
namespace {

bool plain(char c) { return static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\' && static_cast<unsigned char>(c) < 0x80; }

// Length of the well-formed UTF-8 sequence at `at`, 0 if there is none (RFC 3629).
size_t sequenceAt(std::string_view s, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char lead = byte(at);
  const size_t size = lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
  if (size == 0 || at + size > s.size()) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = byte(at + 1);
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) ||
      (lead == 0xf4 && second > 0x8f)) {
    return 0;
  }
  return size;
}

void addEscape(unsigned char c, Text& out) {
  switch (c) {
    case '"': out.add("\\\""); return;
    case '\\': out.add("\\\\"); return;
    case '\b': out.add("\\b"); return;
    case '\f': out.add("\\f"); return;
    case '\n': out.add("\\n"); return;
    case '\r': out.add("\\r"); return;
    case '\t': out.add("\\t"); return;
    default: {
      constexpr char kHex[] = "0123456789abcdef";
      out.add("\\u00");
      out.add(kHex[c >> 4]);
      out.add(kHex[c & 15]);
    }
  }
}

std::string escaped(std::string_view text) {
  Text out;
  addJsonEscaped(text, out);
  return std::string(out.view());
}

std::string numberText(double number) {
  if (std::nearbyint(number) == number && std::fabs(number) < 1e15) return absl::StrCat(static_cast<int64_t>(number));
  char text[40];
  for (int digits = 1; digits <= 17; ++digits) {
    std::snprintf(text, sizeof text, "%.*g", digits, number);
    if (std::strtod(text, nullptr) == number) break;
  }
  return text;
}

// Escapes what was printed behind `from`, in place when nothing needs it.
void escapeTail(size_t from, Text& out) {
  const std::string_view tail = out.view().substr(from);
  if (std::all_of(tail.begin(), tail.end(), plain)) return;
  thread_local Text copy;
  copy.clear();
  copy.add(tail);
  out.truncate(from);
  addJsonEscaped(copy.view(), out);
}

}  // namespace

void addJsonNumber(double number, Text& out) { out.add(std::isfinite(number) ? numberText(number) : std::string("null")); }

void addJsonEscaped(std::string_view text, Text& out) {
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && plain(text[end])) ++end;
    out.add(text.substr(i, end - i));
    if (end == text.size()) return;
    i = end;
    const size_t sequence = sequenceAt(text, i);
    if (sequence > 0) {
      out.add(text.substr(i, sequence));
      i += sequence;
    } else {
      addEscape(static_cast<unsigned char>(text[i++]), out);
    }
  }
}

std::string& JsonFormat::tail() {
  if (pieces_.empty() || !pieces_.back().ops.empty()) pieces_.emplace_back();
  return pieces_.back().literal;
}

absl::Status JsonFormat::add(const JsonNode& node, const std::string& path, Item& item) {
  const auto literal = [&](const std::string& text) {
    item.literal = text;
    tail() += text;
    return absl::OkStatus();
  };
  switch (node.kind) {
    case JsonNode::Kind::kNull: item.kind = Item::Kind::kNull; return literal("null");
    case JsonNode::Kind::kBool: return literal(node.boolean ? "true" : "false");
    case JsonNode::Kind::kNumber: return literal(numberText(node.number));
    case JsonNode::Kind::kString: {
      auto format = Format::compile(node.text);
      if (!format.ok()) {
        return absl::InvalidArgumentError(absl::StrCat(path, path.empty() ? "" : ": ", format.status().message()));
      }
      without_data_.insert(without_data_.end(), format->withoutData().begin(), format->withoutData().end());
      if (format->constant()) return literal(absl::StrCat("\"", escaped(format->constantText()), "\""));
      tail();
      pieces_.back().ops = format->ops();
      item.kind = Item::Kind::kValue;
      item.ops = format->ops();
      return absl::OkStatus();
    }
    case JsonNode::Kind::kList:
      item.kind = Item::Kind::kList;
      item.items.resize(node.children.size());
      tail() += '[';
      for (size_t i = 0; i < node.children.size(); ++i) {
        if (i > 0) tail() += ',';
        if (auto status = add(node.children[i], absl::StrCat(path, "[", i, "]"), item.items[i]); !status.ok()) return status;
      }
      tail() += ']';
      return absl::OkStatus();
    case JsonNode::Kind::kObject: {
      std::vector<size_t> order(node.children.size());
      std::iota(order.begin(), order.end(), size_t{0});
      std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return node.keys[a] < node.keys[b]; });
      item.kind = Item::Kind::kObject;
      item.items.resize(node.children.size());
      tail() += '{';
      for (size_t i = 0; i < order.size(); ++i) {
        if (i > 0) tail() += ',';
        const std::string& key = node.keys[order[i]];
        item.items[i].key = absl::StrCat("\"", escaped(key), "\":");
        tail() += item.items[i].key;
        if (auto status = add(node.children[order[i]], absl::StrCat(path, path.empty() ? "" : ".", key), item.items[i]); !status.ok()) {
          return status;
        }
      }
      tail() += '}';
      return absl::OkStatus();
    }
  }
  OUTRIDER_UNREACHABLE();
}

absl::StatusOr<JsonFormat> JsonFormat::compile(const JsonNode& root) {
  JsonFormat out;
  if (auto status = out.add(root, {}, out.root_); !status.ok()) return status;
  out.tail() += '\n';
  return out;
}

namespace {

// One value of one or more operators; false and nothing printed: a single one that is missing.
bool printValue(const std::vector<Op>& ops, const Input& in, Text& out, bool omit_empty) {
  const bool single = ops.size() == 1;
  if (single && ops[0].number) return ops[0].print(in, out);
  if (single && ops[0].json) return ops[0].printJson(in, out);
  const size_t before = out.size();
  out.add('"');
  const size_t from = out.size();
  for (const Op& op : ops) {
    if (op.print(in, out)) continue;
    if (single) {
      out.truncate(before);
      return false;
    }
    if (!omit_empty) out.add('-');
  }
  escapeTail(from, out);
  out.add('"');
  return true;
}

}  // namespace

// False and nothing printed: it holds nothing.
bool JsonFormat::printDense(const Item& item, const Input& in, Text& out) {
  switch (item.kind) {
    case Item::Kind::kLiteral: out.add(item.literal); return true;
    case Item::Kind::kNull: return false;
    case Item::Kind::kValue: return printValue(item.ops, in, out, true);
    case Item::Kind::kList:
    case Item::Kind::kObject: break;
  }
  const bool list = item.kind == Item::Kind::kList;
  const size_t before = out.size();
  bool any = false;
  out.add(list ? '[' : '{');
  for (const Item& each : item.items) {
    const size_t at = out.size();
    if (any) out.add(',');
    out.add(each.key);
    if (printDense(each, in, out))
      any = true;
    else
      out.truncate(at);
  }
  out.add(list ? ']' : '}');
  if (list || any) return true;  // an empty list stays, as Envoy
  out.truncate(before);
  return false;
}

void JsonFormat::print(const Input& in, Text& out, bool omit_empty) const {
  if (omit_empty) {
    if (!printDense(root_, in, out)) out.add("{}");
    out.add('\n');
    return;
  }
  for (const Piece& piece : pieces_) {
    out.add(piece.literal);
    if (!piece.ops.empty() && !printValue(piece.ops, in, out, false)) out.add("null");
  }
}

}  // namespace outrider::format
