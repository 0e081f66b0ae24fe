#include "source/admin/json_writer.h"

#include "source/config/json_print.h"

namespace outrider::admin {
namespace {

// Each line after the first moved right by `by` spaces. Values hold no line ends of their own.
void appendMoved(std::string_view json, size_t by, std::string& out) {
  size_t at = 0;
  for (size_t end; (end = json.find('\n', at)) != std::string_view::npos; at = end + 1) {
    out.append(json.substr(at, end + 1 - at));
    out.append(by, ' ');
  }
  out.append(json.substr(at));
}

}  // namespace

void JsonWriter::close(std::string& out) {
  const Level level = levels_.back();
  levels_.pop_back();
  if (!level.empty) {
    out += '\n';
    out.append(levels_.size(), ' ');
  }
  out += level.kind == '{' ? '}' : ']';
}

void JsonWriter::members(std::string_view json, std::string& out) {
  const size_t first = json.find("\n ");
  if (first == std::string_view::npos) return;  // {}
  const size_t last = json.rfind('\n');
  next(out);
  appendMoved(json.substr(first + 2, last - first - 2), levels_.size() - 1, out);
}

void JsonWriter::next(std::string& out) {
  if (!levels_.back().empty) out += ',';
  levels_.back().empty = false;
  out += '\n';
  out.append(levels_.size(), ' ');
}

void JsonWriter::key(std::string_view name, std::string& out) {
  next(out);
  config::appendJsonString(out, name);
  out += ": ";
}

void JsonWriter::value(std::string_view json, std::string& out) const { appendMoved(json, levels_.size(), out); }

}  // namespace outrider::admin
