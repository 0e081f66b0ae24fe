#include "source/tls/session_cache.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "source/tls/openssl_ptr.h"

namespace outrider::tls {
namespace {

bool over(const SSL_SESSION* session, int64_t good_until, int64_t now) {
  return now >= good_until || now >= SSL_SESSION_get_time(session) + SSL_SESSION_get_timeout(session);
}

}  // namespace

SessionCache::~SessionCache() {
  for (Shard& shard : shards_) {
    while (!shard.by_use.empty()) SSL_SESSION_free(takeOut(shard, shard.by_use.front())->session);
  }
}

SessionCache::Key SessionCache::keyOf(uint64_t scope, std::string_view id) {
  Key key;
  key.scope = scope;
  std::memcpy(key.id.data(), id.data(), std::min(id.size(), kIdBytes));
  return key;
}

std::unique_ptr<SessionCache::Entry> SessionCache::takeOut(Shard& shard, Entry& entry) {
  entry.unlink();
  shard.bytes -= entry.bytes;
  auto at = shard.entries.find(entry.key);
  std::unique_ptr<Entry> out = std::move(at->second);
  shard.entries.erase(at);
  return out;
}

void SessionCache::put(uint64_t scope, SSL_SESSION* session, std::string_view server_name, int64_t good_until) {
  SessionPtr owned(session);
  unsigned size = 0;
  const unsigned char* id = SSL_SESSION_get_id(session, &size);
  if (size != kIdBytes) return;  // ours have all of it; a shorter one could be guessed
  auto entry = std::make_unique<Entry>();
  entry->key = keyOf(scope, {reinterpret_cast<const char*>(id), size});
  entry->server_name = server_name;
  entry->good_until = good_until;
  entry->bytes = kPlainBytes + (SSL_SESSION_get0_peer(session) != nullptr ? kPeerBytes : 0);
  entry->session = owned.release();
  // Freed after the lock: a certificate is many pieces.
  std::vector<std::unique_ptr<Entry>> gone;
  {
    Shard& shard = shardOf(entry->key);
    const std::lock_guard lock(shard.mutex);
    if (const auto same = shard.entries.find(entry->key); same != shard.entries.end()) gone.push_back(takeOut(shard, *same->second));
    while (!shard.by_use.empty() && shard.bytes + entry->bytes > most_bytes_) gone.push_back(takeOut(shard, shard.by_use.front()));
    shard.bytes += entry->bytes;
    shard.by_use.pushBack(*entry);
    const Key key = entry->key;
    shard.entries.emplace(key, std::move(entry));
  }
  for (const auto& one : gone) SSL_SESSION_free(one->session);
}

SessionCache::Found SessionCache::find(uint64_t scope, std::string_view id, std::string_view server_name, int64_t now) {
  if (id.size() != kIdBytes) return {};
  const Key key = keyOf(scope, id);
  std::unique_ptr<Entry> gone;
  Found found;
  {
    Shard& shard = shardOf(key);
    const std::lock_guard lock(shard.mutex);
    const auto at = shard.entries.find(key);
    if (at == shard.entries.end()) return {};
    Entry& entry = *at->second;
    if (over(entry.session, entry.good_until, now) || SSL_SESSION_is_resumable(entry.session) == 0) {
      gone = takeOut(shard, entry);
    } else if (entry.server_name == server_name) {
      SSL_SESSION_up_ref(entry.session);
      found = {entry.session, entry.good_until};
      entry.unlink();
      shard.by_use.pushBack(entry);
    }
  }
  if (gone != nullptr) SSL_SESSION_free(gone->session);
  return found;
}

size_t SessionCache::sessions() const {
  size_t out = 0;
  for (const Shard& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    out += shard.entries.size();
  }
  return out;
}

size_t SessionCache::bytes() const {
  size_t out = 0;
  for (const Shard& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    out += shard.bytes;
  }
  return out;
}

}  // namespace outrider::tls
