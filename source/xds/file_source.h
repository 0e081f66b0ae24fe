// Resources from a file: a DiscoveryResponse as JSON, YAML, protobuf text or binary, read again whenever it is replaced.
// A file that cannot be read changes nothing: the last good content stays; the error is counted, and logged with line and column.
// Thread: main. Lifetime: the hub's. Source: core.v3.PathConfigSource.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "source/stats/stats.h"
#include "source/xds/file_watch.h"
#include "source/xds/subscription.h"

namespace outrider::xds {

class FileSource final {
 public:
  // `watched_directory` empty: the file itself is watched.
  FileSource(event::Loop& loop, stats::Store& store, FileWatch& files, std::string path, const std::string& watched_directory,
             const std::string& type_url, bool allow_unknown_fields);
  ~FileSource();
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  Subscription& subscription() { return table_; }

 private:
  void readSoon() { loop_.defer(read_); }
  void read();

  event::Loop& loop_;
  FileWatch& files_;
  const std::string path_;
  const bool allow_unknown_fields_;
  Subscription table_;
  event::Deferred read_;
  std::optional<FileWatch::Id> watch_;
  bool again_ = false;  // changed while an earlier content was being applied
};

}  // namespace outrider::xds
