#include <algorithm>
#include <cerrno>

#include "source/event/io.h"
#include "source/net/transport.h"

namespace outrider::net {
namespace {

// Reads above one block's size scatter over several blocks.
constexpr int kMostBlocks = 4;

IoState stateOf(int error) {
  if (error == EAGAIN || error == EWOULDBLOCK || error == EINTR) return IoState::kAgain;
  return IoState::kReset;
}

class PlainTransport final : public Transport {
 public:
  void prime(base::Buffer& prefix) override { prefix_.move(prefix); }
  IoState handshake(int) override { return IoState::kOk; }

  IoResult read(int fd, base::Buffer& in, size_t most) override {
    if (!prefix_.empty()) {
      const size_t n = prefix_.size();
      in.move(prefix_);
      return {IoState::kOk, n, false};
    }
    if (most > base::kBlockSize) return readMany(fd, in, most);
    const auto room = in.reserve(std::min<size_t>(most, 4096));
    const ssize_t n = event::io::recv(fd, room.data, room.size);
    if (n <= 0) {
      const int error = errno;
      in.commit(0);
      return {n == 0 ? IoState::kEof : stateOf(error), 0, true};
    }
    in.commit(static_cast<size_t>(n));
    return {IoState::kOk, static_cast<size_t>(n), static_cast<size_t>(n) < room.size};
  }

  IoResult write(int fd, base::Buffer& out) override {
    size_t total = 0;
    while (!out.empty()) {
      ssize_t n;
      size_t offered;
      if (out.sliceCount() == 1) {
        offered = out.front().size();
        n = event::io::send(fd, out.front().data(), offered);
      } else {
        iovec pieces[16];
        msghdr message{};
        message.msg_iov = pieces;
        message.msg_iovlen = static_cast<size_t>(out.iovecs(pieces, 16));
        offered = 0;
        for (size_t i = 0; i < message.msg_iovlen; ++i) offered += pieces[i].iov_len;
        n = event::io::sendmsg(fd, message);
      }
      if (n < 0) return {stateOf(errno), total, false};
      out.drain(static_cast<size_t>(n));
      total += static_cast<size_t>(n);
      if (static_cast<size_t>(n) < offered) return {IoState::kAgain, total, false};
    }
    return {IoState::kOk, total, false};
  }

  bool hasSealed() const override { return false; }
  bool pending() const override { return !prefix_.empty(); }
  IoState finishWriting(int fd) override { return ::shutdown(fd, SHUT_WR) == 0 ? IoState::kOk : IoState::kReset; }
  bool transparent() const override { return true; }
  std::string_view alpn() const override { return {}; }
  const SecurityInfo* security() override { return nullptr; }
  std::string_view failure() const override { return {}; }

 private:
  IoResult readMany(int fd, base::Buffer& in, size_t most) {
    base::Block* blocks[kMostBlocks];
    iovec pieces[kMostBlocks] = {};
    const int count = static_cast<int>(std::min<size_t>(kMostBlocks, (most + base::kBlockSize - 1) / base::kBlockSize));
    for (int i = 0; i < count; ++i) {
      blocks[i] = base::Block::take();
      pieces[i] = {blocks[i]->data(), base::kBlockSize};
    }
    const ssize_t n = event::io::readv(fd, pieces, count);
    const int error = errno;
    size_t left = n > 0 ? static_cast<size_t>(n) : 0;
    for (int i = 0; i < count; ++i) {
      const size_t part = std::min(left, base::kBlockSize);
      left -= part;
      if (part == 0) {
        blocks[i]->unref();
        continue;
      }
      blocks[i]->used = static_cast<uint32_t>(part);
      in.append(base::Slice::ofBlock(blocks[i], blocks[i]->data(), part));
    }
    if (n <= 0) return {n == 0 ? IoState::kEof : stateOf(error), 0, true};
    return {IoState::kOk, static_cast<size_t>(n), static_cast<size_t>(n) < static_cast<size_t>(count) * base::kBlockSize};
  }

  base::Buffer prefix_;
};

}  // namespace

std::unique_ptr<Transport> makePlainTransport() { return std::make_unique<PlainTransport>(); }

}  // namespace outrider::net
