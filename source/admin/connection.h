// One client of the admin endpoint: HTTP/1 through the ordinary codec, one exchange at a time, bounded in bytes and in time.
// Thread: main. Lifetime: its owner's, which retires it on onGone(). A request's body is read and dropped, at most kMostBody of it.
// A client that sends no whole request in time, or does not read its answer, is cut.
#pragma once

#include <string>

#include "source/admin/answer.h"
#include "source/admin/request.h"
#include "source/base/intrusive_list.h"
#include "source/http/h1/server_codec.h"
#include "source/net/connection.h"

namespace outrider::admin {

class Connection;
struct ConnectionTag;

class ConnectionOwner {
 public:
  virtual Answer answer(const Request& request) = 0;
  virtual void onAnswered(uint16_t status) = 0;
  virtual void onGone(Connection& connection) = 0;

 protected:
  ~ConnectionOwner() = default;
};

class Connection final : public base::TaggedNode<ConnectionTag>,
                         public event::Retired,
                         private net::ConnectionSink,
                         private http::ServerCodecSink {
 public:
  static constexpr size_t kMostBody = 64 * 1024;
  static constexpr base::Nanos kRequestTime = 10 * base::kSecond;  // for a whole request, from its first byte on
  static constexpr base::Nanos kIdleTime = 60 * base::kSecond;     // between requests, and before the first
  static constexpr base::Nanos kStallTime = 30 * base::kSecond;    // for the client to read some of its answer

  Connection(event::Loop& loop, int fd, const base::Address& local, const base::Address& remote, const http::h1::Settings& settings,
             ConnectionOwner& owner);
  ~Connection() override;

  // When it last moved forward: who waits longest goes first when there are too many.
  base::Nanos progressAt() const { return progress_at_; }
  void cut();  // now, with a reset; without onGone()
  const net::Connection& socket() const { return socket_; }

 private:
  // One request and its answer.
  class Exchange final : public http::RequestSink, private event::IoHandler {
   public:
    explicit Exchange(Connection& owner) : owner_(owner), begin_(event::Deferred::to<&Exchange::begin>(this)) {}
    ~Exchange() { release(); }
    void open(http::ServerStream& stream);
    bool isOpen() const { return stream_ != nullptr; }
    bool answering() const { return isOpen() && head_sent_; }

   private:
    base::Arena& arena() override { return *arena_; }
    void onRequestHead(http::RequestHead& head, bool last) override;
    void onRequestData(base::Buffer& data, bool last) override;
    void onRequestTrailers(http::HeaderMap&) override;
    void onMalformed(const http::CodecError& error) override;
    void onRoom() override;
    void onEnd(http::ResetReason reason) override;
    void onReady(uint32_t) override { pump(); }

    void begin();  // the request is whole: the page is asked
    void sendHead();
    void pump();  // one piece; the next one in the next turn
    void release();

    Connection& owner_;
    event::Deferred begin_;
    base::Arena* arena_ = nullptr;
    http::ServerStream* stream_ = nullptr;
    Request request_;
    std::string target_;
    Answer answer_;
    size_t body_bytes_ = 0;
    bool refused_ = false;  // answer_ is a refusal already
    bool full_ = false;     // the codec asked to pause
    bool head_sent_ = false;
  };

  void onConnected() override {}
  void onBytes(base::Buffer& in, bool eof) override;
  void onFlush(base::Buffer& out) override;
  void onRoom() override { codec_.onOutputDrained(); }
  void onClosed(net::CloseReason reason) override;

  http::RequestSink& onNewStream(http::ServerStream& stream) override;
  void onOutput() override { socket_.markDirty(); }
  void onWantFeed() override;
  void onIdle() override {}
  void onConnectionError(std::string_view) override {}

  void closeIfFinished();
  void onTimer();
  void progress();

  event::Loop& loop_;
  ConnectionOwner& owner_;
  http::h1::Counters counters_;
  net::Connection socket_;
  http::h1::ServerCodec codec_;
  Exchange exchange_;
  event::Timer timer_;
  base::Nanos progress_at_;
  uint64_t written_ = 0;  // of socket_ at progress_at_
  bool partial_ = false;  // bytes of an unfinished request are here
  bool closing_ = false;
};

}  // namespace outrider::admin
