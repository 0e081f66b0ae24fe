#include "source/filter/listener/http_inspector/http_inspector.h"

#include <gtest/gtest.h>

namespace outrider::filter::listener::http_inspector {
namespace {

struct Row {
  std::string_view bytes;
  Beginning is;
};

constexpr Row kRows[] = {
    {"GET / HTTP/1.1\r\n", Beginning::kHttp11},
    {"GET / HTTP/1.0\r\n", Beginning::kHttp10},
    {"POST /a?b=c HTTP/1.1\nHost: h", Beginning::kHttp11},
    {"CONNECT a.test:443 HTTP/1.1\r\n", Beginning::kHttp11},
    {"\r\nGET / HTTP/1.1\r\n", Beginning::kHttp11},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Beginning::kHttp2},
    {"PRI * HTTP/2.0\r\n\r\nXM", Beginning::kOther},
    {"GET / HTTP/1.2\r\n", Beginning::kOther},
    {"GET /\r\n", Beginning::kOther},
    {"GET  \r\n", Beginning::kOther},
    {" GET / HTTP/1.1\r\n", Beginning::kOther},
    {"GET\t/ HTTP/1.1\r\n", Beginning::kOther},
    {"SSH-2.0-OpenSSH\r\n", Beginning::kOther},
    {std::string_view("\x16\x03\x01\x02", 4), Beginning::kOther},
    {std::string_view("\0\0\0\x01", 4), Beginning::kOther},
    {"", Beginning::kUnknownYet},
    {"GE", Beginning::kUnknownYet},
    {"GET / HTTP/1.1", Beginning::kUnknownYet},
    {"PRI * HTTP/2.0\r\n\r\nSM", Beginning::kUnknownYet},
};

TEST(HttpInspector, KnowsBeginnings) {
  for (const Row& row : kRows) EXPECT_EQ(beginningOf(row.bytes), row.is) << row.bytes;
}

// However the bytes come, nothing else is decided on the way.
TEST(HttpInspector, APrefixIsUnknownOrTheSame) {
  for (const Row& row : kRows) {
    for (size_t size = 0; size < row.bytes.size(); ++size) {
      const Beginning part = beginningOf(row.bytes.substr(0, size));
      EXPECT_TRUE(part == Beginning::kUnknownYet || part == row.is) << row.bytes << " after " << size;
    }
  }
}

TEST(HttpInspector, TellsTheProtocol) {
  stats::Store store;
  HttpInspectorConfig config;
  config.stats = HttpInspectorStats(store.scope("http_inspector.", kHttpInspectorTable));
  FirstBytes found;
  EXPECT_EQ(config.make()->onBytes("GET / HTTP/1.1\r\n", false, found), ListenerFilter::Answer::kDone);
  EXPECT_EQ(found.application_protocols, std::vector<std::string>{"http/1.1"});
  found = {};
  EXPECT_EQ(config.make()->onBytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false, found), ListenerFilter::Answer::kDone);
  EXPECT_EQ(found.application_protocols, std::vector<std::string>{"h2c"});
  found = {};
  EXPECT_EQ(config.make()->onBytes("GET", false, found), ListenerFilter::Answer::kMore);
  EXPECT_EQ(config.make()->onBytes("GET", true, found), ListenerFilter::Answer::kDone);
  EXPECT_TRUE(found.application_protocols.empty());
  EXPECT_EQ(config.make()->onBytes(std::string(8192, 'A'), false, found), ListenerFilter::Answer::kDone);
  found.transport_protocol = "tls";
  EXPECT_EQ(config.make()->onAccept(-1, base::Address(), found), ListenerFilter::Answer::kDone) << "TLS is not looked at";
}

}  // namespace
}  // namespace outrider::filter::listener::http_inspector
