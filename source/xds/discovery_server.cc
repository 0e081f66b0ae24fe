#include "source/xds/discovery_server.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "source/xds/file_watch.h"
#include "source/xds/served_client.h"
#include "source/xds/served_files.h"
#include "source/xds/served_node.h"
#include "source/xds/types.h"

namespace outrider::xds {
namespace {

std::string textOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  bytes.reserve(buffer.Length());
  if (buffer.Dump(&slices).ok()) {
    for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

// What a method serves.
struct Method {
  bool delta = false;
  std::string only_type;  // empty: ADS
};

std::optional<Method> methodOf(const std::string& path) {
  for (const bool delta : {false, true}) {
    if (path == adsMethod(delta)) return Method{delta, ""};
  }
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash == 0) return std::nullopt;
  const TypeInfo* type = findTypeInfoOfService(std::string_view(path).substr(1, slash - 1));
  if (type == nullptr) return std::nullopt;
  for (const bool delta : {false, true}) {
    if (path == methodOfType(type->url, delta)) return Method{delta, std::string(type->url)};
  }
  return std::nullopt;
}

class Call;

// Where a call's events go, on main.
class CallSink {
 public:
  virtual void onOpen(Call* call) = 0;
  virtual void onRequest(Call* call, const std::string& bytes) = 0;
  virtual void onEnd(Call* call, const grpc::Status& status) = 0;

 protected:
  ~CallSink() = default;
};

// A call as gRPC sees it; lives until gRPC is done with it, which is not before main has called finish().
class Call final : public grpc::ServerGenericBidiReactor {
 public:
  Call(CallSink& sink, event::Mailbox& main, Method method) : sink_(sink), main_(main), method_(std::move(method)) {
    main_.post([this] { sink_.onOpen(this); });
    StartSendInitialMetadata();
    StartRead(&in_);
  }

  // Main:
  void send(const std::string& bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const grpc::Slice slice(bytes);
    out_.emplace_back(&slice, 1);
    if (out_.size() == 1) StartWrite(&out_.front());
  }
  void finish(const grpc::Status& status) { Finish(status); }
  const Method& method() const { return method_; }

  // gRPC's threads:
  void OnReadDone(bool ok) override {
    if (!ok) {
      main_.post([this] { sink_.onEnd(this, grpc::Status::OK); });
      return;
    }
    main_.post([this, bytes = textOf(in_)] { sink_.onRequest(this, bytes); });
    StartRead(&in_);
  }
  void OnWriteDone(bool ok) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    out_.pop_front();
    if (!ok) out_.clear();
    if (!out_.empty()) StartWrite(&out_.front());
  }
  // Letters to main that name this call may still be on their way: it goes behind them.
  void OnDone() override {
    main_.post([self = std::shared_ptr<Call>(this)] {});
  }

 private:
  CallSink& sink_;
  event::Mailbox& main_;
  const Method method_;
  grpc::ByteBuffer in_;
  std::mutex mutex_;
  std::deque<grpc::ByteBuffer> out_;  // front: being written
};

class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Refusal(const std::string& path) { Finish({grpc::StatusCode::UNIMPLEMENTED, "no such discovery service: " + path}); }
  void OnDone() override { delete this; }
};

}  // namespace

class DiscoveryServer::Plane final : public grpc::CallbackGenericService, public CallSink {
 public:
  Plane(event::Loop& loop, std::string folder, std::function<void(const std::string&)> say)
      : loop_(loop), folder_(std::move(folder)), say_(std::move(say)), files_(folder_), watch_(loop) {}
  ~Plane() override {
    if (stopper_.joinable()) stopper_.join();
  }

  absl::StatusOr<int> start(const std::string& address);
  void stop(std::function<void()> stopped);
  size_t count() const { return files_.count(); }

  // gRPC's threads:
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    std::optional<Method> method = methodOf(context->method());
    if (!method) return new Refusal(context->method());
    return new Call(*this, loop_.mailbox(), *std::move(method));
  }

  // Main, from the mailbox:
  void onOpen(Call* call) override {
    clients_.emplace(
        call, Stream{std::make_unique<ServedClient>(
                         call->method().delta, call->method().only_type, [call](const std::string& bytes) { call->send(bytes); }, say_),
                     nullptr, ""});
    if (stopping_) onEnd(call, {grpc::StatusCode::UNAVAILABLE, "the control plane ends"});
  }
  void onRequest(Call* call, const std::string& bytes) override {
    const auto at = clients_.find(call);
    if (at == clients_.end()) return;
    Stream& stream = at->second;
    if (stream.node == nullptr) join(stream, call, ServedClient::nodeOf(call->method().delta, bytes));
    if (!stream.node->onRequest(*stream.client, bytes)) {
      onEnd(call, {grpc::StatusCode::INVALID_ARGUMENT, "the bytes are no discovery request"});
    }
  }
  void onEnd(Call* call, const grpc::Status& status) override {
    const auto at = clients_.find(call);
    if (at == clients_.end()) return;
    const Stream stream = std::move(at->second);
    clients_.erase(at);
    if (stream.node != nullptr) {
      stream.node->leave(*stream.client);
      if (stream.node->deserted()) nodes_.erase(stream.key);
    }
    call->finish(status);
  }

 private:
  struct Stream {
    std::unique_ptr<ServedClient> client;
    ServedNode* node;  // null: before the first request
    std::string key;   // in nodes_
  };
  // Who names no node is alone with this stream.
  void join(Stream& stream, const Call* call, const std::string& id) {
    stream.key = id.empty() ? "?" + std::to_string(reinterpret_cast<uintptr_t>(call)) : "=" + id;
    std::unique_ptr<ServedNode>& node = nodes_[stream.key];
    if (node == nullptr) node = std::make_unique<ServedNode>(loop_, id.empty() ? "?" : id, files_.snapshot(), say_);
    stream.node = node.get();
    node->join(*stream.client);
  }
  void load();
  void reload();

  event::Loop& loop_;
  const std::string folder_;
  const std::function<void(const std::string&)> say_;
  ServedFiles files_;
  FileWatch watch_;
  std::vector<std::string> told_;  // problems that were reported and are still there
  std::map<std::string, std::unique_ptr<ServedNode>> nodes_;
  std::map<Call*, Stream> clients_;
  std::unique_ptr<grpc::Server> server_;
  std::thread stopper_;
  bool stopping_ = false;
};

void DiscoveryServer::Plane::load() {
  std::vector<std::string> problems;
  files_.load(problems);
  if (problems != told_) {
    for (const std::string& problem : problems) say_(problem);
  }
  told_ = std::move(problems);
}

void DiscoveryServer::Plane::reload() {
  const ServedSnapshot snapshot = files_.snapshot();
  const ServedResources& before = *snapshot;
  load();
  size_t added = 0, changed = 0, removed = 0;
  for (const auto& [type, resources] : files_.resources()) {
    const auto old = before.find(type);
    for (const auto& [name, resource] : resources) {
      if (old == before.end() || !old->second.contains(name)) {
        ++added;
      } else if (old->second.at(name).version != resource.version) {
        ++changed;
      }
    }
  }
  for (const auto& [type, resources] : before) {
    const auto now = files_.resources().find(type);
    for (const auto& [name, resource] : resources) {
      if (now == files_.resources().end() || !now->second.contains(name)) ++removed;
    }
  }
  if (added + changed + removed == 0) return;
  say_("reloaded " + folder_ + ": " + std::to_string(added) + " added, " + std::to_string(changed) + " changed, " +
       std::to_string(removed) + " removed");
  for (const auto& [key, node] : nodes_) node->onResources(files_.snapshot());
}

absl::StatusOr<int> DiscoveryServer::Plane::start(const std::string& address) {
  auto watched = watch_.addDirectory(folder_, [this] { reload(); });
  if (!watched.ok()) return watched.status();
  load();
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(-1);
  builder.SetMaxSendMessageSize(-1);
  builder.RegisterCallbackGenericService(this);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || port == 0) return absl::UnavailableError("cannot listen on " + address);
  return port;
}

// Shutdown waits for the calls' ends, and those come through the loop: it turns on meanwhile.
void DiscoveryServer::Plane::stop(std::function<void()> stopped) {
  if (stopping_) return;
  stopping_ = true;
  while (!clients_.empty()) onEnd(clients_.begin()->first, {grpc::StatusCode::UNAVAILABLE, "the control plane ends"});
  stopper_ = std::thread([this, stopped = std::move(stopped)] {
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
    loop_.mailbox().post(stopped);
  });
}

DiscoveryServer::DiscoveryServer(event::Loop& loop, std::string folder, std::function<void(const std::string&)> say)
    : plane_(std::make_unique<Plane>(loop, std::move(folder), std::move(say))) {}
DiscoveryServer::~DiscoveryServer() = default;
absl::StatusOr<int> DiscoveryServer::start(const std::string& address) { return plane_->start(address); }
void DiscoveryServer::stop(std::function<void()> stopped) { plane_->stop(std::move(stopped)); }
size_t DiscoveryServer::resourceCount() const { return plane_->count(); }

}  // namespace outrider::xds
