// Where a hash leads among the hosts of one priority: the ring of ring_hash (ketama) and the table of maglev. Equal hosts in equal
// order give the table that Envoy makes, so that both send a key to the same host.
// Thread: immutable, any; built on main. Lifetime: of the host set that owns the hosts.
// Source: Envoy docs "load_balancing/load_balancers" (ring hash, maglev); extensions.load_balancing_policies.{ring_hash,maglev}.v3.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "source/config/cluster_spec.h"
#include "source/upstream/host.h"

namespace outrider::upstream::lb {

class HashTable {
 public:
  struct Entry {
    const Host* host;
    std::string key;  // what stands for the host: its address, name, or a key of its own
    double share;     // of the whole: all add up to 1
  };
  virtual ~HashTable() = default;
  // Null: there are no hosts. `attempt`: how many picks for this request came before and were turned down.
  const Host* at(uint64_t hash, uint32_t attempt) const;

  struct Counts {  // entries of the table, and of the host that has the least and the most of them
    uint64_t size = 0, least = 0, most = 0;
  };
  const Counts& counts() const { return counts_; }

 protected:
  explicit HashTable(uint32_t balance_factor) : balance_factor_(balance_factor) {}
  virtual const Host* find(uint64_t hash, uint32_t attempt) const = 0;
  Counts counts_;

 private:
  friend std::unique_ptr<const HashTable> makeHashTable(const config::HashLbSpec& spec, const std::vector<Entry>& entries);
  struct Share {
    const Host* host;
    double share;
  };
  const Host* bounded(const Host& first, uint64_t hash) const;

  std::vector<Share> shares_;      // with a balance factor
  const uint32_t balance_factor_;  // percent of the mean load that a host may have; 0: no bound
};

std::unique_ptr<const HashTable> makeHashTable(const config::HashLbSpec& spec, const std::vector<HashTable::Entry>& entries);

}  // namespace outrider::upstream::lb
