// Entries as envoy.data.accesslog.v3 messages. Thread: any; the caller's entry and buffer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "source/accesslog/access_log.h"
#include "source/http/field_name.h"

namespace outrider::accesslog {

enum class EntryKind : uint8_t { kHttp, kTcp };

// type.tracing.v3.CustomTag: a text, or a request header with what stands for a missing one.
struct EntryTag {
  std::string name;
  std::string text;        // the literal, the environment's value, or the header's default
  http::FieldName header;  // empty: `text` it is
};

struct GrpcEntryFields {
  std::vector<http::FieldName> request_headers, response_headers, response_trailers;
  std::vector<EntryTag> tags;
};

// Appends the entry as it stands within HTTPAccessLogEntries or TCPAccessLogEntries: field 1 with its length.
void appendEntry(EntryKind kind, const Entry& entry, const GrpcEntryFields& fields, std::string& out);

// A whole StreamAccessLogsMessage. `node` (core.v3.Node, wire form) and `log_name` in a stream's first message only: null otherwise.
std::string entriesMessage(EntryKind kind, std::string_view entries, const std::string* node, std::string_view log_name);

}  // namespace outrider::accesslog
