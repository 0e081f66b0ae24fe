// Loaded into a proxy by LD_PRELOAD: counts, thread by thread, the calls that take memory and those that move data or wait.
// The counts live in the file that OUTRIDER_CALL_COUNTS names: rows of 16 numbers, the first is the thread's id (0: free row).
// Columns: tid, allocations, reads, writes, waits, other socket calls.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { kRows = 256, kColumns = 16 };
enum { kTid, kAllocations, kReads, kWrites, kWaits, kOther };

static uint64_t* table;
static uint64_t spare[kColumns];
static int rows_used;
static __thread uint64_t* row __attribute__((tls_model("initial-exec")));

__attribute__((constructor)) static void openTable(void) {
  const char* path = getenv("OUTRIDER_CALL_COUNTS");
  if (path == NULL) return;
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, kRows * kColumns * sizeof(uint64_t)) != 0) _exit(125);
  void* at = mmap(NULL, kRows * kColumns * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at == MAP_FAILED) _exit(125);
  __atomic_store_n(&table, (uint64_t*)at, __ATOMIC_RELEASE);
}

static inline void count(int column) {
  if (row == NULL) {
    uint64_t* const all = __atomic_load_n(&table, __ATOMIC_ACQUIRE);
    if (all == NULL) return;
    const int mine = __atomic_fetch_add(&rows_used, 1, __ATOMIC_RELAXED);
    row = mine < kRows ? all + mine * kColumns : spare;
    row[kTid] = (uint64_t)gettid();
  }
  __atomic_store_n(&row[column], row[column] + 1, __ATOMIC_RELAXED);
}

// glibc's own names: no search for the next definition, which would itself take memory.
extern void* __libc_malloc(size_t);
extern void* __libc_calloc(size_t, size_t);
extern void* __libc_realloc(void*, size_t);
extern void* __libc_memalign(size_t, size_t);

void* malloc(size_t size) {
  count(kAllocations);
  return __libc_malloc(size);
}
void* calloc(size_t n, size_t size) {
  count(kAllocations);
  return __libc_calloc(n, size);
}
void* realloc(void* at, size_t size) {
  count(kAllocations);
  return __libc_realloc(at, size);
}
void* memalign(size_t align, size_t size) {
  count(kAllocations);
  return __libc_memalign(align, size);
}
void* aligned_alloc(size_t align, size_t size) { return memalign(align, size); }
int posix_memalign(void** out, size_t align, size_t size) {
  *out = memalign(align, size);
  return *out == NULL ? ENOMEM : 0;
}

#define OUTRIDER_COUNTED(column, result, name, parameters, arguments) \
  result name parameters {                                            \
    static result(*real) parameters;                                  \
    if (real == NULL) *(void**)(&real) = dlsym(RTLD_NEXT, #name);     \
    count(column);                                                    \
    return real arguments;                                            \
  }

OUTRIDER_COUNTED(kReads, ssize_t, recv, (int fd, void* to, size_t n, int flags), (fd, to, n, flags))
OUTRIDER_COUNTED(kReads, ssize_t, recvmsg, (int fd, struct msghdr* m, int flags), (fd, m, flags))
OUTRIDER_COUNTED(kReads, ssize_t, read, (int fd, void* to, size_t n), (fd, to, n))
OUTRIDER_COUNTED(kReads, ssize_t, readv, (int fd, const struct iovec* to, int n), (fd, to, n))
OUTRIDER_COUNTED(kWrites, ssize_t, send, (int fd, const void* from, size_t n, int flags), (fd, from, n, flags))
OUTRIDER_COUNTED(kWrites, ssize_t, sendmsg, (int fd, const struct msghdr* m, int flags), (fd, m, flags))
OUTRIDER_COUNTED(kWrites, ssize_t, write, (int fd, const void* from, size_t n), (fd, from, n))
OUTRIDER_COUNTED(kWrites, ssize_t, writev, (int fd, const struct iovec* from, int n), (fd, from, n))
OUTRIDER_COUNTED(kWaits, int, epoll_wait, (int fd, struct epoll_event* to, int n, int ms), (fd, to, n, ms))
OUTRIDER_COUNTED(kOther, int, epoll_ctl, (int fd, int op, int of, struct epoll_event* e), (fd, op, of, e))
OUTRIDER_COUNTED(kOther, int, shutdown, (int fd, int how), (fd, how))
OUTRIDER_COUNTED(kOther, int, close, (int fd), (fd))
OUTRIDER_COUNTED(kOther, int, getsockopt, (int fd, int level, int name, void* to, socklen_t* size), (fd, level, name, to, size))
OUTRIDER_COUNTED(kOther, int, setsockopt, (int fd, int level, int name, const void* from, socklen_t size), (fd, level, name, from, size))
OUTRIDER_COUNTED(kOther, int, accept4, (int fd, struct sockaddr* peer, socklen_t* size, int flags), (fd, peer, size, flags))
OUTRIDER_COUNTED(kOther, int, getsockname, (int fd, struct sockaddr* own, socklen_t* size), (fd, own, size))
OUTRIDER_COUNTED(kOther, int, getpeername, (int fd, struct sockaddr* peer, socklen_t* size), (fd, peer, size))

// Data moves by system calls that go past the functions of the library, too (source/event/io.h).
long syscall(long number, ...) {
  static long (*real)(long, ...);
  if (real == NULL) *(void**)(&real) = dlsym(RTLD_NEXT, "syscall");
  if (number == SYS_recvfrom) count(kReads);
  if (number == SYS_sendto) count(kWrites);
  long a[6];
  va_list more;
  va_start(more, number);
  for (int i = 0; i < 6; ++i) a[i] = va_arg(more, long);
  va_end(more);
  return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
