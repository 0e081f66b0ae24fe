#include "source/xds/session.h"

#include <algorithm>

#include "envoy/service/discovery/v3/discovery.pb.h"
#include "source/base/log.h"
#include "source/xds/types.h"

namespace outrider::xds {
namespace {

namespace discovery = envoy::service::discovery::v3;

constexpr int kInternal = 13;  // google.rpc.Code, as Envoy sends it
constexpr size_t kMostError = 4096;
constexpr size_t kBig = 64 * 1024;  // responses from here on are read on the config thread

std::string bounded(std::string text) {
  if (text.size() > kMostError) {
    size_t end = kMostError;
    while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) --end;  // a string field is UTF-8
    text.resize(end);
    text += "...(truncated)";
  }
  return text;
}

}  // namespace

bool Pauses::resume(std::string_view type_url) {
  const auto at = counts_.find(type_url);
  if (at == counts_.end()) return false;
  if (--at->second > 0) return false;
  counts_.erase(at);
  return true;
}

Session::Session(event::Loop& loop, stats::Store& store, std::unique_ptr<Transport> transport, const Pauses& pauses, SessionOptions options)
    : loop_(loop),
      store_(store),
      transport_(std::move(transport)),
      pauses_(pauses),
      options_(std::move(options)),
      stats_(store.scope(options_.stats_prefix + "control_plane.", kControlPlaneTable)),
      identifier_name_(options_.stats_prefix + "control_plane.identifier"),
      flush_(event::Deferred::to<&Session::flush>(this)),
      retry_(event::Timer::to<&Session::connect>(loop.timers(), this)),
      backoff_(options_.base_backoff),
      random_(options_.seed | 1) {
  store_.text(identifier_name_, [text = identifier_] { return *text; });
  stats_.set(ControlPlaneStat::kConnectedState, 0);
}

Session::~Session() {
  stats_.set(ControlPlaneStat::kConnectedState, 0);
  store_.dropText(identifier_name_);
}

Session::Type* Session::typeOf(std::string_view type_url) const {
  for (const auto& type : types_) {
    if (type->table->typeUrl() == type_url) return type.get();
  }
  return nullptr;
}

Subscription* Session::find(std::string_view type_url) const {
  const Type* type = typeOf(type_url);
  return type == nullptr ? nullptr : type->table.get();
}

Subscription& Session::subscription(const std::string& type_url) {
  if (Subscription* known = find(type_url)) return *known;
  auto made = std::make_unique<Type>();
  made->table = std::make_unique<Subscription>(loop_, store_, type_url, [this] { flushSoon(); });
  const auto place = std::upper_bound(types_.begin(), types_.end(), typeRank(type_url),
                                      [](size_t rank, const auto& other) { return rank < typeRank(other->table->typeUrl()); });
  return *(*types_.insert(place, std::move(made)))->table;
}

bool Session::remove(WatchId id) {
  for (const auto& type : types_) {
    if (type->table->remove(id)) return true;
  }
  return false;
}

bool Session::unused() const {
  return std::all_of(types_.begin(), types_.end(), [](const auto& type) { return type->table->unused(); });
}

// -- the stream --

void Session::connect() {
  ++generation_;
  node_sent_ = false;
  for (const auto& type : types_) {
    type->started = type->named = false;
    type->nonce.clear();
    type->waiting.clear();
    type->answers.clear();
  }
  stream_ = transport_->open(
      options_.only_type.empty() ? std::string(adsMethod(options_.delta)) : methodOfType(options_.only_type, options_.delta), *this);
  flushSoon();
}

void Session::onStreamOpen() {
  connected_ = true;
  stats_.set(ControlPlaneStat::kConnectedState, 1);
}

// Half of the interval is certain, half is chance; the interval doubles until a response shows that the server works.
base::Nanos Session::nextDelay() {
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  const base::Nanos half = backoff_ / 2;
  const base::Nanos delay = half + static_cast<base::Nanos>(random_ % static_cast<uint64_t>(half + 1));
  backoff_ = std::min(backoff_ * 2, options_.max_backoff);
  return delay;
}

void Session::onStreamClosed(int grpc_status, std::string_view message) {
  const std::string text(message);  // the stream's own, mostly
  stream_.reset();
  connected_ = false;
  stats_.set(ControlPlaneStat::kConnectedState, 0);
  for (const auto& type : types_) {
    type->waiting.clear();  // the next stream brings them again, for they were not accepted
    type->answers.clear();
    type->table->countFailure();
  }
  const base::Nanos delay = nextDelay();
  if (told_) {
    OUTRIDER_LOG(kDebug, kXds, "management server: stream closed: %d, %s; again in %lld ms", grpc_status, text.c_str(),
                 static_cast<long long>(delay / base::kMilli));
  } else {
    OUTRIDER_LOG(kWarning, kXds, "management server: stream closed: %d, %s; trying again, what was accepted stays", grpc_status,
                 text.c_str());
  }
  told_ = true;
  retry_.armIn(delay);
}

void Session::onStreamMessage(std::string bytes) {
  if (!connected_) onStreamOpen();
  backoff_ = options_.base_backoff;
  told_ = false;
  if (options_.elsewhere == nullptr || bytes.size() < kBig) {
    take(options_.delta ? readDelta(bytes) : readSotw(bytes));
    return;
  }
  // The stream reads no further until this is taken, so the order stays.
  options_.elsewhere([this, alive = std::weak_ptr<bool>(alive_), generation = generation_, delta = options_.delta,
                      bytes = std::make_shared<const std::string>(std::move(bytes)), main = &loop_.mailbox()] {
    auto read = std::make_shared<ReadResponse>(delta ? readDelta(*bytes) : readSotw(*bytes));
    main->post([this, alive, generation, read = std::move(read)] {
      if (!alive.expired() && generation == generation_ && stream_ != nullptr) take(std::move(*read));
    });
  });
}

// -- responses --

void Session::take(ReadResponse read) {
  if (!read.readable) {
    // Not a response at all, so there is nothing to answer: the stream cannot be trusted.
    stream_.reset();
    onStreamClosed(kInternal, "the server sent bytes that are no discovery response");
    return;
  }
  receive(read.type_url, {std::move(read.nonce), std::move(read.error), std::move(read.in)}, read.identifier);
  if (stream_ != nullptr) stream_->next();
}

void Session::receive(std::string_view type_url, Response response, std::string_view identifier) {
  if (!identifier.empty()) *identifier_ = identifier;
  if (!options_.only_type.empty() && !type_url.empty() && type_url != options_.only_type) {
    response.error = "type URL " + std::string(type_url) + " was not asked for on this stream; it is for " + options_.only_type;
    type_url = options_.only_type;
  }
  Type* type = typeOf(options_.only_type.empty() ? type_url : std::string_view(options_.only_type));
  if (type == nullptr) {
    OUTRIDER_LOG(kWarning, kXds, "ignoring a response of type %s: nobody asked for it", std::string(type_url).c_str());
    return;
  }
  type->waiting.push_back(std::move(response));
  if (!type->table->busy() && type->waiting.size() == 1) processNext(*type);
}

// Responses of a type are applied one after the other, however long a watcher takes.
void Session::processNext(Type& type) {
  while (!type.waiting.empty() && !type.table->busy()) {
    Response response = std::move(type.waiting.front());
    type.waiting.pop_front();
    if (!response.error.empty()) {
      type.table->countRejected();
      answer(type, {std::move(response.nonce), bounded(std::move(response.error))});
      continue;
    }
    const uint64_t generation = generation_;
    const std::string version = response.in.version;
    type.table->apply(std::move(response.in),
                      [this, at = &type, generation, version, nonce = std::move(response.nonce)](const Verdict& verdict) {
                        if (verdict.accepted) at->version = version;
                        if (generation == generation_ && stream_ != nullptr) {
                          std::string error = verdict.error;
                          if (!verdict.accepted && error.empty()) error = "rejected";
                          answer(*at, {nonce, verdict.accepted ? std::string() : bounded(std::move(error))});
                        }
                        // What came meanwhile is next, from the loop: this may be a watcher's call stack.
                        if (!at->waiting.empty()) flushSoon();
                      });
  }
}

void Session::answer(Type& type, Answer answer) {
  if (!answer.error.empty() && answer.error != type.last_error) {
    OUTRIDER_LOG(kWarning, kXds, "%s rejected: %s", std::string(typeLabel(type.table->typeUrl())).c_str(), answer.error.c_str());
  }
  type.last_error = answer.error;
  type.answers.push_back(std::move(answer));
  flushSoon();
}

// -- requests --

void Session::flush() {
  for (size_t i = 0; i < types_.size(); ++i) processNext(*types_[i]);
  if (stream_ == nullptr) {
    if (!retry_.armed() && !unused()) connect();
    if (stream_ == nullptr) return;
  }
  uint64_t pending = 0;
  for (const auto& type : types_) {
    if (pauses_.paused(type->table->typeUrl())) {
      pending += type->answers.size() + (type->table->changed() ? 1 : 0);
    } else {
      send(*type);
    }
  }
  stats_.set(ControlPlaneStat::kPendingRequests, pending);
}

void Session::send(Type& type) {
  Subscription& table = *type.table;
  if (!type.started) {
    const Subscription::Changes changes = table.takeChanges();
    if (table.unused()) return;
    type.started = true;
    if (options_.delta) {
      sendDelta(type, nullptr, nullptr);
    } else {
      sendSotw(type, nullptr);
    }
    return;
  }
  const std::vector<Answer> answers = std::exchange(type.answers, {});
  if (options_.delta) {
    Subscription::Changes changes = table.takeChanges();
    for (const Answer& each : answers) {
      sendDelta(type, &each, &changes);
      changes = {};
    }
    if (changes.any && !(changes.added.empty() && changes.removed.empty())) sendDelta(type, nullptr, &changes);
    return;
  }
  for (const Answer& each : answers) {
    type.nonce = each.nonce;
    (void)table.takeChanges();
    sendSotw(type, &each);
  }
  // A request between a response and its answer would carry a nonce that the server takes for stale: the names go with the answer.
  if (!table.changed() || table.busy() || !type.waiting.empty()) return;
  const Subscription::Changes changes = table.takeChanges();
  if (changes.added.empty() && changes.removed.empty()) return;
  if (table.unused() && !type.named) return;  // an empty list would ask for everything again
  sendSotw(type, nullptr);
}

void Session::sendSotw(Type& type, const Answer* answer) {
  const Subscription& table = *type.table;
  discovery::DiscoveryRequest request;
  request.set_type_url(table.typeUrl());
  request.set_version_info(type.version);
  request.set_response_nonce(type.nonce);
  const std::string& names = table.namesOfRequest();
  type.named = type.named || !names.empty();
  if (table.wildcard() && type.named) request.add_resource_names("*");
  if (answer != nullptr && !answer->error.empty()) {
    request.mutable_error_detail()->set_code(kInternal);
    request.mutable_error_detail()->set_message(answer->error);
  }
  if (!node_sent_) *request.mutable_node() = options_.node;
  node_sent_ = true;
  stream_->send(request.SerializeAsString() + names);
}

void Session::sendDelta(Type& type, const Answer* answer, const Subscription::Changes* changes) {
  Subscription& table = *type.table;
  discovery::DeltaDiscoveryRequest request;
  request.set_type_url(table.typeUrl());
  std::string names;
  constexpr int kSubscribe = 3, kUnsubscribe = 4, kInitialVersions = 5;  // fields of DeltaDiscoveryRequest
  if (changes == nullptr) {                                              // the first one on this stream
    names = table.takeNamesOfRequest();
    if (table.wildcard() && !names.empty()) request.add_resource_names_subscribe("*");
    table.forEachHeld([&names](const std::string& name, const std::string& version) {
      std::string pair;  // of a map: its key and its value
      appendName(pair, 1, name);
      appendName(pair, 2, version);
      appendName(names, kInitialVersions, pair);
    });
  } else {
    for (const std::string_view name : changes->added) appendName(names, kSubscribe, name);
    for (const std::string& name : changes->removed) appendName(names, kUnsubscribe, name);
  }
  if (answer != nullptr) {
    request.set_response_nonce(answer->nonce);
    if (!answer->error.empty()) {
      request.mutable_error_detail()->set_code(kInternal);
      request.mutable_error_detail()->set_message(answer->error);
    }
  }
  if (!node_sent_) *request.mutable_node() = options_.node;
  node_sent_ = true;
  stream_->send(request.SerializeAsString() + names);
}

}  // namespace outrider::xds
