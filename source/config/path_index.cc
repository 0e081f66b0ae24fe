#include "source/config/path_index.h"

#include <algorithm>

#include "source/http/header_map.h"

namespace outrider::config {

struct PathIndex::Scratch {
  std::string lower;
  std::vector<int> hits;
  std::vector<std::vector<uint32_t>> found;  // one list a set that matched
  size_t lists = 0;
};

std::string PathIndex::lowered(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), http::lowerAscii);
  return out;
}

PathIndex::Node& PathIndex::nodeAt(Node& root, std::string_view prefix) {
  Node* node = &root;
  while (!prefix.empty()) {
    const auto byte = static_cast<uint8_t>(prefix[0]);
    const auto it = std::lower_bound(node->first.begin(), node->first.end(), byte);
    const auto at = static_cast<size_t>(it - node->first.begin());
    if (it == node->first.end() || *it != byte) {
      auto child = std::make_unique<Node>();
      child->label = prefix;
      node->first.insert(it, byte);
      return **node->children.insert(node->children.begin() + static_cast<ptrdiff_t>(at), std::move(child));
    }
    std::unique_ptr<Node>& child = node->children[at];
    const std::string_view label = child->label;
    const size_t common =
        static_cast<size_t>(std::mismatch(label.begin(), label.end(), prefix.begin(), prefix.end()).first - label.begin());
    if (common < label.size()) {  // split the edge
      auto middle = std::make_unique<Node>();
      middle->label = label.substr(0, common);
      middle->first.push_back(static_cast<uint8_t>(label[common]));
      child->label = std::string(label.substr(common));
      middle->children.push_back(std::move(child));
      child = std::move(middle);
    }
    node = child.get();
    prefix.remove_prefix(common);
  }
  return *node;
}

void PathIndex::addRegex(std::string_view pattern, uint32_t route) {
  Node& node = nodeAt(*root_, match::Regex::literalPrefix(pattern));
  node.regexes.push_back(route);
  node.patterns.emplace_back(pattern);
}

void PathIndex::buildSets(Node& node) {
  every_prefix_.insert(every_prefix_.end(), node.prefixes.begin(), node.prefixes.end());
  every_prefix_.insert(every_prefix_.end(), node.regexes.begin(), node.regexes.end());
  if (node.patterns.size() > kMostRegexesAlone) {
    auto set = std::make_unique<match::RegexSet>();
    bool usable = true;
    for (const std::string& pattern : node.patterns) usable = usable && set->add(pattern).ok();
    if (usable && set->build()) {
      // The first text of a cold set costs it milliseconds with thousands of patterns: here, not on a worker.
      set->warm(match::Regex::literalPrefix(node.patterns.front()));
      node.set = std::move(set);
    }
  }
  node.patterns.clear();
  node.patterns.shrink_to_fit();
  for (auto& child : node.children) buildSets(*child);
}

void PathIndex::build() {
  buildSets(*root_);
  if (folded_root_ != nullptr) buildSets(*folded_root_);
  std::sort(every_prefix_.begin(), every_prefix_.end());
}

bool PathIndex::walk(const Node& root, std::string_view path, Sources& out, Scratch& scratch) {
  const Node* node = &root;
  std::string_view rest = path;
  for (;;) {
    if (out.count + 3 > Sources::kMost) return false;
    out.add(node->prefixes);
    if (node->set != nullptr && node->set->match(path, scratch.hits)) {
      if (!scratch.hits.empty()) {
        if (scratch.found.size() <= scratch.lists) scratch.found.reserve(Sources::kMost), scratch.found.resize(scratch.lists + 1);
        std::vector<uint32_t>& list = scratch.found[scratch.lists++];
        list.clear();
        for (const int hit : scratch.hits) list.push_back(node->regexes[static_cast<size_t>(hit)]);
        std::sort(list.begin(), list.end());
        out.add(list, true);
      }
    } else {
      out.add(node->regexes);
    }
    if (rest.empty()) return true;
    const auto byte = static_cast<uint8_t>(rest[0]);
    const auto it = std::lower_bound(node->first.begin(), node->first.end(), byte);
    if (it == node->first.end() || *it != byte) return true;
    node = node->children[static_cast<size_t>(it - node->first.begin())].get();
    if (rest.substr(0, node->label.size()) != node->label) return true;
    rest.remove_prefix(node->label.size());
  }
}

void PathIndex::collect(std::string_view path, Sources& out) const {
  thread_local Scratch scratch;
  scratch.lists = 0;
  if (!exact_.empty()) {
    if (const auto it = exact_.find(path); it != exact_.end()) out.add(it->second);
  }
  std::string_view folded;
  if (folded_root_ != nullptr || !folded_exact_.empty()) {
    scratch.lower.assign(path);
    std::transform(scratch.lower.begin(), scratch.lower.end(), scratch.lower.begin(), http::lowerAscii);
    folded = scratch.lower;
    if (const auto it = folded_exact_.find(folded); it != folded_exact_.end()) out.add(it->second);
  }
  out.add(always_);
  const size_t before = out.count;
  if (walk(*root_, path, out, scratch) && (folded_root_ == nullptr || walk(*folded_root_, folded, out, scratch))) return;
  out.count = before;  // nested deeper than any sane table
  out.add(every_prefix_);
}

}  // namespace outrider::config
