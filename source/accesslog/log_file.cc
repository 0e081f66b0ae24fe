#include "source/accesslog/log_file.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "source/base/check.h"
#include "source/base/log.h"

namespace outrider::accesslog {
namespace {

constexpr size_t kChunkBytes = 64 * 1024;

struct Chunk {
  Chunk* next;
  uint64_t sequence;  // order within its slot
  uint32_t slot;
  size_t size;
  size_t room;
  uint32_t lines;
  char* bytes() { return reinterpret_cast<char*>(this + 1); }
};

// A file's own thread has no slot of the store.
void countOf(const FileStats& stats, FileStat stat, int64_t by = 1) { stats.incShared(stat, by); }

int openLog(const std::string& path) {
  // A pipe without a reader must not hold up who opens it.
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644);
  if (fd >= 0) ::fcntl(fd, F_SETFL, O_APPEND);  // but its thread may wait for the reader to read
  return fd;
}

}  // namespace

struct LogFile::State {
  State(std::string path_in, int fd_in, const LogFileOptions& options_in, FileStats stats_in)
      : path(std::move(path_in)), options(options_in), stats(std::move(stats_in)), fd(fd_in) {
    OUTRIDER_CHECK(::pipe2(wake_fds, O_CLOEXEC | O_NONBLOCK) == 0);
  }
  ~State() {
    for (auto& each : current) std::free(each.load());
    for (Chunk* chunk = full.load(); chunk != nullptr;) std::free(std::exchange(chunk, chunk->next));
    if (fd > STDERR_FILENO) ::close(fd);
    ::close(wake_fds[0]);
    ::close(wake_fds[1]);
  }

  // ---- workers ----
  Chunk* newChunk(size_t at_least, uint32_t slot) {
    const size_t room = std::max(at_least, kChunkBytes);
    if (waiting.fetch_add(room, std::memory_order_relaxed) + room > options.most_bytes) {
      waiting.fetch_sub(room, std::memory_order_relaxed);
      return nullptr;
    }
    void* memory = std::malloc(sizeof(Chunk) + room);
    OUTRIDER_CHECK(memory != nullptr);
    return new (memory) Chunk{nullptr, sequences[slot]++, slot, 0, room, 0};
  }
  void push(Chunk* chunk) {
    Chunk* head = full.load(std::memory_order_relaxed);
    do chunk->next = head;
    while (!full.compare_exchange_weak(head, chunk, std::memory_order_release, std::memory_order_relaxed));
    if (head == nullptr) wake();
  }
  void wake() const {
    [[maybe_unused]] const ssize_t n = ::write(wake_fds[1], "", 1);  // full: it is awake
  }

  // ---- the thread ----
  void run();
  void writeAll(bool steal);
  bool write(std::string_view bytes);
  void openAgain(bool asked);

  const std::string path;
  const LogFileOptions options;
  const FileStats stats;
  int fd;  // the thread's; -1: a pipe without a reader, so far
  int wake_fds[2];
  std::atomic<Chunk*> current[stats::kMostSlots] = {};
  uint64_t sequences[stats::kMostSlots] = {};  // each its slot's
  std::atomic<Chunk*> full{nullptr};
  std::atomic<size_t> waiting{0};  // bytes of all chunks
  std::atomic<bool> flush_asked{false}, reopen_asked{false}, closing{false};
  bool line_cut = false;  // the file ends within a line
  base::Nanos last_warning = 0;

  std::mutex mutex;  // guards `finished`
  std::condition_variable changed;
  bool finished = false;
};

void LogFile::State::run() {
  // Signals are main's; a pipe whose reader went is an error of write(), not the process's end.
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  for (;;) {
    pollfd wait{wake_fds[0], POLLIN, 0};
    const int ready = ::poll(&wait, 1, static_cast<int>(std::max<base::Nanos>(options.flush_interval / base::kMilli, 1)));
    if (ready > 0) {
      char bytes[64];
      while (::read(wake_fds[0], bytes, sizeof bytes) == sizeof bytes) {
      }
    }
    const bool last = closing.load();
    const bool reopens = reopen_asked.exchange(false);
    const bool flushes = flush_asked.exchange(false);
    if (ready == 0) countOf(stats, FileStat::kFlushedByTimer);
    writeAll(ready == 0 || flushes || reopens || last);
    if (reopens) openAgain(true);
    if (!last) continue;
    const std::lock_guard<std::mutex> lock(mutex);
    finished = true;
    changed.notify_all();
    return;
  }
}

void LogFile::State::writeAll(bool steal) {
  std::vector<Chunk*> chunks;
  // Steal first: what was filled before a stolen chunk is on the stack by then.
  if (steal) {
    for (auto& each : current) {
      if (each.load(std::memory_order_relaxed) == nullptr) continue;
      if (Chunk* chunk = each.exchange(nullptr, std::memory_order_acquire)) chunks.push_back(chunk);
    }
  }
  for (Chunk* chunk = full.exchange(nullptr, std::memory_order_acquire); chunk != nullptr; chunk = chunk->next) chunks.push_back(chunk);
  std::sort(chunks.begin(), chunks.end(),
            [](const Chunk* a, const Chunk* b) { return a->slot != b->slot ? a->slot < b->slot : a->sequence < b->sequence; });
  for (Chunk* chunk : chunks) {
    if (chunk->size > 0) {
      if (write({chunk->bytes(), chunk->size}))
        countOf(stats, FileStat::kWriteCompleted);
      else
        countOf(stats, FileStat::kWriteDropped, chunk->lines);
    }
    waiting.fetch_sub(chunk->room, std::memory_order_relaxed);
    std::free(chunk);
  }
}

// False: it failed, and the rest of the bytes is lost.
bool LogFile::State::write(std::string_view bytes) {
  if (fd < 0) openAgain(false);
  const auto put = [&](std::string_view text) -> int {
    while (!text.empty()) {
      const ssize_t n = ::write(fd, text.data(), text.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {  // a stream that others made non-blocking
        if (closing.load()) return EAGAIN;
        pollfd wait{fd, POLLOUT, 0};
        ::poll(&wait, 1, 1000);
        continue;
      }
      if (n <= 0) return n < 0 ? errno : EIO;
      line_cut = text[static_cast<size_t>(n) - 1] != '\n';
      text.remove_prefix(static_cast<size_t>(n));
    }
    return 0;
  };
  const bool was_cut = std::exchange(line_cut, false);
  int error = fd < 0 ? ENXIO : 0;
  if (error == 0 && was_cut) error = put("\n");
  if (error == 0) error = put(bytes);
  if (error == 0) {
    line_cut = false;  // the end of a format without a line break is no cut line
    return true;
  }
  line_cut |= was_cut;
  countOf(stats, FileStat::kWriteFailed);
  const base::Nanos now = base::SystemClock::instance().mono();
  if (last_warning == 0 || now - last_warning >= 60 * base::kSecond) {
    last_warning = now;
    OUTRIDER_LOG(kWarning, kFile, "%s: cannot be written: %s; lines are dropped", path.c_str(), std::strerror(error));
  }
  return false;
}

void LogFile::State::openAgain(bool asked) {
  if (path == "/dev/stdout" || path == "/dev/stderr") return;
  const int fresh = openLog(path);
  if (fresh < 0) {
    if (!asked) return;
    countOf(stats, FileStat::kReopenFailed);
    OUTRIDER_LOG(kWarning, kFile, "%s: cannot be reopened: %s", path.c_str(), std::strerror(errno));
    return;
  }
  if (fd >= 0) ::close(fd);
  fd = fresh;
  line_cut = false;
}

LogFile::LogFile(std::shared_ptr<State> state) : state_(std::move(state)) {
  std::thread([state = state_] { state->run(); }).detach();
}

LogFile::~LogFile() {
  state_->closing.store(true);
  state_->wake();
  std::unique_lock<std::mutex> lock(state_->mutex);
  state_->changed.wait_for(lock, std::chrono::seconds(1), [this] { return state_->finished; });
}

const std::string& LogFile::path() const { return state_->path; }

void LogFile::append(std::string_view line) {
  if (line.empty()) return;
  State& state = *state_;
  const uint32_t slot = stats::slot_of_thread;
  Chunk* chunk = state.current[slot].exchange(nullptr, std::memory_order_acquire);
  if (chunk != nullptr && chunk->room - chunk->size < line.size()) {
    state.push(chunk);
    chunk = nullptr;
  }
  if (chunk == nullptr) {
    chunk = state.newChunk(line.size(), slot);
    if (chunk == nullptr) {
      state.stats.inc(FileStat::kWriteDropped);
      return;
    }
  }
  std::memcpy(chunk->bytes() + chunk->size, line.data(), line.size());
  chunk->size += line.size();
  ++chunk->lines;
  state.stats.inc(FileStat::kWriteBuffered);
  state.current[slot].store(chunk, std::memory_order_release);
}

void LogFile::flush() {
  state_->flush_asked.store(true);
  state_->wake();
}

void LogFile::reopen() {
  state_->reopen_asked.store(true);
  state_->wake();
}

LogFiles::LogFiles(stats::Store& stats, const LogFileOptions& options)
    : options_(options), stats_(stats.scope("filesystem.", kFileTable)) {}

absl::StatusOr<std::shared_ptr<LogFile>> LogFiles::open(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::weak_ptr<LogFile>& known = files_[path];
  if (auto file = known.lock()) return file;
  int fd;
  if (path == "/dev/stdout") {
    fd = STDOUT_FILENO;
  } else if (path == "/dev/stderr") {
    fd = STDERR_FILENO;
  } else {
    fd = openLog(path);
    if (fd < 0 && errno != ENXIO) return absl::UnavailableError(absl::StrCat("cannot be opened: ", std::strerror(errno)));
  }
  std::shared_ptr<LogFile> file(new LogFile(std::make_shared<LogFile::State>(path, fd, options_, stats_)));
  known = file;
  return file;
}

template <class Fn>
void LogFiles::forEach(Fn&& fn) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto it = files_.begin(); it != files_.end();) {
    if (auto file = it->second.lock()) {
      fn(*file);
      ++it;
    } else {
      it = files_.erase(it);
    }
  }
}

void LogFiles::reopenAll() {
  forEach([](LogFile& file) { file.reopen(); });
}
void LogFiles::flushAll() {
  forEach([](LogFile& file) { file.flush(); });
}

}  // namespace outrider::accesslog
