// The system calls of the data path, each counted: what a budget test reads, and what a bench divides by its requests.
// Thread: any; the counters are the calling thread's own. Errors: errno, as the call itself leaves it.
//
// In a process of several threads the C library's recv() and send() are points at which a thread may be cancelled, and pay two locked
// instructions each for that. Nobody is cancelled here, so those that every message makes go to the kernel without it. Sanitizers
// know the library's functions alone, so they get those.
#pragma once

#include <cstdint>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OUTRIDER_LIBRARY_CALLS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define OUTRIDER_LIBRARY_CALLS 1
#endif
#endif

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

#ifdef OUTRIDER_LIBRARY_CALLS
inline constexpr bool kLibraryCalls = true;
#undef OUTRIDER_LIBRARY_CALLS
#else
inline constexpr bool kLibraryCalls = false;
#endif

inline ssize_t recv(int fd, void* to, size_t most) {
  ++calls.reads;
  return kLibraryCalls ? ::recv(fd, to, most, 0) : ::syscall(SYS_recvfrom, fd, to, most, 0, nullptr, nullptr);
}
inline ssize_t readv(int fd, const iovec* pieces, int count) {
  ++calls.reads;
  return ::readv(fd, pieces, count);
}
inline ssize_t send(int fd, const void* from, size_t n) {
  ++calls.writes;
  return kLibraryCalls ? ::send(fd, from, n, MSG_NOSIGNAL) : ::syscall(SYS_sendto, fd, from, n, MSG_NOSIGNAL, nullptr, 0);
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
