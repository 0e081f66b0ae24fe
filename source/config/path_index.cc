// GCC 12 believes that moving an empty absl::InlinedVector reads what was never written.
#if defined(__GNUC__) && !defined(__clang__)
#endif
#include "source/config/path_index.h"

#include <algorithm>

#include "source/http/header_map.h"

namespace outrider::config {

namespace {

// The child whose label begins with `first`, or where it would stand.
template <class Node>
auto childAt(Node& node, char first) {
  return std::lower_bound(node.children.begin(), node.children.end(), first,
                          [](const auto& child, char byte) { return static_cast<uint8_t>(child.label[0]) < static_cast<uint8_t>(byte); });
}

}  // namespace

struct PathIndex::Scratch {
  std::string lower;
  std::vector<int> hits;
  std::vector<std::vector<uint32_t>> found;  // one list a set that matched
  size_t lists = 0;
};

std::string_view PathIndex::lowered(std::string_view text) {
  std::string& out = lowered_.emplace_back(text);
  std::transform(out.begin(), out.end(), out.begin(), http::lowerAscii);
  return out;
}

void PathIndex::Exact::build() {
  std::sort(adding_.begin(), adding_.end());  // by path, then by route
  routes_.reserve(adding_.size());
  for (const auto& [path, route] : adding_) {
    const auto [at, fresh] = ranges_.try_emplace(path);
    if (fresh) at->second.begin = static_cast<uint32_t>(routes_.size());
    routes_.push_back(route);
    at->second.end = static_cast<uint32_t>(routes_.size());
  }
  adding_ = {};
}

PathIndex::Node& PathIndex::nodeAt(Node& root, std::string_view prefix) {
  Node* node = &root;
  while (!prefix.empty()) {
    const auto it = childAt(*node, prefix[0]);
    if (it == node->children.end() || it->label[0] != prefix[0]) {
      const auto made = node->children.emplace(it);
      made->label = prefix;
      return *made;
    }
    const std::string_view label = it->label;
    const auto common = static_cast<size_t>(std::mismatch(label.begin(), label.end(), prefix.begin(), prefix.end()).first - label.begin());
    if (common < label.size()) {  // split the edge
      Node below = std::move(*it);
      below.label = label.substr(common);
      *it = Node();
      it->label = label.substr(0, common);
      it->children.push_back(std::move(below));
    }
    node = &*it;
    prefix.remove_prefix(common);
  }
  return *node;
}

void PathIndex::addRegex(std::string_view pattern, uint32_t route) {
  // The literal prefix is a text of its own: what is escaped in the pattern is not in it.
  Node& node = nodeAt(root_, lowered_.emplace_back(match::Regex::literalPrefix(pattern)));
  if (node.regexes == nullptr) node.regexes = std::make_unique<Regexes>();
  node.regexes->routes.push_back(route);
  node.regexes->patterns.push_back(pattern);
}

void PathIndex::buildSets(Node& node) {
  node.children.shrink_to_fit();
  every_prefix_.insert(every_prefix_.end(), node.prefixes.data(), node.prefixes.data() + node.prefixes.size());
  if (node.regexes != nullptr) {
    Regexes& regexes = *node.regexes;
    every_prefix_.insert(every_prefix_.end(), regexes.routes.begin(), regexes.routes.end());
    if (regexes.patterns.size() > kMostRegexesAlone) {
      auto set = std::make_unique<match::RegexSet>();
      bool usable = true;
      for (const std::string_view pattern : regexes.patterns) usable = usable && set->add(pattern).ok();
      if (usable && set->build()) {
        // The first text of a cold set costs it milliseconds with thousands of patterns: here, not on a worker.
        set->warm(match::Regex::literalPrefix(regexes.patterns.front()));
        regexes.set = std::move(set);
      }
    }
    regexes.patterns = {};
  }
  for (Node& child : node.children) buildSets(child);
}

void PathIndex::build() {
  exact_.build();
  folded_exact_.build();
  buildSets(root_);
  if (folded_root_ != nullptr) buildSets(*folded_root_);
  std::sort(every_prefix_.begin(), every_prefix_.end());
}

bool PathIndex::walk(const Node& root, std::string_view path, Sources& out, Scratch& scratch) {
  const Node* node = &root;
  std::string_view rest = path;
  for (;;) {
    if (out.count + 3 > Sources::kMost) return false;
    out.add(node->prefixes);
    const Regexes* regexes = node->regexes.get();
    if (regexes != nullptr && regexes->set != nullptr && regexes->set->match(path, scratch.hits)) {
      if (!scratch.hits.empty()) {
        if (scratch.found.size() <= scratch.lists) scratch.found.reserve(Sources::kMost), scratch.found.resize(scratch.lists + 1);
        std::vector<uint32_t>& list = scratch.found[scratch.lists++];
        list.clear();
        for (const int hit : scratch.hits) list.push_back(regexes->routes[static_cast<size_t>(hit)]);
        std::sort(list.begin(), list.end());
        out.add(list, true);
      }
    } else if (regexes != nullptr) {
      out.add(regexes->routes);
    }
    if (rest.empty()) return true;
    const auto it = childAt(*node, rest[0]);
    if (it == node->children.end() || it->label[0] != rest[0]) return true;
    node = &*it;
    if (rest.substr(0, node->label.size()) != node->label) return true;
    rest.remove_prefix(node->label.size());
  }
}

void PathIndex::collect(std::string_view path, Sources& out) const {
  thread_local Scratch scratch;
  scratch.lists = 0;
  if (!exact_.empty()) {
    const auto [begin, end] = exact_.find(path);
    out.add(begin, end);
  }
  std::string_view folded;
  if (folded_root_ != nullptr || !folded_exact_.empty()) {
    scratch.lower.assign(path);
    std::transform(scratch.lower.begin(), scratch.lower.end(), scratch.lower.begin(), http::lowerAscii);
    folded = scratch.lower;
    const auto [begin, end] = folded_exact_.find(folded);
    out.add(begin, end);
  }
  out.add(always_);
  const size_t before = out.count;
  if (walk(root_, path, out, scratch) && (folded_root_ == nullptr || walk(*folded_root_, folded, out, scratch))) return;
  out.count = before;  // nested deeper than any sane table
  out.add(every_prefix_);
}

}  // namespace outrider::config
