// Which routes may match a path: exact paths by hash, prefixes and literal prefixes of regular expressions by a byte trie; routes
// that ignore case have a hash and a trie of their own, in lower case.
// Yields candidates in ascending order, so that "first match wins" costs little with 10,000 routes.
// Thread: immutable once built, any. Lifetime: of its virtual host.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "source/match/regex.h"

namespace outrider::config {

struct ViewHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
};
struct ViewEqual {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const { return a == b; }
};

class PathIndex final {
 public:
  // Call in ascending order of route; the texts outlive this, but those of routes that ignore case, which are copied. build() ends it.
  void addExact(std::string_view path, uint32_t route, bool case_sensitive = true) {
    (case_sensitive ? exact_ : folded_exact_).add(case_sensitive ? path : lowered(path), route);
  }
  void addPrefix(std::string_view prefix, uint32_t route, bool case_sensitive = true) {
    if (case_sensitive) {
      nodeAt(root_, prefix).prefixes.push_back(route);
      return;
    }
    if (folded_root_ == nullptr) folded_root_ = std::make_unique<Node>();
    nodeAt(*folded_root_, lowered(prefix)).prefixes.push_back(route);
  }
  void addRegex(std::string_view pattern, uint32_t route);
  void addAlways(uint32_t route) { always_.push_back(route); }
  void build();

  // Calls test(route, regex_known_to_match) for each candidate in order until it says true. Returns whether it did.
  template <class Test>
  bool first(std::string_view path, Test&& test) const {
    Sources sources;
    collect(path, sources);
    for (;;) {
      // The source with the least route goes next; sources are few.
      Source* least = nullptr;
      for (size_t i = 0; i < sources.count; ++i) {
        Source& source = sources.of[i];
        if (source.at != source.end && (least == nullptr || *source.at < *least->at)) least = &source;
      }
      if (least == nullptr) return false;
      if (test(*least->at++, least->known)) return true;
    }
  }
  static constexpr size_t kMostRegexesAlone = 8;

 private:
  struct Regexes {
    std::vector<uint32_t> routes;
    std::vector<std::string_view> patterns;
    std::unique_ptr<match::RegexSet> set;
  };
  // Ascending; most nodes have one.
  class Routes final {
   public:
    void push_back(uint32_t route) {
      if (many_ != nullptr) {
        many_->push_back(route);
      } else if (one_ == kNone) {
        one_ = route;
      } else {
        many_ = std::make_unique<std::vector<uint32_t>>(std::initializer_list<uint32_t>{one_, route});
      }
    }
    const uint32_t* data() const { return many_ != nullptr ? many_->data() : &one_; }
    size_t size() const { return many_ != nullptr ? many_->size() : one_ == kNone ? 0 : 1; }

   private:
    static constexpr uint32_t kNone = UINT32_MAX;
    std::unique_ptr<std::vector<uint32_t>> many_;
    uint32_t one_ = kNone;
  };
  struct Node {
    std::string_view label;      // bytes from its parent to here
    std::vector<Node> children;  // by first byte of their label, ascending
    Routes prefixes;
    std::unique_ptr<Regexes> regexes;
  };
  // Routes by the whole path: those of one path stand side by side.
  class Exact final {
   public:
    struct Range {
      uint32_t begin = 0, end = 0;
    };
    void add(std::string_view path, uint32_t route) { adding_.emplace_back(path, route); }
    void build();
    bool empty() const { return ranges_.empty(); }
    // An empty range: no route of that path.
    std::pair<const uint32_t*, const uint32_t*> find(std::string_view path) const {
      const auto at = ranges_.find(path);
      if (at == ranges_.end()) return {nullptr, nullptr};
      return {routes_.data() + at->second.begin, routes_.data() + at->second.end};
    }

   private:
    std::vector<std::pair<std::string_view, uint32_t>> adding_;
    std::vector<uint32_t> routes_;
    absl::flat_hash_map<std::string_view, Range, ViewHash, ViewEqual> ranges_;
  };
  struct Source {
    const uint32_t* at;
    const uint32_t* end;
    bool known;  // their regular expression has matched already
  };
  struct Sources {
    static constexpr size_t kMost = 40;
    std::array<Source, kMost> of;
    size_t count = 0;
    bool full() const { return count == kMost; }
    void add(const uint32_t* begin, const uint32_t* end, bool known = false) {
      if (begin != end) of[count++] = {begin, end, known};
    }
    template <class List>
    void add(const List& list, bool known = false) {
      add(list.data(), list.data() + list.size(), known);
    }
  };
  // Per thread; kept for its memory, so that matching allocates nothing.
  struct Scratch;
  std::string_view lowered(std::string_view text);  // a copy that lives as long as this
  static Node& nodeAt(Node& root, std::string_view prefix);
  void collect(std::string_view path, Sources& out) const;
  // False: `out` is full.
  static bool walk(const Node& root, std::string_view path, Sources& out, Scratch& scratch);
  void buildSets(Node& node);

  Exact exact_, folded_exact_;
  Node root_;
  std::deque<std::string> lowered_;
  std::unique_ptr<Node> folded_root_;  // null: no prefix ignores case
  std::vector<uint32_t> always_;
  std::vector<uint32_t> every_prefix_;  // all routes of the tries, for paths that cross more nodes than Sources holds
};

}  // namespace outrider::config
