#include "source/xds/grpc_transport.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/client_callback.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

namespace outrider::xds {

struct GrpcTransport::Calls {
  std::mutex mutex;
  std::condition_variable none;
  size_t live = 0;
  // Channels of calls that are over. gRPC joins its callback threads when the last channel of the process goes, so none may go on
  // such a thread: they wait here for main.
  std::vector<std::shared_ptr<grpc::Channel>> finished;
};

namespace {

constexpr int kUnavailable = 14;
constexpr int kStreamWindow = 16 * 1024 * 1024;

class GrpcStream;

// How gRPC's side finds the stream: read and written on main only.
struct Link {
  GrpcStream* stream;
};

std::string textOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  bytes.reserve(buffer.Length());
  if (buffer.Dump(&slices).ok()) {
    for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

// One call as gRPC sees it. Deletes itself when gRPC is done, on a thread of gRPC. Main has a hold on it until it lets go, and may
// start reads and writes until then.
class Call final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Call(event::Mailbox& main, std::shared_ptr<Link> link, std::shared_ptr<GrpcTransport::Calls> calls,
       std::shared_ptr<grpc::Channel> channel)
      : main_(main), link_(std::move(link)), calls_(std::move(calls)), channel_(std::move(channel)), stub_(channel_) {
    const std::lock_guard<std::mutex> lock(calls_->mutex);
    ++calls_->live;
  }

  void start(const std::string& method, const Target& target) {
    if (!target.authority.empty()) context_.set_authority(target.authority);
    for (const auto& [key, value] : target.metadata) context_.AddMetadata(key, value);
    stub_.PrepareBidiStreamingCall(&context_, method, grpc::StubOptions(), this);
    AddHold();
    StartRead(&in_);
    StartCall();
  }

  // Main:
  void send(std::string bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const grpc::Slice slice(bytes);
    out_.emplace_back(&slice, 1);
    if (!writing_) writeNext();
  }
  void readMore() { StartRead(&in_); }
  // The object may be gone when these return.
  void cancel() {
    context_.TryCancel();
    RemoveHold();
  }
  void letGo() { RemoveHold(); }

  // gRPC's threads:
  void OnReadInitialMetadataDone(bool ok) override;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    writing_ = false;
    out_.pop_front();
    if (!ok) out_.clear();
    if (!out_.empty()) writeNext();
  }
  void OnDone(const grpc::Status& status) override;

 private:
  void writeNext() {
    writing_ = true;
    StartWrite(&out_.front());
  }

  event::Mailbox& main_;
  const std::shared_ptr<Link> link_;
  const std::shared_ptr<GrpcTransport::Calls> calls_;
  std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer in_;
  std::mutex mutex_;
  std::deque<grpc::ByteBuffer> out_;  // front: being written
  bool writing_ = false;
};

class GrpcStream final : public Stream {
 public:
  GrpcStream(event::Loop& loop, StreamSink& sink)
      : loop_(loop), sink_(sink), link_(std::make_shared<Link>(Link{this})), failed_(event::Deferred::to<&GrpcStream::tellFailed>(this)) {}
  ~GrpcStream() override {
    link_->stream = nullptr;
    if (call_ != nullptr) call_->cancel();
  }

  void start(std::string_view method, const Target& target, const Dialer& dialer, std::shared_ptr<GrpcTransport::Calls> calls);
  void send(std::string bytes) override {
    if (call_ != nullptr) call_->send(std::move(bytes));
  }
  void next() override {
    if (call_ != nullptr) call_->readMore();
  }

  // From the mailbox, on main. Each may be the last thing that happens to this object.
  void onOpen() {
    if (open_) return;
    open_ = true;
    sink_.onStreamOpen();
  }
  void onMessage(std::string bytes) { sink_.onStreamMessage(std::move(bytes)); }
  void onEnd() { std::exchange(call_, nullptr)->letGo(); }  // the status is next
  void onDone(int status, const std::string& message) {
    sink_.onStreamClosed(status, why_.empty() ? message : message + " (" + why_ + ")");
  }

 private:
  std::shared_ptr<grpc::Channel> dial(const Target& target, const Dialer& dialer);
  void fail(std::string why) {
    why_ = std::move(why);
    loop_.defer(failed_);
  }
  void tellFailed() { sink_.onStreamClosed(kUnavailable, why_); }
  void onRelayClosed(const std::string& why) {
    why_ = why;
    if (!open_) loop_.defer(failed_);  // there is no server that could say more
  }

  event::Loop& loop_;
  StreamSink& sink_;
  const std::shared_ptr<Link> link_;
  event::Deferred failed_;
  std::unique_ptr<Relay> relay_;
  Call* call_ = nullptr;  // gRPC's; ours to use until onEnd
  std::string why_;
  bool open_ = false;
};

grpc::ChannelArguments channelArguments(const Target& target) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(target.max_receive_bytes);
  args.SetMaxSendMessageSize(-1);
  args.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // its pings count as abuse with some servers
  args.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kStreamWindow);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  for (const auto& [name, value] : target.int_args) args.SetInt(name, static_cast<int>(value));
  for (const auto& [name, value] : target.string_args) args.SetString(name, value);
  return args;
}

std::shared_ptr<grpc::Channel> GrpcStream::dial(const Target& target, const Dialer& dialer) {
  if (target.cluster.empty()) {
    std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
    if (target.tls) credentials = grpc::SslCredentials({target.root_certs, target.private_key, target.cert_chain});
    return grpc::CreateCustomChannel(target.uri, credentials, channelArguments(target));
  }
  Dialed dialed = dialer(target.cluster);
  if (dialed.connection == nullptr) {
    fail("cluster " + target.cluster + ": " + dialed.error);
    return nullptr;
  }
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
    fail("socketpair: " + std::string(strerror(errno)));
    return nullptr;
  }
  relay_ = std::make_unique<Relay>(loop_, ends[0], std::move(dialed),
                                   Relay::Events{[this] { onOpen(); }, [this](const std::string& why) { onRelayClosed(why); }});
  return grpc::CreateCustomInsecureChannelFromFd(target.authority, ends[1], channelArguments(target));  // takes the descriptor over
}

void GrpcStream::start(std::string_view method, const Target& target, const Dialer& dialer, std::shared_ptr<GrpcTransport::Calls> calls) {
  std::shared_ptr<grpc::Channel> channel = dial(target, dialer);
  if (channel == nullptr) return;
  call_ = new Call(loop_.mailbox(), link_, std::move(calls), std::move(channel));
  call_->start(std::string(method), target);
}

void Call::OnReadInitialMetadataDone(bool ok) {
  if (!ok) return;
  main_.post([link = link_] {
    if (link->stream != nullptr) link->stream->onOpen();
  });
}

void Call::OnReadDone(bool ok) {
  if (ok) {
    std::string text = textOf(in_);
    in_.Clear();  // else it stays until the next message
    main_.post([link = link_, bytes = std::move(text)]() mutable {
      if (link->stream != nullptr) link->stream->onMessage(std::move(bytes));
    });
  } else {
    main_.post([link = link_] {
      if (link->stream != nullptr) link->stream->onEnd();
    });
  }
}

void Call::OnDone(const grpc::Status& status) {
  main_.post([link = link_, code = static_cast<int>(status.error_code()), message = status.error_message()] {
    if (link->stream != nullptr) link->stream->onDone(code, message);
  });
  const std::shared_ptr<GrpcTransport::Calls> calls = calls_;
  std::shared_ptr<grpc::Channel> channel = std::move(channel_);  // the last of this object's references goes below
  delete this;
  const std::lock_guard<std::mutex> lock(calls->mutex);
  calls->finished.push_back(std::move(channel));
  if (--calls->live == 0) calls->none.notify_all();
}

}  // namespace

GrpcTransport::GrpcTransport(event::Loop& loop, Target target, Dialer dialer)
    : loop_(loop), target_(std::move(target)), dialer_(std::move(dialer)), calls_(std::make_shared<Calls>()) {}

GrpcTransport::~GrpcTransport() {
  std::vector<std::shared_ptr<grpc::Channel>> finished;
  std::unique_lock<std::mutex> lock(calls_->mutex);
  calls_->none.wait(lock, [this] { return calls_->live == 0; });
  finished.swap(calls_->finished);
  lock.unlock();
}

std::unique_ptr<Stream> GrpcTransport::open(std::string_view method, StreamSink& sink) {
  auto stream = std::make_unique<GrpcStream>(loop_, sink);
  stream->start(method, target_, dialer_, calls_);
  // After the new channel is there, so that gRPC's threads stay.
  std::vector<std::shared_ptr<grpc::Channel>> finished;
  {
    const std::lock_guard<std::mutex> lock(calls_->mutex);
    finished.swap(calls_->finished);
  }
  return stream;
}

}  // namespace outrider::xds
