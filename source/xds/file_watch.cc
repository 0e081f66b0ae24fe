#include "source/xds/file_watch.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/inotify.h>
#include <unistd.h>

namespace outrider::xds {
namespace {
constexpr uint32_t kInteresting = IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_MOVED_FROM;
constexpr uint32_t kNewContent = IN_CLOSE_WRITE | IN_MOVED_TO;
}  // namespace

FileWatch::FileWatch(event::Loop& loop)
    : loop_(loop), fd_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)), tell_(event::Deferred::to<&FileWatch::tell>(this)) {
  if (fd_ >= 0) loop_.add(fd_, *this, event::kReadable | event::kEdge);
}

FileWatch::~FileWatch() {
  if (fd_ < 0) return;
  loop_.remove(fd_, *this);
  ::close(fd_);
}

absl::StatusOr<FileWatch::Id> FileWatch::addFile(const std::string& path, std::function<void()> changed) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  return add(directory, slash == std::string::npos ? path : path.substr(slash + 1), std::move(changed));
}

absl::StatusOr<FileWatch::Id> FileWatch::addDirectory(const std::string& path, std::function<void()> changed) {
  return add(path, "", std::move(changed));
}

absl::StatusOr<FileWatch::Id> FileWatch::add(const std::string& directory, std::string name, std::function<void()> changed) {
  const int descriptor = fd_ < 0 ? -1 : ::inotify_add_watch(fd_, directory.c_str(), kInteresting);
  if (descriptor < 0) return absl::NotFoundError("cannot watch " + directory + ": " + strerror(errno));
  ++users_[descriptor];
  const Id id = next_++;
  entries_.emplace(id, Entry{descriptor, std::move(name), std::move(changed)});
  return id;
}

void FileWatch::remove(Id id) {
  const auto at = entries_.find(id);
  if (at == entries_.end()) return;
  const int descriptor = at->second.descriptor;
  entries_.erase(at);
  changed_.erase(id);
  if (--users_[descriptor] > 0) return;
  users_.erase(descriptor);
  ::inotify_rm_watch(fd_, descriptor);
}

void FileWatch::onReady(uint32_t /*events*/) {
  alignas(inotify_event) char buffer[8192];
  for (;;) {
    const ssize_t got = ::read(fd_, buffer, sizeof buffer);
    if (got <= 0) break;
    for (const char* at = buffer; at < buffer + got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(at);
      at += sizeof(inotify_event) + event->len;
      const std::string_view name = event->len > 0 ? std::string_view(event->name) : std::string_view();
      const bool lost = (event->mask & IN_Q_OVERFLOW) != 0;  // then any may have changed
      for (const auto& [id, entry] : entries_) {
        if (!lost && entry.descriptor != event->wd) continue;
        if (lost || entry.name.empty() || (entry.name == name && (event->mask & kNewContent) != 0)) changed_.insert(id);
      }
    }
  }
  if (!changed_.empty()) loop_.defer(tell_);
}

void FileWatch::tell() {
  for (const Id id : std::exchange(changed_, {})) {
    const auto at = entries_.find(id);
    if (at == entries_.end()) continue;
    const std::function<void()> call = at->second.changed;  // it may remove its own entry
    call();
  }
}

}  // namespace outrider::xds
