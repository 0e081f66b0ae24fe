// Counters of files that are written, under Envoy's names ("filesystem."), and one of ours for lines that found no room.
#pragma once

#include "source/stats/stats.h"

namespace outrider::accesslog {

#define OUTRIDER_FILE_STATS(C, G, H)             \
  C(kWriteBuffered, "write_buffered")            \
  C(kWriteCompleted, "write_completed")          \
  C(kWriteFailed, "write_failed")                \
  C(kFlushedByTimer, "flushed_by_timer")         \
  C(kReopenFailed, "reopen_failed")              \
  C(kWriteDropped, "write_dropped")
OUTRIDER_STATS(FileStat, kFileTable, OUTRIDER_FILE_STATS)
using FileStats = stats::Set<FileStat>;

}  // namespace outrider::accesslog
