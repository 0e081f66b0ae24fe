// An object with lists, {"name": [...]}, written member by member in the layout of config::toJson.
// Thread: any. Lifetime: one answer's.
#pragma once

#include <string>
#include <string_view>

namespace outrider::admin {

// Each line of `json` after the first moved right by `depth` spaces. Values hold no line ends of their own.
inline void appendIndented(std::string_view json, size_t depth, std::string& out) {
  size_t at = 0;
  for (size_t end; (end = json.find('\n', at)) != std::string_view::npos; at = end + 1) {
    out.append(json.substr(at, end + 1 - at));
    out.append(depth, ' ');
  }
  out.append(json.substr(at));
}

class JsonList final {
 public:
  void open(std::string_view name, std::string& out) {
    name_ = name;
    out += "{";
    empty_ = true;
  }
  void add(std::string_view json, std::string& out) {
    if (empty_) {
      out.append("\n \"").append(name_).append("\": [\n  ");
    } else {
      out += ",\n  ";
    }
    empty_ = false;
    appendIndented(json, 2, out);
  }
  void close(std::string& out) { out += empty_ ? "}\n" : "\n ]\n}\n"; }

 private:
  std::string_view name_;
  bool empty_ = true;
};

}  // namespace outrider::admin
