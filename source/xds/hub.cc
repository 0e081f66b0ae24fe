#include "source/xds/hub.h"

#include "source/base/log.h"
#include "source/xds/types.h"

namespace outrider::xds {
namespace {

namespace core = envoy::config::core::v3;

// Deprecated, and still sent.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
constexpr core::ApiVersion kVersion2 = core::ApiVersion::V2;
const std::string& plainPath(const core::ConfigSource& source) { return source.path(); }
#pragma GCC diagnostic pop

constexpr base::Nanos kFetchTimeout = 15 * base::kSecond;

base::Nanos fetchTimeout(const core::ConfigSource& source) {
  if (!source.has_initial_fetch_timeout()) return kFetchTimeout;
  return source.initial_fetch_timeout().seconds() * base::kSecond + source.initial_fetch_timeout().nanos();
}

}  // namespace

struct Hub::Pause::State {
  Pauses pauses;
  Hub* hub = nullptr;  // null: gone
};

Hub::Pause::Pause(std::shared_ptr<State> state, std::string_view type_url) : state_(std::move(state)), type_url_(type_url) {
  state_->pauses.pause(type_url_);
}

Hub::Pause& Hub::Pause::operator=(Pause&& other) noexcept {
  if (this == &other) return *this;
  end();
  state_ = std::move(other.state_);
  type_url_ = std::move(other.type_url_);
  return *this;
}

void Hub::Pause::end() {
  const std::shared_ptr<State> state = std::move(state_);
  state_ = nullptr;
  if (state != nullptr && state->pauses.resume(type_url_) && state->hub != nullptr) state->hub->resumed();
}

Hub::Hub(event::Loop& loop, stats::Store& store, TransportMaker transports, HubOptions options)
    : loop_(loop),
      store_(store),
      transports_(std::move(transports)),
      options_(std::move(options)),
      pauses_(std::make_shared<Pause::State>()),
      files_watch_(loop),
      sweep_(event::Deferred::to<&Hub::sweep>(this)) {
  pauses_->hub = this;
}

Hub::~Hub() { pauses_->hub = nullptr; }

Hub::Pause Hub::pause(std::string_view type_url) { return Pause(pauses_, type_url); }

void Hub::resumed() {
  if (ads_ != nullptr) ads_->flushSoon();
  for (const auto& [key, session] : sessions_) session->flushSoon();
}

std::unique_ptr<Session> Hub::makeSession(const Target& target, std::string only_type, std::string stats_prefix) {
  SessionOptions options;
  options.delta = target.delta;
  options.only_type = std::move(only_type);
  options.node = options_.node;
  options.stats_prefix = std::move(stats_prefix);
  options.base_backoff = target.base_backoff;
  options.max_backoff = target.max_backoff;
  options.seed = options_.seed + next_;
  options.elsewhere = options_.elsewhere;
  return std::make_unique<Session>(loop_, store_, transports_(target), pauses_->pauses, std::move(options));
}

bool Hub::setAds(const core::ApiConfigSource& source, config::Problems& problems) {
  Target target;
  if (!readTarget(source, target, problems)) return false;
  ads_ = makeSession(target, "", "");
  return true;
}

bool Hub::check(const core::ConfigSource& source, std::string_view type_url, config::Problems& problems) const {
  const size_t before = problems.size();
  if (source.resource_api_version() == kVersion2) {
    problems.addAt("resource_api_version", "V2", "resources are version 3 only", "V3");
  }
  if (source.authorities_size() > 0) problems.addAt("authorities", "", "is not implemented");
  switch (source.config_source_specifier_case()) {
    case core::ConfigSource::kAds:
    case core::ConfigSource::kSelf:
      if (ads_ == nullptr) problems.addAt("ads", "", "dynamic_resources.ads_config is not set");
      break;
    case core::ConfigSource::kApiConfigSource: {
      const auto at = problems.field("api_config_source");
      Target target;
      (void)readTarget(source.api_config_source(), target, problems);
      if (methodOfType(type_url, target.delta).empty()) {
        problems.addAt("api_type", core::ApiConfigSource::ApiType_Name(source.api_config_source().api_type()),
                       "there is no such service for " + std::string(type_url));
      }
      break;
    }
    case core::ConfigSource::kPathConfigSource:
      if (source.path_config_source().path().empty()) problems.addAt("path_config_source", "", "names no path");
      break;
    case core::ConfigSource::kPath:
      if (plainPath(source).empty()) problems.addAt("path", "", "must not be empty");
      break;
    case core::ConfigSource::CONFIG_SOURCE_SPECIFIER_NOT_SET:
      problems.add("", "no source is set", "ads, api_config_source or path_config_source");
      break;
  }
  return problems.size() == before;
}

Session* Hub::sessionOf(const core::ApiConfigSource& source, const std::string& type_url, const std::string& stats_prefix) {
  std::unique_ptr<Session>& session = sessions_[{source.SerializeAsString(), type_url}];
  if (session == nullptr) {
    Target target;
    config::Problems ignored;  // check() said yes
    (void)readTarget(source, target, ignored);
    session = makeSession(target, type_url, stats_prefix);
  }
  return session.get();
}

FileSource& Hub::fileOf(const std::string& path, const std::string& directory, const std::string& type_url) {
  std::unique_ptr<FileSource>& file = files_[{path + '\0' + directory, type_url}];
  if (file == nullptr) {
    file = std::make_unique<FileSource>(loop_, store_, files_watch_, path, directory, type_url, options_.allow_unknown_fields);
  }
  return *file;
}

WatchId Hub::watch(const core::ConfigSource& source, std::string_view type_url, std::string_view name, Watcher& watcher,
                   const std::string& stats_prefix) {
  config::Problems problems;
  if (!check(source, type_url, problems)) {
    OUTRIDER_LOG(kError, kXds, "cannot watch %s %s: %s", std::string(typeLabel(type_url)).c_str(), std::string(name).c_str(),
                 problems.str("; ").c_str());
    return 0;
  }
  const std::string type(type_url);
  Session* session = nullptr;
  Subscription* table = nullptr;
  switch (source.config_source_specifier_case()) {
    case core::ConfigSource::kAds:
    case core::ConfigSource::kSelf: session = ads_.get(); break;
    case core::ConfigSource::kApiConfigSource: session = sessionOf(source.api_config_source(), type, stats_prefix); break;
    case core::ConfigSource::kPathConfigSource:
      table = &fileOf(source.path_config_source().path(), source.path_config_source().watched_directory().path(), type).subscription();
      break;
    case core::ConfigSource::kPath: table = &fileOf(plainPath(source), "", type).subscription(); break;
    case core::ConfigSource::CONFIG_SOURCE_SPECIFIER_NOT_SET: return 0;
  }
  if (session != nullptr) table = &session->subscription(type);
  if (type_url == kClusterType || type_url == kListenerType) table->keepReplaced();
  const WatchId id = next_++;
  watches_[id] = table;
  table->add(id, name, watcher, stats_prefix, fetchTimeout(source));
  return id;
}

void Hub::unwatch(WatchId id) {
  const auto at = watches_.find(id);
  if (at == watches_.end()) return;
  (void)at->second->remove(id);
  watches_.erase(at);
  loop_.defer(sweep_);
}

std::vector<Subscription*> Hub::tablesOf(std::string_view type_url) const {
  std::vector<Subscription*> out;
  const auto add = [&out](Subscription* table) {
    if (table != nullptr && !table->unused()) out.push_back(table);
  };
  if (ads_ != nullptr) add(ads_->find(type_url));
  for (const auto& [key, session] : sessions_) add(session->find(type_url));
  for (const auto& [key, file] : files_) {
    if (file->subscription().typeUrl() == type_url) add(&file->subscription());
  }
  return out;
}

void Hub::visitNames(std::string_view type_url, const std::function<void(std::string_view)>& fn) const {
  for (const Subscription* table : tablesOf(type_url)) table->visitNames(fn);
}

void Hub::visit(std::string_view type_url, const std::string& name, const std::function<void(const ResourceView&)>& fn) const {
  for (const Subscription* table : tablesOf(type_url)) table->visit(name, fn);
}

std::string Hub::version(std::string_view type_url) const {
  const std::vector<Subscription*> tables = tablesOf(type_url);
  return tables.empty() ? std::string() : tables.front()->version();
}

void Hub::dropReplaced(std::string_view type_url) {
  for (Subscription* table : tablesOf(type_url)) table->dropReplaced();
}

// Streams and files that nobody uses, at a moment when none of them is up the stack.
void Hub::sweep() {
  for (auto at = sessions_.begin(); at != sessions_.end();) {
    at = at->second->unused() ? sessions_.erase(at) : std::next(at);
  }
  for (auto at = files_.begin(); at != files_.end();) {
    at = at->second->subscription().unused() ? files_.erase(at) : std::next(at);
  }
}

void completeNode(core::Node& node) {
  // What the bootstrap says stays as it is.
  if (node.user_agent_name().empty() || node.user_agent_name() == "outrider") node.set_user_agent_name("envoy");
  for (const std::string_view feature : {"xds.config.supports-resource-ttl", "xds.config.resource-in-sotw"}) {
    node.add_client_features(std::string(feature));
  }
}

}  // namespace outrider::xds
