// Which filter chain does a connection get? Envoy's order: destination port, destination address (longest prefix), server name
// (exact, then wildcards longest first), transport protocol, application protocol, direct source address, source type, source
// address, source port; at each step the most specific match decides and nothing comes back (no backtracking).
// Thread: any; immutable once built. Source: envoy.config.listener.v3.FilterChainMatch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "source/base/address.h"
#include "source/config/problems.h"
#include "source/filter/listener.h"

namespace outrider::listener {

enum class SourceType : uint8_t { kAny, kSameIpOrLoopback, kExternal };

struct ChainMatchSpec {
  uint32_t destination_port = 0;  // 0: any
  std::vector<base::CidrRange> prefix_ranges;
  std::vector<std::string> server_names;  // "a.b", "*.b"
  std::string transport_protocol;
  std::vector<std::string> application_protocols;
  std::vector<base::CidrRange> direct_source_ranges;
  SourceType source_type = SourceType::kAny;
  std::vector<base::CidrRange> source_ranges;
  std::vector<uint32_t> source_ports;
  bool operator==(const ChainMatchSpec&) const = default;
};

struct ChainMatchInput {
  base::Address local;
  base::Address direct_remote;
  base::Address remote;
  const filter::FirstBytes* first = nullptr;
};

class ChainMatcher final {
 public:
  static constexpr int kNoChain = -1;
  ChainMatcher();
  ~ChainMatcher();
  ChainMatcher(ChainMatcher&&) noexcept;
  ChainMatcher& operator=(ChainMatcher&&) noexcept;

  // Chain `index` matches what `spec` says. Two chains that match the same are a problem at the current path.
  void add(const ChainMatchSpec& spec, int index, config::Problems& problems);
  int find(const ChainMatchInput& input) const;  // kNoChain: none (the default chain, if any)
  bool needsFirstBytes() const { return needs_first_bytes_; }

 private:
  struct Node;
  bool insert(Node& node, int step, const ChainMatchSpec& spec, int index);
  int walk(const Node& node, int step, const ChainMatchInput& input) const;
  std::unique_ptr<Node> root_;
  bool needs_first_bytes_ = false;
};

}  // namespace outrider::listener
