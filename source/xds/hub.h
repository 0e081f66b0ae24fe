// Everything that wants configuration from outside comes here: one place that knows which source has which stream.
//
// Watches attach to names, not to streams; those of one source, type and name share one subscription. ADS is one stream for all
// types; each api_config_source is one stream a type; a path is a file. What changes within a turn leaves as one request a type.
// Thread: main. Lifetime: the server's; the loop and the store outlive it. Watchers outlive their watches.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/config/core/v3/config_source.pb.h"
#include "source/config/problems.h"
#include "source/event/loop.h"
#include "source/stats/stats.h"
#include "source/xds/file_source.h"
#include "source/xds/session.h"
#include "source/xds/target.h"
#include "source/xds/transport.h"
#include "source/xds/watcher.h"

namespace outrider::xds {

// Makes the stream's carrier; GrpcTransport in the server.
using TransportMaker = std::function<std::unique_ptr<Transport>(const Target& target)>;

struct HubOptions {
  envoy::config::core::v3::Node node;                    // complete: see completeNode()
  bool allow_unknown_fields = true;                      // of files; --reject-unknown-dynamic-fields: false
  uint64_t seed = 1;                                     // of the back-off's jitter
  std::function<void(std::function<void()>)> elsewhere;  // SessionOptions::elsewhere
};

class Hub final {
 public:
  Hub(event::Loop& loop, stats::Store& store, TransportMaker transports, HubOptions options);
  ~Hub();
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  // dynamic_resources.ads_config, before the first watch. The stream opens with the first watch. False when a problem was added.
  bool setAds(const envoy::config::core::v3::ApiConfigSource& source, config::Problems& problems);
  // Can `source` serve that type? Parsers of resources call it, so that the resource is refused with the field's path.
  bool check(const envoy::config::core::v3::ConfigSource& source, std::string_view type_url, config::Problems& problems) const;

  // An empty name: all there are. `stats_prefix` ("cluster.a.", "http.in.rds.main."): Envoy's for this owner; empty for CDS, LDS and
  // SDS. `self` is the ADS stream. A source that check() refuses gives 0 and is logged.
  WatchId watch(const envoy::config::core::v3::ConfigSource& source, std::string_view type_url, std::string_view name, Watcher& watcher,
                const std::string& stats_prefix = {});
  void unwatch(WatchId id);  // also from within a delivery; 0 is nothing

  // Requests of the type wait until the last of its pauses is gone.
  class Pause final {
   public:
    Pause() = default;
    Pause(Pause&& other) noexcept : state_(std::move(other.state_)), type_url_(std::move(other.type_url_)) {}
    Pause& operator=(Pause&& other) noexcept;
    ~Pause() { end(); }
    void end();

   private:
    friend class Hub;
    struct State;
    Pause(std::shared_ptr<State> state, std::string_view type_url);
    std::shared_ptr<State> state_;
    std::string type_url_;
  };
  [[nodiscard]] Pause pause(std::string_view type_url);

  // For dumps: every resource of the type, whichever source it is from, and the version of the last whole response.
  void visitNames(std::string_view type_url, const std::function<void(std::string_view name)>& fn) const;
  void visit(std::string_view type_url, const std::string& name, const std::function<void(const ResourceView& resource)>& fn) const;
  std::string version(std::string_view type_url) const;
  // Clusters and listeners: what was replaced serves no longer.
  void dropReplaced(std::string_view type_url);

  bool adsConnected() const { return ads_ != nullptr && ads_->connected(); }

 private:
  Session* sessionOf(const envoy::config::core::v3::ApiConfigSource& source, const std::string& type_url, const std::string& stats_prefix);
  FileSource& fileOf(const std::string& path, const std::string& directory, const std::string& type_url);
  std::vector<Subscription*> tablesOf(std::string_view type_url) const;
  void sweep();
  void resumed();
  std::unique_ptr<Session> makeSession(const Target& target, std::string only_type, std::string stats_prefix);

  event::Loop& loop_;
  stats::Store& store_;
  const TransportMaker transports_;
  const HubOptions options_;
  const std::shared_ptr<Pause::State> pauses_;
  FileWatch files_watch_;
  std::unique_ptr<Session> ads_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<Session>> sessions_;  // source bytes, type
  std::map<std::pair<std::string, std::string>, std::unique_ptr<FileSource>> files_;  // path and directory, type
  absl::flat_hash_map<WatchId, Subscription*> watches_;
  event::Deferred sweep_;
  WatchId next_ = 1;
};

// Fills in what the process knows of itself: user agent, its version, features. Control planes look for Envoy's name and version.
void completeNode(envoy::config::core::v3::Node& node);

}  // namespace outrider::xds
