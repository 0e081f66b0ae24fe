// Endpoints of one assignment that say an IP address and otherwise what one before them said, read from their bytes: what most of tens
// of thousands are. All others are protobuf's.
// Thread: one at a time. Lifetime: the bytes given to read() outlive it. Source: endpoint.v3.LbEndpoint.
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>

#include "absl/container/node_hash_map.h"
#include "source/config/endpoint_spec.h"

namespace outrider::config {

class UsualEndpoints final {
 public:
  // True: `out` is what the parser would make of these bytes of an LbEndpoint. False: nothing is known of them.
  bool read(std::string_view bytes, EndpointSpec& out);
  // What the parser made of the bytes of the last read(), and found nothing to say about.
  void learn(const EndpointSpec& made);

 private:
  // Endpoints that all differ are not worth remembering.
  static constexpr size_t kMost = 1024;
  // What follows the address in Endpoint, and what follows that in LbEndpoint.
  using Rest = std::pair<absl::string_view, absl::string_view>;

  bool cut(std::string_view bytes);

  absl::node_hash_map<Rest, EndpointSpec> known_;
  const std::pair<const Rest, EndpointSpec>* last_ = nullptr;
  Rest rest_;  // of the last read()
  base::Address address_;
  bool learnable_ = false;
};

}  // namespace outrider::config
