// An HTTP/2 server on the loopback for tests: keeps what it got, answers when and as the test says.
// Thread: the test's loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "source/http/h2/server_codec.h"
#include "source/upstream/harness.h"

namespace outrider::upstream {

class H2Peer final : public event::IoHandler {
 public:
  using Fields = std::vector<std::pair<std::string, std::string>>;
  class Line;

  class Request final : public http::RequestSink {
   public:
    Request(Line& line, http::ServerStream& to) : stream(&to), line_(line), arena_(base::Arena::create()) {}
    ~Request() { arena_->unref(); }
    base::Arena& arena() override { return *arena_; }
    void onRequestHead(http::RequestHead& from, bool end) override;
    void onRequestData(base::Buffer& data, bool end) override;
    void onRequestTrailers(http::HeaderMap&) override;
    void onMalformed(const http::CodecError&) override {}
    void onRoom() override {}
    void onEnd(http::ResetReason reason) override {
      stream = nullptr;
      end_reason = reason;
    }

    // Out of the script or the test only, never from within an event.
    void head(int status, const Fields& fields, bool end) {
      if (stream == nullptr) return;
      http::ResponseHead head(*arena_);
      head.status = static_cast<uint16_t>(status);
      for (const auto& [name, value] : fields) head.headers.addCopy(name, value);
      stream->sendHead(head, end);
    }
    void data(std::string_view bytes, bool end) {
      if (stream == nullptr) return;
      base::Buffer out;
      out.append(bytes);
      (void)stream->sendData(out, end);
    }
    void trailers(const Fields& fields) {
      if (stream == nullptr) return;
      http::HeaderMap map(*arena_);
      for (const auto& [name, value] : fields) map.addCopy(name, value);
      stream->sendTrailers(map);
    }
    void reset() {
      if (stream != nullptr) std::exchange(stream, nullptr)->reset(http::ResetReason::kLocal);
    }

    std::string path, authority;
    Fields fields;
    std::string body;
    bool last = false;
    http::ServerStream* stream;  // null: over
    http::ResetReason end_reason = http::ResetReason::kNone;

   private:
    void told(bool end);
    Line& line_;
    base::Arena* arena_;
  };

  class Line final : public net::ConnectionSink, public http::ServerCodecSink {
   public:
    Line(H2Peer& peer, int fd)
        : peer_(peer),
          work_(event::Deferred::to<&Line::work>(this)),
          connection_(std::make_unique<net::Connection>(peer.loop_, fd, net::makePlainTransport(), base::Address(), base::Address())),
          codec_(std::make_unique<http::h2::ServerCodec>(peer.settings, counters_, *this, peer.loop_.now())) {
      connection_->setSink(*this);
      base::Buffer none;
      connection_->startAccepted(none);
    }
    ~Line() { close(); }
    void close() {
      if (connection_ == nullptr) return;
      if (connection_->open()) connection_->closeNow();
      codec_->resetAll(http::ResetReason::kConnectionClosed);
      peer_.loop_.retire(connection_.release());
    }
    bool open() const { return connection_ != nullptr; }
    void goAway() {
      codec_->drain();
      connection_->markDirty();
    }

    void onConnected() override { connection_->markDirty(); }
    void onBytes(base::Buffer& in, bool eof) override {
      if (codec_->feed(in) == http::Feed::kPaused) connection_->pauseReading(net::Connection::kPauseCodec);
      if (eof) codec_->onPeerFinished();
      if (eof || codec_->finished()) {
        closing_ = true;
        peer_.loop_.defer(work_);
      }
    }
    void onFlush(base::Buffer& out) override { codec_->fill(out); }
    void onRoom() override { codec_->onOutputDrained(); }
    void onClosed(net::CloseReason) override {
      closing_ = true;
      peer_.loop_.defer(work_);
    }
    http::RequestSink& onNewStream(http::ServerStream& stream) override {
      peer_.requests.push_back(std::make_unique<Request>(*this, stream));
      return *peer_.requests.back();
    }
    void onOutput() override { connection_->markDirty(); }
    void onWantFeed() override { connection_->wantFeed(); }
    void onIdle() override {}
    void onConnectionError(std::string_view) override {}

   private:
    friend class Request;
    void work() {
      for (Request* request : std::exchange(news_, {})) {
        if (peer_.script) peer_.script(*request);
      }
      if (closing_) close();
    }
    H2Peer& peer_;
    event::Deferred work_;
    std::unique_ptr<net::Connection> connection_;
    http::h2::Counters counters_;
    std::unique_ptr<http::h2::ServerCodec> codec_;
    std::vector<Request*> news_;
    bool closing_ = false;
  };

  explicit H2Peer(event::Loop& loop) : loop_(loop), fd_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(fd_, 64), 0);
    socklen_t size = sizeof at;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    address = *base::Address::parseIp("127.0.0.1", ntohs(at.sin_port));
    loop_.add(fd_, *this, event::kReadable);
  }
  // Takes over a socket that listens.
  H2Peer(event::Loop& loop, int listening, const base::Address& at) : address(at), loop_(loop), fd_(listening) {
    loop_.add(fd_, *this, event::kReadable);
  }
  ~H2Peer() {
    loop_.remove(fd_, *this);
    ::close(fd_);
    lines.clear();
  }
  void onReady(uint32_t) override {
    int fd;
    while ((fd = ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
      lines.push_back(std::make_unique<Line>(*this, fd));
    }
  }
  // Answers each complete request with `status` and a body.
  void answerAll(int status, std::string body) {
    script = [status, body = std::move(body)](Request& request) {
      if (!request.last) return;
      request.head(status, {}, false);
      request.data(body, true);
    };
  }

  base::Address address;
  http::h2::Settings settings;  // for connections to come
  std::vector<std::unique_ptr<Line>> lines;
  std::vector<std::unique_ptr<Request>> requests;
  std::function<void(Request&)> script;  // when something of a request came

 private:
  event::Loop& loop_;
  const int fd_;
};

inline void H2Peer::Request::told(bool end) {
  last |= end;
  if (line_.news_.empty() || line_.news_.back() != this) line_.news_.push_back(this);
  line_.peer_.loop_.defer(line_.work_);
}
inline void H2Peer::Request::onRequestHead(http::RequestHead& from, bool end) {
  path = from.path;
  authority = from.authority;
  from.headers.forEach([this](const http::Header& each) { fields.emplace_back(each.name(), each.value()); });
  told(end);
}
inline void H2Peer::Request::onRequestData(base::Buffer& data, bool end) {
  body += data.str();
  data.clear();
  told(end);
}
inline void H2Peer::Request::onRequestTrailers(http::HeaderMap&) { told(true); }

inline std::shared_ptr<config::ClusterSpec> h2Spec(const std::string& name, const std::vector<base::Address>& at) {
  auto out = World::spec(name, at);
  out->http.protocol = config::UpstreamProtocol::kHttp2;
  return out;
}

}  // namespace outrider::upstream
