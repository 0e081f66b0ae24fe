// The rows of the attack matrix that a codec decides on the request side, as tables.
#include <gtest/gtest.h>

#include "source/http/h1/harness.h"

namespace outrider::http::h1 {
namespace {

using testing::inEveryCut;
using testing::Server;

const std::string kGet = "GET /ok HTTP/1.1\r\nHost: h\r\n";
const std::string kPost = "POST /ok HTTP/1.1\r\nHost: h\r\n";
const std::string kChunked = kPost + "Transfer-Encoding: chunked\r\n\r\n";

std::string repeat(std::string_view text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}
std::string nul(std::string text) {
  for (char& c : text) {
    if (c == '$') c = '\0';
  }
  return text;
}

struct Refusal {
  const char* row;
  std::string bytes;
  int status;
  const char* details;
};

// Refused with this status and these words, whichever way the bytes are cut, and the connection is over.
void expectRefused(const Refusal& each, const Settings& settings, bool every_cut) {
  const auto check = [&each](const Server& server) {
    ASSERT_FALSE(server.exchanges.empty()) << each.row;
    const testing::Exchange& last = *server.exchanges.back();
    EXPECT_EQ(last.error, each.details) << each.row << ": " << each.bytes.substr(0, 200);
    EXPECT_EQ(last.status, each.status) << each.row;
    EXPECT_FALSE(last.complete) << each.row;
    EXPECT_TRUE(last.ended) << each.row;
    EXPECT_TRUE(server.codec.finished()) << each.row;
    const std::string out = server.out.str();
    EXPECT_EQ(out.substr(0, 12), "HTTP/1.1 " + std::to_string(each.status)) << each.row;
    EXPECT_NE(out.find("connection: close\r\n"), std::string::npos) << each.row;
  };
  if (every_cut) {
    inEveryCut(each.bytes, settings, check);
  } else {
    Server server(settings);
    server.answers_all = true;
    server.feed(each.bytes);
    check(server);
  }
}

// Taken, with the same outcome whichever way the bytes are cut. Returns the trace.
std::string accepted(const std::string& bytes, const Settings& settings = {}) {
  Server whole(settings);
  whole.answers_all = true;
  whole.feed(bytes);
  const std::string trace = whole.trace();
  for (const auto& exchange : whole.exchanges) EXPECT_EQ(exchange->error, "") << bytes;
  EXPECT_FALSE(whole.exchanges.empty()) << bytes;
  inEveryCut(bytes, settings, [&](const Server& server) { EXPECT_EQ(server.trace(), trace) << bytes; });
  return trace;
}

TEST(H1Requests, WithDoubtfulFramingAreRefused) {
  const Refusal kRows[] = {
      {"001", kPost + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", 400,
       "http1.content_length_and_chunked_not_allowed"},
      {"002", kPost + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGPOST", 400,
       "http1.content_length_and_chunked_not_allowed"},
      {"003", kPost + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", 400, "http1.codec_error"},
      {"004", kPost + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nab", 400, "http1.codec_error"},
      {"005", kPost + "Content-Length: 2, 2\r\n\r\nab", 400, "http1.codec_error"},
      {"006", kPost + "Content-Length: +2\r\n\r\nab", 400, "http1.codec_error"},
      {"007", kPost + "Content-Length: -1\r\n\r\nab", 400, "http1.codec_error"},
      {"008", kPost + "Content-Length: 0x2\r\n\r\nab", 400, "http1.codec_error"},
      {"009", kPost + "Content-Length: \r\n\r\nab", 400, "http1.codec_error"},
      {"010", kPost + "Content-Length: 1 2\r\n\r\nab", 400, "http1.codec_error"},
      {"011", kPost + "Content-Length: 18446744073709551618\r\n\r\nab", 400, "http1.codec_error"},
      {"011", kPost + "Content-Length: 9223372036854775808\r\n\r\nab", 400, "http1.codec_error"},
      {"012", kPost + "Content-Length : 2\r\n\r\nab", 400, "http1.codec_error"},
      {"013", kPost + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, "http1.codec_error"},
      {"014", kPost + "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nab", 400, "http1.content_length_and_chunked_not_allowed"},
      {"015", kPost + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "http1.invalid_transfer_encoding"},
      {"016", kPost + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 501, "http1.invalid_transfer_encoding"},
      {"017", kPost + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501, "http1.invalid_transfer_encoding"},
      {"018", kPost + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501, "http1.invalid_transfer_encoding"},
      {"019", kPost + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, "http1.invalid_transfer_encoding"},
      {"019", kPost + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 501, "http1.invalid_transfer_encoding"},
      {"019", kPost + "Transfer-Encoding:\r\n\r\n0\r\n\r\n", 501, "http1.invalid_transfer_encoding"},
      {"020",
       kPost + "Transfer-Encoding: \x0b"
               "chunked\r\n\r\n0\r\n\r\n",
       400, "http1.invalid_characters"},
      {"022", "POST /ok HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 426, "low_version"},
      {"023", kPost + "Transfer_Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400, "http1.unexpected_underscore"},
      {"023", kPost + "Content_Length: 4\r\n\r\n", 400, "http1.unexpected_underscore"},
      {"023", kGet + "X_Forwarded-For: 1.2.3.4\r\n\r\n", 400, "http1.unexpected_underscore"},
  };
  for (const Refusal& each : kRows) expectRefused(each, {}, true);

  Settings http10;
  http10.accept_http_10 = true;
  expectRefused(
      {"022", "POST /ok HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "http1.invalid_transfer_encoding"},
      http10, true);
}

TEST(H1Requests, WithDoubtfulChunksAreRefused) {
  const Refusal kRows[] = {
      {"025", kChunked + "3;a=" + std::string(65536, 'b'), 400, "http1.chunk_extension_too_large"},
      {"025", kChunked + repeat("1;" + std::string(4000, 'e') + "\r\nx\r\n", 5), 400, "http1.chunk_extension_too_large"},
      {"026", kChunked + "3;\nxx\r\nabc\r\n0\r\n\r\n", 400, "http1.codec_error"},
      {"027", kChunked + "3\nabc\r\n0\r\n\r\n", 400, "http1.codec_error"},
      {"028", kChunked + "3\r\nabc\n0\r\n\r\n", 400, "http1.codec_error"},
      {"029", kChunked + "3\r\nabc\r\n0\n\n", 400, "http1.codec_error"},
      {"029", kChunked + "3\r\nabc\r\n0\r\n\n", 400, "http1.codec_error"},
      {"030", kChunked + "0x3\r\nabc\r\n0\r\n\r\n", 400, "http1.codec_error"},
      {"031", kChunked + "+3\r\nabc\r\n0\r\n\r\n", 400, "http1.codec_error"},
      {"031", kChunked + "-3\r\nabc\r\n0\r\n\r\n", 400, "http1.codec_error"},
      {"032", kChunked + " 3\r\nabc\r\n0\r\n\r\n", 400, "http1.codec_error"},
      {"032", kChunked + "0_3\r\nabc\r\n0\r\n\r\n", 400, "http1.codec_error"},
      {"033", kChunked + "3 \r\nabc\r\n0\r\n\r\n", 400, "http1.codec_error"},
      {"034", kChunked + "10000000000000003\r\nabc\r\n0\r\n\r\n", 400, "http1.codec_error"},
      {"034", kChunked + "8000000000000000\r\nabc\r\n0\r\n\r\n", 400, "http1.codec_error"},
      {"035", kChunked + std::string(4096, '0') + "3\r\nabc\r\n0\r\n\r\n", 400, "http1.codec_error"},
      {"036", kChunked + "3\r\nabcde0\r\n\r\n", 400, "http1.codec_error"},
      {"036", kChunked + "3\r\nabc\rde", 400, "http1.codec_error"},
      {"036", kChunked + "3\rabc", 400, "http1.codec_error"},
      {"036", kChunked + "\r\nabc", 400, "http1.codec_error"},
      {"039", kChunked + nul("0\r\nX T: v$\r\n\r\n"), 400, "http1.invalid_characters"},
      {"039", kChunked + nul("0\r\nX-T: v$\r\n\r\n"), 400, "http1.invalid_characters"},
      {"039", kChunked + "0\r\nno colon\r\n\r\n", 400, "http1.invalid_characters"},
      {"039", kChunked + "0\r\nX-T: v\rw\r\n\r\n", 400, "http1.invalid_characters"},
      {"trailers", kChunked + "0\r\n" + repeat("X-T: v\r\n", 120) + "\r\n", 431, "http1.too_many_headers"},
  };
  for (const Refusal& each : kRows) expectRefused(each, {}, each.bytes.size() < 1000);
  expectRefused({"trailers", kChunked + "0\r\nX: " + std::string(70000, 'x'), 431, "http1.headers_too_large"}, {}, false);

  Settings trailers;
  trailers.enable_trailers = true;
  for (const std::string name : {"Content-Length", "Transfer-Encoding", "Host", "Authorization", "Cookie", "Content_Length"}) {
    expectRefused({"038", kChunked + "0\r\n" + name + ": 3\r\n\r\n", 400, "http1.invalid_trailer"}, trailers, true);
  }
}

TEST(H1Requests, WithDoubtfulFirstLinesAreRefused) {
  const Refusal kRows[] = {
      {"046", "GET /ok HTTP/1.1\nHost: h\n\n", 400, "http1.bare_lf"},
      {"047", kGet + "X: y\n\r\n", 400, "http1.bare_lf"},
      {"048", kGet + "X: a\rb\r\n\r\n", 400, "http1.invalid_characters"},
      {"049", "GET /ok HTTP/1.1\rHost: h\r\r", 400, "http1.invalid_characters"},
      {"050", "\r\n\r\n" + kGet + "\r\n", 400, "http1.codec_error"},
      {"050", "\n" + kGet + "\r\n", 400, "http1.bare_lf"},
      {"051", "GET  /ok HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.codec_error"},
      {"051", "GET\t/ok\tHTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.codec_error"},
      {"051", "GET /ok  HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.codec_error"},
      {"051", "GET /ok HTTP/1.1 \r\nHost: h\r\n\r\n", 400, "http1.codec_error"},
      {"052", " GET /ok HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.codec_error"},
      {"053", "GET /ok\r\n\r\n", 426, "low_version"},
      {"054", "GET /ok HTTP/1.0\r\n\r\n", 426, "low_version"},
      {"056", "GET /ok HTTP/1.2\r\nHost: h\r\n\r\n", 426, "low_version"},
      {"056", "GET /ok HTTP/2.0\r\nHost: h\r\n\r\n", 426, "low_version"},
      {"056", "GET /ok HTTP/9.9\r\nHost: h\r\n\r\n", 426, "low_version"},
      {"057", "GET /ok HTTP/1.11\r\nHost: h\r\n\r\n", 400, "http1.codec_error"},
      {"057", "GET /ok http/1.1\r\nHost: h\r\n\r\n", 400, "http1.codec_error"},
      {"057", "GET /ok HTTP/1\r\nHost: h\r\n\r\n", 400, "http1.codec_error"},
      {"058", "get /ok HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.codec_error"},
      {"058", "FOO /ok HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.codec_error"},
      {"058", "G:T /ok HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.codec_error"},
      {"058", "GETS /ok HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.codec_error"},
      {"061", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.invalid_url"},
      {"061", "GET ok HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.codec_error"},
      {"061", "GET  HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.codec_error"},
      {"061", "OPTIONS *x HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.invalid_url"},
      {"065", "GET http://u:p@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http.invalid_authority"},
      {"065", "GET /ok HTTP/1.1\r\nHost: u@h\r\n\r\n", 400, "http.invalid_authority"},
      {"066", "GET ftp://h/ok HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.invalid_scheme"},
      {"067", "GET http:///ok HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.invalid_url"},
      {"069", nul("GET /o$k HTTP/1.1\r\nHost: h\r\n\r\n"), 400, "http1.invalid_characters"},
      {"069", "GET /o\x01k HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.invalid_characters"},
      {"069", "GET /o\x7fk HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.invalid_characters"},
      {"069", "GET /o\xffk HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.invalid_characters"},
      {"070", "GET /o k HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.codec_error"},
      {"112", "CONNECT /ok HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.invalid_url"},
      {"112", "CONNECT h HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.invalid_url"},
      {"112", "CONNECT h: HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.invalid_url"},
      {"112", "CONNECT h:99999 HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http1.invalid_url"},
      {"tls", "\x16\x03\x01\x02", 400, "http1.codec_error"},
  };
  for (const Refusal& each : kRows) expectRefused(each, {}, true);
  expectRefused({"059", std::string(66000, 'A') + " /ok HTTP/1.1\r\nHost: h\r\n\r\n", 431, "http1.headers_too_large"}, {}, false);
  expectRefused({"072", "GET /" + std::string(70000, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n", 431, "http1.headers_too_large"}, {}, false);
}

TEST(H1Requests, WithDoubtfulHostsAreRefused) {
  const Refusal kRows[] = {
      {"074", "GET /ok HTTP/1.1\r\nHost: h.test\r\nHost: h.test\r\n\r\n", 400, "http1.duplicate_host"},
      {"074", "GET /ok HTTP/1.1\r\nHost: h.test\r\nHost: evil\r\n\r\n", 400, "http1.duplicate_host"},
      {"075", "GET /ok HTTP/1.1\r\nHost: \r\n\r\n", 400, "http.invalid_authority"},
      {"076", "GET /ok HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "http.invalid_authority"},
      {"076", "GET /ok HTTP/1.1\r\nHost: a,b\r\n\r\n", 400, "http.invalid_authority"},
      {"076", "GET /ok HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "http.invalid_authority"},
      {"076", "GET /ok HTTP/1.1\r\nHost: a\xff\r\n\r\n", 400, "http.invalid_authority"},
      {"076", "GET /ok HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "http.invalid_authority"},
      {"076", "GET /ok HTTP/1.1\r\nHost: []\r\n\r\n", 400, "http.invalid_authority"},
      {"076", "GET /ok HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400, "http.invalid_authority"},
      {"077", "GET /ok HTTP/1.1\r\nHost: h:abc\r\n\r\n", 400, "http.invalid_authority"},
      {"077", "GET /ok HTTP/1.1\r\nHost: h:99999\r\n\r\n", 400, "http.invalid_authority"},
      {"077", "GET /ok HTTP/1.1\r\nHost: h:\r\n\r\n", 400, "http.invalid_authority"},
      {"077", "GET /ok HTTP/1.1\r\nHost: :80\r\n\r\n", 400, "http.invalid_authority"},
      {"077", "GET http://h:abc/ok HTTP/1.1\r\nHost: h\r\n\r\n", 400, "http.invalid_authority"},
  };
  for (const Refusal& each : kRows) expectRefused(each, {}, true);
  for (const std::string host : {"h", "h.test:80", "[::1]:80", "[::1]", "h.", "H.TEST", "10.0.0.1:65535", "a_b.test"}) {  // matrix: 078
    EXPECT_NE(accepted("GET /ok HTTP/1.1\r\nHost: " + host + "\r\n\r\n").find("authority=" + host + "\n"), std::string::npos);
  }
}

TEST(H1Requests, WithDoubtfulFieldsAreRefused) {
  const Refusal kRows[] = {
      {"079", kGet + "X-A : b\r\n\r\n", 400, "http1.codec_error"},
      {"080", "GET /ok HTTP/1.1\r\n X: y\r\nHost: h\r\n\r\n", 400, "http1.codec_error"},
      {"081", kGet + "X-A: b\r\n c\r\n\r\n", 400, "http1.obs_fold"},
      {"081", kGet + "X-A: b\r\n\tc\r\n\r\n", 400, "http1.obs_fold"},
      {"082", nul(kGet + "X-A: a$b\r\n\r\n"), 400, "http1.invalid_characters"},
      {"083",
       kGet + "X-A: a\x01"
              "b\r\n\r\n",
       400, "http1.invalid_characters"},
      {"083",
       kGet + "X-A: a\x7f"
              "b\r\n\r\n",
       400, "http1.invalid_characters"},
      {"085", nul(kGet + "X$A: b\r\n\r\n"), 400, "http1.codec_error"},
      {"085", kGet + "X[]: b\r\n\r\n", 400, "http1.codec_error"},
      {"085", kGet + "X\xff: b\r\n\r\n", 400, "http1.codec_error"},
      {"085", kGet + ": b\r\n\r\n", 400, "http1.codec_error"},
      {"085", kGet + "no colon\r\n\r\n", 400, "http1.codec_error"},
      {"085", kGet + "nocolon\r\n\r\n", 400, "http1.codec_error"},
      {"091", kGet + "Connection: X-Forwarded-For\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n", 400, "http1.connection_header_rejected"},
      {"091", kGet + "Connection: close, Authorization\r\nAuthorization: x\r\n\r\n", 400, "http1.connection_header_rejected"},
      {"091", kGet + "Connection: :path\r\n\r\n", 400, "http1.connection_header_rejected"},
      {"092", kPost + "Connection: Content-Length\r\nContent-Length: 2\r\n\r\nab", 400, "http1.connection_header_rejected"},
      {"092", kGet + "Connection: Host\r\n\r\n", 400, "http1.connection_header_rejected"},
      {"092", kPost + "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
       "http1.connection_header_rejected"},
      {"094", kGet + "Connection: TE\r\nTE: " + std::string(300, 'x') + "\r\n\r\n", 400, "http1.connection_header_rejected"},
      {"108", kPost + "Connection: upgrade\r\nUpgrade: foo\r\nContent-Length: 2\r\n\r\nab", 400, "http1.body_disallowed"},
      {"108", kPost + "Connection: upgrade\r\nUpgrade: foo\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "http1.body_disallowed"},
      {"108", "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\nContent-Length: 2\r\n\r\nab", 400, "http1.body_disallowed"},
      {"108", "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501, "http1.invalid_transfer_encoding"},
  };
  for (const Refusal& each : kRows) expectRefused(each, {}, true);
  expectRefused({"087", kGet + repeat("X-A: b\r\n", 119) + "\r\n", 431, "http1.too_many_headers"}, {}, false);
  expectRefused({"088", kGet + "X-A: " + std::string(62000, 'b') + "\r\n\r\n", 431, "http1.headers_too_large"}, {}, false);
  expectRefused({"093", kGet + "Connection: " + repeat("a,", 10000) + "b\r\n\r\n", 400, "http1.connection_header_rejected"}, {}, false);
  expectRefused({"093", kGet + "Connection: a,b,c,d,e,f\r\nConnection: g,h,i,j\r\n\r\n", 400, "http1.connection_header_rejected"}, {},
                false);
}

TEST(H1Requests, StopBeingReadAtTheLimitOfTheHead) {  // matrix: 088, 089
  Server server;
  server.answers_all = true;
  size_t sent = 0;
  while (server.feed(std::string(1000, 'A')) == Feed::kMore) sent += 1000;
  EXPECT_LE(sent, 60u * 1024);
  EXPECT_GE(sent, 60u * 1024 - 2000);
  EXPECT_EQ(server.last().error, "http1.headers_too_large");
}

TEST(H1Requests, AreTakenHoweverTheyAreCut) {
  EXPECT_NE(accepted(kPost + "tRANSFER-eNCODING: cHuNkEd\r\n\r\n0\r\n\r\n").find("authority=h\nbody=\n"),
            std::string::npos);                                                                       // matrix: 021
  EXPECT_NE(accepted(kChunked + "3;a=b\r\nabc\r\n0\r\n\r\n").find("body=abc\n"), std::string::npos);  // matrix: 024
  EXPECT_NE(accepted(kChunked + "3\r\nabc\r\n00A\r\n0123456789\r\n0;x\r\n\r\n").find("body=abc0123456789\n"), std::string::npos);
  EXPECT_NE(accepted(kChunked + "1\r\na\r\n0\r\nX-T: v\r\n\r\n").find("body=a\ntrailers=complete"), std::string::npos);  // matrix: 037
  EXPECT_NE(accepted(kChunked + "0\r\nContent-Length: 3\r\n\r\n").find("trailers=complete"), std::string::npos);
  EXPECT_NE(accepted(kPost + "Content-Length: 5\r\n\r\nhello" + kGet + "\r\n").find("body=hello\n"), std::string::npos);
  EXPECT_NE(accepted("\r\n" + kGet + "\r\n").find("GET /ok"), std::string::npos);  // matrix: 050
  EXPECT_NE(accepted(kGet + "\r\n\r\n" + kGet + "\r\n").find("GET /ok"), std::string::npos);
  EXPECT_NE(accepted(kGet + "X-A: a\xff"
                            "b\r\n\r\n")
                .find("x-a=a\xff"
                      "b\n"),
            std::string::npos);                                                     // matrix: 084
  EXPECT_NE(accepted(kGet + "X_A: b\r\n\r\n").find("x_a=b\n"), std::string::npos);  // matrix: 086
  EXPECT_NE(accepted(kGet + "X-Empty:\r\nX-Blank: \t \r\nX-B:  v \t\r\n\r\n").find("x-empty=\nx-blank=\nx-b=v\n"), std::string::npos);
  EXPECT_NE(accepted(kGet + "Expect: 200-ok\r\n\r\n").find("expect=200-ok\n"), std::string::npos);  // matrix: 118
  EXPECT_NE(accepted(kPost + "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx").find("(expects 100)"), std::string::npos);

  Settings trailers;
  trailers.enable_trailers = true;
  EXPECT_NE(accepted(kChunked + "1\r\na\r\n0\r\nX-T: v\r\nx-u: w\r\n\r\n", trailers).find("body=a\ntrailers=x-t=v\nx-u=w\ncomplete"),
            std::string::npos);
}

TEST(H1Requests, MayHaveManyAndLongFields) {  // matrix: 072, 087, 088
  for (const std::string& bytes : {kGet + repeat("X-A: b\r\n", 94) + "\r\n", kGet + "X-A: " + std::string(59000, 'b') + "\r\n\r\n",
                                   "GET /" + std::string(50000, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n"}) {
    Server server;
    server.feed(bytes);
    ASSERT_EQ(server.exchanges.size(), 1u);
    EXPECT_EQ(server.last().error, "");
    EXPECT_TRUE(server.last().complete);
    EXPECT_EQ(server.last().head->wire_bytes, bytes.size());
  }
}

TEST(H1Requests, NameTheirTargetInFourForms) {
  const struct {
    const char* row;
    std::string bytes;
    std::string head;
  } kRows[] = {
      {"060", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * HTTP/1.1\nscheme=http authority=h\n"},
      {"062", "GET http://h.test/ok HTTP/1.1\r\nHost: h.test\r\n\r\n", "GET /ok HTTP/1.1\nscheme=http authority=h.test\n(absolute)\n"},
      {"063", "GET http://other.test/ok HTTP/1.1\r\nHost: h.test\r\n\r\n",
       "GET /ok HTTP/1.1\nscheme=http authority=other.test\n(absolute)\n"},
      {"064", "GET hTTpS://h/ok HTTP/1.1\r\nHost: h\r\n\r\n", "GET /ok HTTP/1.1\nscheme=https authority=h\n(absolute)\n"},
      {"067", "GET http://h.test HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\nscheme=http authority=h.test\n(absolute)\n"},
      {"067", "GET http://h.test?x HTTP/1.1\r\nHost: h\r\n\r\n", "GET ?x HTTP/1.1\nscheme=http authority=h.test\n(absolute)\n"},
      {"068", "GET /ok#frag HTTP/1.1\r\nHost: h\r\n\r\n", "GET /ok#frag HTTP/1.1\nscheme=http authority=h\n"},
      {"073", "GET /ok HTTP/1.1\r\n\r\n", "GET /ok HTTP/1.1\nscheme=http authority=\n"},
      {"111", "CONNECT h:443 HTTP/1.1\r\nHost: other\r\n\r\n", "CONNECT  HTTP/1.1\nscheme=http authority=h:443\n"},
      {"111", "CONNECT [::1]:443 HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "CONNECT  HTTP/1.1\nscheme=http authority=[::1]:443\n"},
      {"115", "TRACE /ok HTTP/1.1\r\nHost: h\r\n\r\n", "TRACE /ok HTTP/1.1\nscheme=http authority=h\n"},
  };
  for (const auto& each : kRows) {
    EXPECT_EQ(accepted(each.bytes).find(each.head + "body="), 0u) << each.row << "\n" << accepted(each.bytes);
  }
  Settings settings;
  settings.allow_absolute_url = false;
  EXPECT_EQ(accepted("GET http://h.test/ok HTTP/1.1\r\nHost: h\r\n\r\n", settings).find("GET http://h.test/ok "), 0u);
  settings.allow_custom_methods = true;
  EXPECT_EQ(accepted("FOO /ok HTTP/1.1\r\nHost: h\r\n\r\n", settings).find("FOO /ok "), 0u);
}

TEST(H1Requests, LoseWhatConcernsOneHopOnly) {
  const struct {
    const char* row;
    std::string fields;
    std::string expected;
  } kRows[] = {
      {"090", "Connection: X-Foo, close\r\nX-Foo: 1\r\nX-Bar: 2\r\n", "(closes)\nx-bar=2\n"},
      {"090", "X-Foo: 1\r\nConnection: x-foo\r\nX-FOO: 2\r\n", ""},
      {"094", "TE: gzip, trailers\r\n", "te=trailers\n"},
      {"094", "Connection: TE\r\nTE: trailers;q=0.5, Trailers\r\n", "te=trailers\n"},
      {"094", "TE: gzip\r\n", ""},
      {"095", "Proxy-Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive\r\n", ""},
      {"095", "Proxy-Connection: close\r\n", "(closes)\n"},
      {"110", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", ""},
      {"110", "Upgrade: websocket\r\n", ""},
      {"107", "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n", "(upgrade websocket)\n"},
      {"108", "Connection: upgrade\r\nUpgrade: foo\r\nContent-Length: 0\r\n", "(upgrade foo)\ncontent-length=0\n"},
      {"trailer", "Trailer: x\r\n", "trailer=x\n"},
  };
  for (const auto& each : kRows) {
    const std::string trace = accepted(kGet + each.fields + "\r\n");
    EXPECT_EQ(trace.find("GET /ok HTTP/1.1\nscheme=http authority=h\n" + each.expected + "body="), 0u) << each.row << "\n" << trace;
  }
}

TEST(H1Requests, HaveUnderscoresTreatedAsConfigured) {  // matrix: 086
  Settings settings;
  settings.underscores = Underscores::kReject;
  expectRefused({"086", kGet + "X_A: b\r\n\r\n", 400, "http1.unexpected_underscore"}, settings, true);

  settings.underscores = Underscores::kDrop;
  Server server(settings);
  server.feed(kGet + "X_A: b\r\nTransfer_Encoding: chunked\r\nX-B: c\r\n\r\n");
  EXPECT_EQ(server.last().head_text, "GET /ok HTTP/1.1\nscheme=http authority=h\nx-b=c\n");
  EXPECT_EQ(server.counters.dropped_headers_with_underscores, 2u);

  Server twin;
  twin.feed(kGet + "Transfer_Encoding: chunked\r\n\r\n");
  EXPECT_EQ(twin.counters.requests_rejected_with_underscores_in_headers, 1u);
  EXPECT_EQ(twin.counters.rejected_lenient[static_cast<size_t>(LenientKind::kUnderscoreTwin)], 1u);
}

// Each switch lets its own kind pass, and nothing else does.
TEST(H1Requests, PassWhereAnOperatorChoseToBeLenient) {
  const struct {
    LenientKind kind;
    bool Lenient::*allow;
    std::string bytes;
    std::string expected;
  } kRows[] = {
      {LenientKind::kBareLf, &Lenient::bare_lf, "GET /ok HTTP/1.1\nHost: h\nX: y\n\n", "authority=h\nx=y\n"},
      {LenientKind::kObsFold, &Lenient::obs_fold, kGet + "X-A: b \r\n \t c\r\n  \r\n\r\n", "x-a=b      c\n"},
      {LenientKind::kObsFold, &Lenient::obs_fold, kGet + "X-A:\r\n c\r\n\r\n", "x-a=c\n"},
      {LenientKind::kRequestLineSpace, &Lenient::request_line_space, "GET \t/ok  HTTP/1.1 \r\nHost: h\r\n\r\n", "GET /ok HTTP/1.1"},
      {LenientKind::kUnderscoreTwin, &Lenient::underscore_twin, kGet + "Content_Length: 3\r\n\r\n", "content_length=3\n"},
      {LenientKind::kDuplicateHost, &Lenient::duplicate_host, kGet + "Host: evil\r\n\r\n", "authority=h,evil\n"},
      {LenientKind::kEmptyHost, &Lenient::empty_host, "GET /ok HTTP/1.1\r\nHost:\r\n\r\n", "authority=\n"},
      {LenientKind::kBadPort, &Lenient::bad_port, "GET /ok HTTP/1.1\r\nHost: h:99999\r\n\r\n", "authority=h:99999\n"},
      {LenientKind::kUserinfo, &Lenient::userinfo, "GET http://u:p@g/ok HTTP/1.1\r\nHost: h\r\n\r\n", "authority=g\n"},
      {LenientKind::kUserinfo, &Lenient::userinfo, "GET /ok HTTP/1.1\r\nHost: u@h\r\n\r\n", "authority=u@h\n"},
      {LenientKind::kNominatedFraming, &Lenient::nominated_framing, kPost + "Connection: Content-Length\r\nContent-Length: 2\r\n\r\nab",
       "authority=h\nbody=ab\n"},
      {LenientKind::kTeOnHttp10, &Lenient::te_on_http10, "POST /ok HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
       "body=a\n"},
      {LenientKind::kChunkExtensions, &Lenient::chunk_extensions, kChunked + "1;" + std::string(5000, 'e') + "\r\na\r\n0\r\n\r\n",
       "body=a\n"},
      {LenientKind::kChunkBareLf, &Lenient::chunk_bare_lf, kChunked + "3\r\nabc\n0\r\n\r\n", "body=abc\n"},
      {LenientKind::kChunkSizeSpace, &Lenient::chunk_size_space, kChunked + "3 \t\r\nabc\r\n0\r\n\r\n", "body=abc\n"},
      {LenientKind::kChunkSizeZeros, &Lenient::chunk_size_zeros, kChunked + std::string(100, '0') + "3\r\nabc\r\n0\r\n\r\n", "body=abc\n"},
      {LenientKind::kTrailerNames, &Lenient::trailer_names, kChunked + "0\r\nHost: x\r\nX-T: v\r\n\r\n", "trailers=x-t=v\ncomplete"},
  };
  for (const auto& each : kRows) {
    const std::string name(kLenientNames[static_cast<size_t>(each.kind)]);
    Settings settings;
    settings.accept_http_10 = true;
    settings.enable_trailers = true;
    {
      Server strict(settings);
      strict.answers_all = true;
      strict.feed(each.bytes);
      EXPECT_NE(strict.exchanges.back()->error, "") << name;
      EXPECT_EQ(strict.counters.rejected_lenient[static_cast<size_t>(each.kind)], 1u) << name;
    }
    settings.lenient = Lenient::all();
    settings.lenient.*each.allow = false;
    {
      Server others(settings);
      others.answers_all = true;
      others.feed(each.bytes);
      EXPECT_NE(others.exchanges.back()->error, "") << name;
    }
    settings.lenient = Lenient();
    settings.lenient.*each.allow = true;
    if (each.bytes.size() < 1000) {
      EXPECT_NE(accepted(each.bytes, settings).find(each.expected), std::string::npos) << name << "\n" << accepted(each.bytes, settings);
    } else {
      Server server(settings);
      server.feed(each.bytes);
      EXPECT_NE(server.trace().find(each.expected), std::string::npos) << name;
    }
  }
}

TEST(H1Requests, PreferChunksToALengthWhereTold) {
  Settings settings;
  settings.allow_chunked_length = true;
  const std::string trace = accepted(kPost + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", settings);
  EXPECT_EQ(trace.find("POST /ok HTTP/1.1\nscheme=http authority=h\n(closes)\nbody=a\n"), 0u) << trace;
}

TEST(H1Requests, ThatBreakInTheirBodyAreToldApartFromTheirHead) {  // matrix: 036
  Server server;
  server.feed(kChunked + "3\r\nabcde0\r\n\r\n");
  EXPECT_NE(server.last().head, nullptr);
  EXPECT_EQ(server.last().error, "http1.codec_error");
  EXPECT_EQ(server.last_feed, Feed::kFinished);
}

}  // namespace
}  // namespace outrider::http::h1
