#include "source/net/pipe.h"

#include <fcntl.h>
#include <unistd.h>

namespace outrider::net {
namespace {

// A pipe smaller than that (the kernel gives an unprivileged user small ones once he has many) costs more calls than it saves copies.
constexpr int kLeast = 64 * 1024;
// How long the kernel is not asked again after it had none.
constexpr base::Nanos kPause = base::kSecond;

struct Pipes {
  ~Pipes() { trim(); }
  void trim() {
    while (first != nullptr) {
      Pipe* pipe = first;
      first = pipe->next;
      --free;
      close(*pipe);
    }
  }
  static void close(Pipe& pipe) {
    ::close(pipe.in);
    ::close(pipe.out);
    delete &pipe;
  }
  Pipe* first = nullptr;
  size_t free = 0;
  size_t used = 0;
  base::Nanos not_before = 0;
};

Pipes& pipes() {
  thread_local Pipes mine;
  return mine;
}

Pipe* open() {
  int ends[2];
  if (::pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return nullptr;
  ::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(kPipeBytes));  // refused: it stays as large as it was made
  if (::fcntl(ends[1], F_GETPIPE_SZ) < kLeast) {
    ::close(ends[0]);
    ::close(ends[1]);
    return nullptr;
  }
  auto* pipe = new Pipe;
  pipe->out = ends[0];
  pipe->in = ends[1];
  return pipe;
}

}  // namespace

Pipe* Pipe::take(base::Nanos now) {
  Pipes& all = pipes();
  Pipe* pipe = all.first;
  if (pipe != nullptr) {
    all.first = pipe->next;
    --all.free;
  } else {
    if (all.used >= kMost || now < all.not_before) return nullptr;
    pipe = open();
    if (pipe == nullptr) {
      all.not_before = now + kPause;
      return nullptr;
    }
  }
  pipe->next = nullptr;
  ++all.used;
  return pipe;
}

void Pipe::give() {
  Pipes& all = pipes();
  --all.used;
  if (bytes > 0 || all.free >= kMostFree) {
    Pipes::close(*this);
    return;
  }
  next = all.first;
  all.first = this;
  ++all.free;
}

size_t Pipe::usedOnThisThread() { return pipes().used; }
size_t Pipe::freeOnThisThread() { return pipes().free; }
void Pipe::trimThisThread() { pipes().trim(); }

}  // namespace outrider::net
