#include <yaml.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"
#include "source/config/readers.h"

namespace outrider::config {
namespace {

constexpr uint64_t kMostRepeated = 1'000'000;  // nodes that aliases and merge keys may add
constexpr size_t kMostMerged = 1000;           // maps under one merge key

// libyaml's parser, deleted in every path.
class Parser final {
 public:
  explicit Parser(std::string_view text) : ready_(yaml_parser_initialize(&parser_) == 1) {
    if (ready_) yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  }
  ~Parser() {
    if (ready_) yaml_parser_delete(&parser_);
  }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;
  bool next(yaml_event_t& event) { return ready_ && yaml_parser_parse(&parser_, &event) == 1; }
  ReadError error() const {
    ReadError out;
    out.what = parser_.problem != nullptr ? parser_.problem : "not YAML";
    if (parser_.context != nullptr) out.what = absl::StrCat(out.what, " (", parser_.context, ")");
    const bool placed = parser_.problem_mark.line != 0 || parser_.problem_mark.column != 0 || parser_.context != nullptr;
    out.line = placed ? static_cast<uint32_t>(parser_.problem_mark.line) + 1 : 1;
    out.column = placed ? static_cast<uint32_t>(parser_.problem_mark.column) + 1 : 1;
    return out;
  }

 private:
  yaml_parser_t parser_;
  bool ready_;
};

std::string_view view(const yaml_char_t* text) {
  return text == nullptr ? std::string_view() : std::string_view(reinterpret_cast<const char*>(text));
}

bool isNull(std::string_view text) { return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL"; }

}  // namespace

// Builds nodes from events with a stack of the collections that are open.
class YamlBuilder final {
 public:
  YamlBuilder(std::function<Node*()> make, std::function<std::string_view(std::string_view)> keep)
      : make_(std::move(make)), keep_(std::move(keep)) {}

  // False: error() says why.
  bool onEvent(const yaml_event_t& event) {
    mark_ = event.start_mark;
    switch (event.type) {
      case YAML_NO_EVENT:
      case YAML_STREAM_START_EVENT:
      case YAML_STREAM_END_EVENT:
      case YAML_DOCUMENT_END_EVENT: return true;
      case YAML_DOCUMENT_START_EVENT: return ++documents_ == 1 || fail("a second document; only one is read");
      case YAML_ALIAS_EVENT: return onAlias(view(event.data.alias.anchor));
      case YAML_SCALAR_EVENT: return onScalar(event);
      case YAML_SEQUENCE_START_EVENT:
        return onOpen(Node::Kind::kList, view(event.data.sequence_start.anchor), view(event.data.sequence_start.tag));
      case YAML_MAPPING_START_EVENT:
        return onOpen(Node::Kind::kMap, view(event.data.mapping_start.anchor), view(event.data.mapping_start.tag));
      case YAML_SEQUENCE_END_EVENT:
      case YAML_MAPPING_END_EVENT: return onClose();
    }
    return fail("an unknown YAML event");
  }
  const Node* root() const { return root_; }
  const ReadError& error() const { return error_; }

 private:
  struct Open {
    Node* node;
    Node* last;
    std::string_view anchor;
    std::string_view key;
    bool has_key;
    bool merges;
    bool ignore_key;
  };

  bool fail(std::string_view what) {
    error_.what = what;
    error_.line = static_cast<uint32_t>(mark_.line) + 1;
    error_.column = static_cast<uint32_t>(mark_.column) + 1;
    return false;
  }
  bool wantsKey() const { return !stack_.empty() && stack_.back().node->kind == Node::Kind::kMap && !stack_.back().has_key; }
  Node* place() {
    Node* node = make_();
    node->yaml = true;
    node->line = static_cast<uint32_t>(mark_.line) + 1;
    node->column = static_cast<uint32_t>(mark_.column) + 1;
    return node;
  }

  // Puts a finished or just opened node into its parent.
  void attach(Node* node) {
    if (stack_.empty()) {
      root_ = node;
      return;
    }
    Open& parent = stack_.back();
    if (parent.node->kind == Node::Kind::kMap) {
      node->key = parent.key;
      node->ignored = node->ignored || parent.ignore_key;
      parent.has_key = parent.ignore_key = false;
      if (node->key == "<<") parent.merges = true;
    }
    (parent.last == nullptr ? parent.node->first : parent.last->next) = node;
    parent.last = node;
  }
  void weigh(uint32_t weight) {
    if (stack_.empty()) return;
    uint32_t& sum = stack_.back().node->weight;
    sum = sum > UINT32_MAX - weight ? UINT32_MAX : sum + weight;
  }

  bool onScalar(const yaml_event_t& event) {
    const auto& scalar = event.data.scalar;
    const std::string_view text(reinterpret_cast<const char*>(scalar.value), scalar.length);
    if (wantsKey()) {
      Open& map = stack_.back();
      map.key = keep_(text);
      map.has_key = true;
      map.ignore_key = view(scalar.tag) == "!ignore";
      if (scalar.anchor != nullptr) return fail("an anchor on a name");
      return true;
    }
    Node* node = place();
    const std::string_view tag = view(scalar.tag);
    node->ignored = tag == "!ignore";
    node->plain = scalar.style == YAML_PLAIN_SCALAR_STYLE && tag != "!" && tag != "tag:yaml.org,2002:str";
    if (!node->plain || !isNull(text)) {
      node->kind = Node::Kind::kScalar;
      node->text = keep_(text);
    }
    attach(node);
    weigh(1);
    if (scalar.anchor != nullptr) anchors_[std::string(view(scalar.anchor))] = node;
    return true;
  }

  bool onOpen(Node::Kind kind, std::string_view anchor, std::string_view tag) {
    if (wantsKey()) return fail("a name must be a scalar");
    if (stack_.size() >= static_cast<size_t>(kMostLevels)) return fail("nested too deeply");
    Node* node = place();
    node->kind = kind;
    node->ignored = tag == "!ignore";
    attach(node);
    stack_.push_back({node, nullptr, anchor.empty() ? anchor : keep_(anchor), {}, false, false, false});
    return true;
  }

  bool onClose() {
    const Open closed = stack_.back();
    if (closed.merges && !merge(*closed.node)) return false;
    stack_.pop_back();
    weigh(closed.node->weight);
    // Only now: an alias inside of the node it names would be an endless tree.
    if (!closed.anchor.empty()) anchors_[std::string(closed.anchor)] = closed.node;
    return true;
  }

  bool onAlias(std::string_view name) {
    if (wantsKey()) return fail("an alias as a name");
    const auto it = anchors_.find(base::toAbsl(name));
    if (it == anchors_.end()) return fail(absl::StrCat("no anchor '", base::toAbsl(name), "' before this alias"));
    const Node& target = *it->second;
    if (!spend(target.weight)) return false;
    if (stack_.size() + levels(target) > static_cast<size_t>(kMostLevels)) return fail("nested too deeply");
    Node* node = make_();
    *node = target;
    node->next = nullptr;
    node->key = {};
    node->ignored = false;
    attach(node);
    weigh(target.weight);
    return true;
  }

  bool spend(uint64_t weight) {
    repeated_ += weight;
    return repeated_ <= kMostRepeated || fail("aliases repeat too much");
  }
  // Aliases may stack trees on trees; the budget above bounds this walk.
  static size_t levels(const Node& node) {
    size_t most = 0;
    for (const Node* below = node.first; below != nullptr; below = below->next) most = std::max(most, levels(*below));
    return most + 1;
  }

  // "<<: *base" or "<<: [*a, *b]": members that are not there yet; earlier maps win.
  bool merge(Node& map) {
    std::vector<const Node*> sources;
    const Node* kept = nullptr;
    const Node* first = nullptr;
    for (const Node* member = map.first; member != nullptr;) {
      const Node* next = member->next;
      if (member->key != "<<") {
        if (kept == nullptr) {
          first = member;
        } else {
          const_cast<Node*>(kept)->next = member;
        }
        kept = member;
      } else if (member->kind == Node::Kind::kMap) {
        sources.push_back(member);
      } else if (member->kind == Node::Kind::kList) {
        for (const Node* one = member->first; one != nullptr; one = one->next) sources.push_back(one);
      } else {
        return fail("'<<' takes a map or a list of maps");
      }
      member = next;
    }
    if (kept != nullptr) const_cast<Node*>(kept)->next = nullptr;
    map.first = first;
    if (sources.size() > kMostMerged) return fail("too many maps under one '<<'");
    absl::flat_hash_set<absl::string_view> keys;
    for (const Node* member = first; member != nullptr; member = member->next) keys.insert(base::toAbsl(member->key));
    for (const Node* source : sources) {
      if (source->kind != Node::Kind::kMap) return fail("'<<' takes a map or a list of maps");
      for (const Node* member = source->first; member != nullptr; member = member->next) {
        if (!spend(1)) return false;
        if (!keys.insert(base::toAbsl(member->key)).second) continue;
        if (!spend(member->weight)) return false;
        Node* copy = make_();
        *copy = *member;
        copy->next = map.first;
        map.first = copy;
      }
    }
    return true;
  }

  std::function<Node*()> make_;
  std::function<std::string_view(std::string_view)> keep_;
  std::vector<Open> stack_;
  absl::flat_hash_map<std::string, const Node*> anchors_;
  const Node* root_ = nullptr;
  uint64_t repeated_ = 0;
  int documents_ = 0;
  yaml_mark_t mark_{};
  ReadError error_;
};

const Node* YamlReader::read(ReadError& error) {
  Parser parser(document_.text_);
  YamlBuilder builder([this] { return document_.make(); }, [this](std::string_view text) { return document_.keep(text); });
  yaml_event_t event;
  bool more = true;
  while (more) {
    if (!parser.next(event)) {
      error = parser.error();
      return nullptr;
    }
    more = event.type != YAML_STREAM_END_EVENT;
    const bool ok = builder.onEvent(event);
    yaml_event_delete(&event);
    if (!ok) {
      error = builder.error();
      return nullptr;
    }
  }
  if (builder.root() != nullptr) return builder.root();
  return document_.make();  // an empty text is an empty document
}

}  // namespace outrider::config
