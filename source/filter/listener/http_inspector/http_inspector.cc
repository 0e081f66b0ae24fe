#include "source/filter/listener/http_inspector/http_inspector.h"

#include <algorithm>
#include <cstring>

namespace outrider::filter::listener::http_inspector {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

bool isToken(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         (c != '\0' && std::strchr("!#$%&'*+-.^_`|~", c) != nullptr);
}

}  // namespace

Beginning beginningOf(std::string_view bytes) {
  const size_t common = std::min(bytes.size(), kPreface.size());
  if (bytes.substr(0, common) == kPreface.substr(0, common)) return common == kPreface.size() ? Beginning::kHttp2 : Beginning::kUnknownYet;
  // A server skips empty lines before a request line.
  while (!bytes.empty() && (bytes.front() == '\r' || bytes.front() == '\n')) bytes.remove_prefix(1);
  const size_t method = static_cast<size_t>(std::find_if_not(bytes.begin(), bytes.end(), isToken) - bytes.begin());
  if (method == bytes.size()) return Beginning::kUnknownYet;
  if (method == 0 || bytes[method] != ' ') return Beginning::kOther;
  const std::string_view rest = bytes.substr(method + 1);
  const size_t end = rest.find_first_of("\r\n");
  const std::string_view line = rest.substr(0, end);
  if (std::any_of(line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; }))
    return Beginning::kOther;
  if (end == std::string_view::npos) return Beginning::kUnknownYet;
  const size_t space = line.rfind(' ');
  if (space == std::string_view::npos || space == 0) return Beginning::kOther;
  const std::string_view version = line.substr(space + 1);
  if (version == "HTTP/1.1") return Beginning::kHttp11;
  if (version == "HTTP/1.0") return Beginning::kHttp10;
  return Beginning::kOther;
}

std::unique_ptr<ListenerFilter> HttpInspectorConfig::make() const { return std::make_unique<HttpInspector>(*this); }

// What the TLS inspector found to be TLS is not looked at.
ListenerFilter::Answer HttpInspector::onAccept(int, const base::Address&, FirstBytes& found) {
  return found.transport_protocol.empty() ? Answer::kMore : Answer::kDone;
}

ListenerFilter::Answer HttpInspector::is(HttpInspectorStat stat, const char* protocol, FirstBytes& found) {
  config_.stats.inc(stat);
  if (protocol != nullptr) found.application_protocols = {protocol};
  return Answer::kDone;
}

ListenerFilter::Answer HttpInspector::onBytes(std::string_view so_far, bool eof, FirstBytes& found) {
  switch (beginningOf(so_far)) {
    case Beginning::kHttp10: return is(HttpInspectorStat::kHttp10Found, "http/1.0", found);
    case Beginning::kHttp11: return is(HttpInspectorStat::kHttp11Found, "http/1.1", found);
    case Beginning::kHttp2: return is(HttpInspectorStat::kHttp2Found, "h2c", found);
    case Beginning::kOther: return is(HttpInspectorStat::kHttpNotFound, nullptr, found);
    case Beginning::kUnknownYet: break;
  }
  if (so_far.size() < HttpInspectorConfig::kMostBytes && !eof) return Answer::kMore;
  return is(HttpInspectorStat::kHttpNotFound, nullptr, found);
}

}  // namespace outrider::filter::listener::http_inspector
