// Tells when files change, by inotify: a file written and closed, or one moved into place (also of a directory as a whole, as
// Kubernetes does it).
// Thread: the loop's. Lifetime: outlives the ids it gave. A change is told once per turn, from the loop.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "source/event/loop.h"

namespace outrider::xds {

class FileWatch final : public event::IoHandler {
 public:
  explicit FileWatch(event::Loop& loop);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  using Id = uint64_t;
  absl::StatusOr<Id> addFile(const std::string& path, std::function<void()> changed);
  absl::StatusOr<Id> addDirectory(const std::string& path, std::function<void()> changed);  // anything in it
  void remove(Id id);

  void onReady(uint32_t events) override;

 private:
  struct Entry {
    int descriptor;
    std::string name;  // empty: any
    std::function<void()> changed;
  };
  absl::StatusOr<Id> add(const std::string& directory, std::string name, std::function<void()> changed);
  void tell();

  event::Loop& loop_;
  int fd_;
  std::map<Id, Entry> entries_;
  std::map<int, size_t> users_;  // of an inotify descriptor
  std::set<Id> changed_;
  event::Deferred tell_;
  Id next_ = 1;
};

}  // namespace outrider::xds
