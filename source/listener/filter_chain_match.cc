#include "source/listener/filter_chain_match.h"

#include <algorithm>
#include <unordered_map>

namespace outrider::listener {
namespace {
constexpr std::string_view kLoopback("\x7f\0\0\1", 4);
}  // namespace

namespace {

enum Step { kPort, kAddress, kServerName, kTransport, kAlpn, kDirectSource, kSourceType, kSource, kSourcePort, kEnd };

}  // namespace

// A decision of one step: children by value, by range (longest prefix first), and for "any".
struct ChainMatcher::Node {
  std::unordered_map<std::string, std::unique_ptr<Node>> values;
  struct Range {
    base::CidrRange range;
    std::unique_ptr<Node> child;
  };
  std::vector<Range> ranges;
  std::unique_ptr<Node> any;
  int chain = kNoChain;  // at kEnd

  Node& child(const std::string& value) {
    auto& slot = values[value];
    if (slot == nullptr) slot = std::make_unique<Node>();
    return *slot;
  }
  Node& child(const base::CidrRange& range) {
    for (Range& each : ranges) {
      if (each.range == range) return *each.child;
    }
    const auto at = std::find_if(ranges.begin(), ranges.end(), [&](const Range& each) { return each.range.bits < range.bits; });
    return *ranges.insert(at, Range{range, std::make_unique<Node>()})->child;
  }
  Node& anyChild() {
    if (any == nullptr) any = std::make_unique<Node>();
    return *any;
  }
  const Node* find(const std::string& value) const {
    const auto at = values.find(value);
    return at == values.end() ? nullptr : at->second.get();
  }
  const Node* find(const base::Address& address) const {
    for (const Range& each : ranges) {
      if (each.range.contains(address)) return each.child.get();
    }
    return nullptr;
  }
};

ChainMatcher::ChainMatcher() : root_(std::make_unique<Node>()) {}
ChainMatcher::~ChainMatcher() = default;
ChainMatcher::ChainMatcher(ChainMatcher&&) noexcept = default;
ChainMatcher& ChainMatcher::operator=(ChainMatcher&&) noexcept = default;

void ChainMatcher::add(const ChainMatchSpec& spec, int index, config::Problems& problems) {
  needs_first_bytes_ |= !spec.server_names.empty() || !spec.transport_protocol.empty() || !spec.application_protocols.empty();
  if (!insert(*root_, kPort, spec, index)) {
    problems.add("has the same match as another chain of this listener; a connection could not tell them apart");
  }
}

bool ChainMatcher::insert(Node& node, int step, const ChainMatchSpec& spec, int index) {
  bool unique = true;
  const auto overValues = [&](const std::vector<std::string>& values) {
    if (values.empty()) return insert(node.anyChild(), step + 1, spec, index);
    for (const std::string& value : values) unique &= insert(node.child(value), step + 1, spec, index);
    return unique;
  };
  const auto overRanges = [&](const std::vector<base::CidrRange>& ranges) {
    if (ranges.empty()) return insert(node.anyChild(), step + 1, spec, index);
    for (const base::CidrRange& range : ranges) unique &= insert(node.child(range), step + 1, spec, index);
    return unique;
  };
  switch (static_cast<Step>(step)) {
    case kPort:
      return overValues(spec.destination_port == 0 ? std::vector<std::string>()
                                                   : std::vector<std::string>{std::to_string(spec.destination_port)});
    case kAddress: return overRanges(spec.prefix_ranges);
    case kServerName: return overValues(spec.server_names);
    case kTransport:
      return overValues(spec.transport_protocol.empty() ? std::vector<std::string>() : std::vector<std::string>{spec.transport_protocol});
    case kAlpn: return overValues(spec.application_protocols);
    case kDirectSource: return overRanges(spec.direct_source_ranges);
    case kSourceType:
      return overValues(spec.source_type == SourceType::kAny
                            ? std::vector<std::string>()
                            : std::vector<std::string>{spec.source_type == SourceType::kExternal ? "external" : "local"});
    case kSource: return overRanges(spec.source_ranges);
    case kSourcePort: {
      std::vector<std::string> ports;
      for (const uint32_t port : spec.source_ports) ports.push_back(std::to_string(port));
      return overValues(ports);
    }
    case kEnd:
      if (node.chain != kNoChain) return false;
      node.chain = index;
      return true;
  }
  return true;
}

int ChainMatcher::find(const ChainMatchInput& input) const { return walk(*root_, kPort, input); }

int ChainMatcher::walk(const Node& node, int step, const ChainMatchInput& input) const {
  const Node* next = nullptr;
  static const filter::FirstBytes kNothing;
  const filter::FirstBytes& first = input.first == nullptr ? kNothing : *input.first;
  switch (static_cast<Step>(step)) {
    case kPort: next = node.find(std::to_string(input.local.port())); break;
    case kAddress: next = node.find(input.local); break;
    case kServerName: {
      if (first.server_name.empty() || node.values.empty()) break;
      next = node.find(first.server_name);
      // "a.b.c" is matched by "*.b.c", then "*.c".
      for (size_t dot = first.server_name.find('.'); next == nullptr && dot != std::string::npos;
           dot = first.server_name.find('.', dot + 1)) {
        next = node.find("*" + first.server_name.substr(dot));
      }
      if (next == nullptr) next = node.find("*");
      break;
    }
    case kTransport: next = node.find(first.transport_protocol.empty() ? "raw_buffer" : first.transport_protocol); break;
    case kAlpn:
      for (const std::string& protocol : first.application_protocols) {
        next = node.find(protocol);
        if (next != nullptr) break;
      }
      break;
    case kDirectSource: next = node.find(input.direct_remote); break;
    case kSourceType: {
      if (node.values.empty()) break;
      // As in Envoy, of IPv4 only 127.0.0.1: meshes give other addresses of 127.0.0.0/8 a meaning of their own.
      const bool loopback = input.remote.isLoopback() && (input.remote.family() != AF_INET || input.remote.ipBytes() == kLoopback);
      const bool local = input.remote.isUnix() || loopback || input.remote.ipBytes() == input.local.ipBytes();
      next = node.find(local ? "local" : "external");
      break;
    }
    case kSource: next = node.find(input.remote); break;
    case kSourcePort: next = node.find(std::to_string(input.remote.port())); break;
    case kEnd: return node.chain;
  }
  if (next == nullptr) next = node.any.get();
  return next == nullptr ? kNoChain : walk(*next, step + 1, input);
}

}  // namespace outrider::listener
