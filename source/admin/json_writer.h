// JSON of nested objects and lists written member by member, in the layout of config::toJson (one space a level), so that a long
// document is made in pieces and never stands whole in memory.
// Thread: any. Lifetime: one document's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace outrider::admin {

class JsonWriter final {
 public:
  void openObject(std::string& out) { open('{', out); }
  void openObject(std::string_view name, std::string& out) {
    key(name, out);
    push('{', out);
  }
  void openList(std::string_view name, std::string& out) {
    key(name, out);
    push('[', out);
  }
  void close(std::string& out);

  // `json`: a value as toJson prints it.
  void member(std::string_view name, std::string_view json, std::string& out) {
    key(name, out);
    value(json, out);
  }
  void element(std::string_view json, std::string& out) {
    next(out);
    value(json, out);
  }
  // The members of an object that toJson printed, put into the open one.
  void members(std::string_view json, std::string& out);

 private:
  struct Level {
    char kind;
    bool empty = true;
  };
  void open(char kind, std::string& out) {
    if (!levels_.empty()) next(out);
    push(kind, out);
  }
  void push(char kind, std::string& out) {
    levels_.push_back({kind});
    out += kind;
  }
  void next(std::string& out);  // a comma if one is due, and the line's start
  void key(std::string_view name, std::string& out);
  void value(std::string_view json, std::string& out) const;

  std::vector<Level> levels_;
};

}  // namespace outrider::admin
