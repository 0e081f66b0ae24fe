// The system calls of the data path, each counted: what a budget test reads, and what a bench divides by its requests.
// Thread: any; the counters are the calling thread's own. Errors: errno, as the call itself leaves it.
#pragma once

#include <cstdint>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

namespace outrider::event::io {

struct Calls {
  uint64_t reads = 0;     // recv, readv
  uint64_t writes = 0;    // send, sendmsg
  uint64_t splices = 0;   // in either direction
  uint64_t waits = 0;     // epoll_wait
  uint64_t controls = 0;  // epoll_ctl
  uint64_t data() const { return reads + writes + splices; }
};
inline constinit thread_local Calls calls;

inline ssize_t recv(int fd, void* to, size_t most) {
  ++calls.reads;
  return ::recv(fd, to, most, 0);
}
inline ssize_t readv(int fd, const iovec* pieces, int count) {
  ++calls.reads;
  return ::readv(fd, pieces, count);
}
inline ssize_t send(int fd, const void* from, size_t n) {
  ++calls.writes;
  return ::send(fd, from, n, MSG_NOSIGNAL);
}
inline ssize_t sendmsg(int fd, const msghdr& message) {
  ++calls.writes;
  return ::sendmsg(fd, &message, MSG_NOSIGNAL);
}
// One end is a pipe. A socket whose peer is gone raises SIGPIPE, which no flag prevents: the process ignores that signal.
inline ssize_t splice(int from, int to, size_t most) {
  ++calls.splices;
  return ::splice(from, nullptr, to, nullptr, most, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
}
inline int wait(int epoll, epoll_event* events, int most, int ms) {
  ++calls.waits;
  return ::epoll_wait(epoll, events, most, ms);
}
inline int control(int epoll, int what, int fd, epoll_event* event) {
  ++calls.controls;
  return ::epoll_ctl(epoll, what, fd, event);
}

}  // namespace outrider::event::io
