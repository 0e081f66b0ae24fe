// Counters of files that are written, under Envoy's names ("filesystem."), and one of ours for lines that found no room; and of
// the gRPC access log service, under Envoy's names.
#pragma once

#include "source/stats/stats.h"

namespace outrider::accesslog {

#define OUTRIDER_FILE_STATS(C, G, H)     \
  C(kWriteBuffered, "write_buffered")    \
  C(kWriteCompleted, "write_completed")  \
  C(kWriteFailed, "write_failed")        \
  C(kFlushedByTimer, "flushed_by_timer") \
  C(kReopenFailed, "reopen_failed")      \
  C(kWriteDropped, "write_dropped")
OUTRIDER_STATS(FileStat, kFileTable, OUTRIDER_FILE_STATS)
using FileStats = stats::Set<FileStat>;

// "access_logs.grpc_access_log."
#define OUTRIDER_GRPC_LOG_STATS(C, G, H) \
  C(kLogsWritten, "logs_written")        \
  C(kLogsDropped, "logs_dropped")        \
  C(kFlushed, "grpc_entries_flushed")    \
  C(kFlushFailed, "grpc_entries_flush_failed")
OUTRIDER_STATS(GrpcLogStat, kGrpcLogTable, OUTRIDER_GRPC_LOG_STATS)
using GrpcLogStats = stats::Set<GrpcLogStat>;

}  // namespace outrider::accesslog
