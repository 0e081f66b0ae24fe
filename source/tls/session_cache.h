// Server sessions that clients may resume, of all contexts together: stateful resumption, where the client holds only a number
// that says nothing. What a session proved is written down beside it (context, server name, how long the client's certificates
// and revocation lists are good), so that none is resumed where a full handshake would be refused or would ask again.
// Thread: any; a lock for each of the shards, held for a look-up. Lifetime: shared by the contexts that put sessions here.
// Bounded by an estimate of bytes: the session that was used longest ago goes first. Those of a context that is gone
// are never found, and go the same way. Sources: RFC 8446 4.6.1, 4.2.11; RFC 5246 7.4.1.2; RFC 6066 3.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "source/base/intrusive_list.h"

struct ssl_session_st;

namespace outrider::tls {

struct SessionTag;

class SessionCache final {
 public:
  static constexpr size_t kShards = 16;
  static constexpr size_t kDefaultBytes = 32 << 20;
  // What a session takes, measured: without and with a client's certificate of a few hundred bytes.
  static constexpr size_t kPlainBytes = 1024;
  static constexpr size_t kPeerBytes = 5 * 1024;

  explicit SessionCache(size_t most_bytes = kDefaultBytes) : most_bytes_(most_bytes / kShards) {}
  ~SessionCache();
  SessionCache(const SessionCache&) = delete;
  SessionCache& operator=(const SessionCache&) = delete;

  uint64_t newScope() { return scopes_.fetch_add(1, std::memory_order_relaxed); }

  // Takes over one reference. `good_until`: seconds since the epoch; not resumed from then on.
  void put(uint64_t scope, ssl_session_st* session, std::string_view server_name, int64_t good_until);
  // A new reference, or null: unknown, of another scope or name, over. Single use is the client's business (RFC 8446 C.4).
  struct Found {
    ssl_session_st* session = nullptr;
    int64_t good_until = 0;
  };
  Found find(uint64_t scope, std::string_view id, std::string_view server_name, int64_t now);

  size_t sessions() const;
  size_t bytes() const;

 private:
  static constexpr size_t kIdBytes = 32;
  struct Key {
    uint64_t scope = 0;
    std::array<char, kIdBytes> id{};
    bool operator==(const Key&) const = default;
    template <class H>
    friend H AbslHashValue(H state, const Key& key) {
      return H::combine(std::move(state), key.scope, key.id);
    }
  };
  struct Entry : base::TaggedNode<SessionTag> {
    Key key;
    ssl_session_st* session = nullptr;
    std::string server_name;
    int64_t good_until = 0;
    size_t bytes = 0;
  };
  struct alignas(64) Shard {
    mutable std::mutex mutex;
    absl::flat_hash_map<Key, std::unique_ptr<Entry>> entries;
    base::IntrusiveList<Entry, SessionTag> by_use;  // longest ago first
    size_t bytes = 0;
  };
  static Key keyOf(uint64_t scope, std::string_view id);
  Shard& shardOf(const Key& key) { return shards_[static_cast<unsigned char>(key.id[0]) % kShards]; }
  static std::unique_ptr<Entry> takeOut(Shard& shard, Entry& entry);

  const size_t most_bytes_;  // of a shard
  std::atomic<uint64_t> scopes_{1};
  std::array<Shard, kShards> shards_;
};

}  // namespace outrider::tls
