// The hashes of consistent balancing. They are part of the protocol between proxies: two that are told the same send the same
// key to the same host, so neither the functions nor their seeds may change.
// Thread: any. Source: Envoy docs "load_balancing/load_balancers" (ring hash, maglev); the xxHash library.
#pragma once

#include <cstdint>
#include <string_view>

namespace outrider::base {

uint64_t xxHash64(std::string_view bytes, uint64_t seed = 0);
// MurmurHash2, 64 bits, with the seed of libstdc++'s std::hash.
uint64_t murmurHash2(std::string_view bytes);

}  // namespace outrider::base
