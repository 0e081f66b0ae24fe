// What reaches routes and upstreams of what a client claims. Rows of the security matrix are named where one is covered.
#include "source/filter/network/http_connection_manager/request_admission.h"

#include <map>
#include <set>
#include <string_view>

#include <gtest/gtest.h>

#include "test/fakes/filter_harness.h"

namespace outrider::filter::network::http_connection_manager {
namespace {

base::CidrRange range(const char* prefix, uint32_t bits) { return *base::CidrRange::parse(prefix, bits); }

class AdmissionTest : public testing::Test {
 protected:
  // Sends a request through admission; what is left of its headers is in `seen`, the client in `client`.
  int send(std::string path, std::vector<std::pair<std::string, std::string>> headers = {}, std::string method = "GET") {
    test::FilterHarness proxy;
    peer_ = *base::Address::parseIpPort(peer);
    proxy.connection.peer = &peer_;
    proxy.connection.own = &own_;
    proxy.request_headers = std::move(headers);
    proxy.authority = authority;
    proxy.protocol = protocol;
    const HcmStats stats(store_.scope("http.t.", kHcmTable));
    proxy.on_admit = [&](HttpStream& stream, http::RequestHead& head) {
      const Reply* reply = admitRequest({spec, stats, false}, stream, head);
      seen.clear();
      head.headers.forEach([&](const http::Header& h) { seen[std::string(h.name())] += std::string(h.value()); });
      seen_path = head.path;
      seen_authority = head.authority;
      client = stream.info().remote.ip();
      return reply;
    };
    proxy.send(method, std::move(path));
    details = proxy.details;
    if (proxy.upstream.heads == 0) return proxy.client.status;
    proxy.respond(200, true);
    return 200;
  }

  base::Address peer_;
  const base::Address own_ = *base::Address::parseIpPort("127.0.0.1:80");
  HcmSpec spec;
  std::string peer = "203.0.113.9:5000";
  std::string authority = "host";
  http::Protocol protocol = http::Protocol::kHttp11;
  std::map<std::string, std::string> seen;
  std::string seen_path, seen_authority, client, details;

 private:
  stats::Store store_;
};

TEST_F(AdmissionTest, PathsAreNormalisedAndWhatCannotBeIsRefused) {
  struct Row {
    const char* path;
    const char* out;  // null: refused with 400
  };
  // matrix: 068 071
  for (const Row& row : {
           Row{"/a/b?x=/../", "/a/b?x=/../"},
           Row{"/a/../b", "/b"},
           Row{"/a/./b/", "/a/b/"},
           Row{"/../../x", "/x"},
           Row{"/..", "/"},
           Row{"//a///b", "/a/b"},
           Row{"/a/..", "/"},
           Row{"/%61%2e%2E/b", "/a../b"},
           Row{"/%2e%2e/b", "/b"},
           Row{"/a\\b", "/a/b"},
           Row{"/%2fa", nullptr},
           Row{"/%5Ca", nullptr},
           Row{"/a%00", nullptr},
           Row{"/a%zz", nullptr},
           Row{"/a%4", nullptr},
           Row{"/a%c3%a9", "/a%C3%A9"},
           Row{"/a#frag", nullptr},
           Row{"/...", "/..."},
           Row{"/.hidden", "/.hidden"},
       }) {
    const int status = send(row.path);
    if (row.out == nullptr) {
      EXPECT_EQ(status, 400) << row.path;
      EXPECT_EQ(details, "path_normalization_failed") << row.path;
    } else {
      EXPECT_EQ(status, 200) << row.path;
      EXPECT_EQ(seen_path, row.out) << row.path;
    }
  }
}

TEST_F(AdmissionTest, PathsStayAsTheyAreWhenNormalisationIsOff) {
  spec.normalize_path = spec.merge_slashes = spec.reject_bad_percent = false;
  spec.escaped_slashes = EscapedSlashes::kKeep;
  for (const char* path : {"/a/../b", "//a", "/%2e%2e/b", "/a%zz", "/%2fa"}) {
    EXPECT_EQ(send(path), 200) << path;
    EXPECT_EQ(seen_path, path);
  }
}

TEST_F(AdmissionTest, EscapedSlashesFollowTheirSetting) {
  spec.escaped_slashes = EscapedSlashes::kUnescapeAndForward;
  EXPECT_EQ(send("/a%2Fb%5cc"), 200);
  EXPECT_EQ(seen_path, "/a/b/c");
  spec.escaped_slashes = EscapedSlashes::kUnescapeAndRedirect;
  EXPECT_EQ(send("/a%2Fb"), 307);
}

TEST_F(AdmissionTest, ARequestWithoutHostIsRefused) {  // matrix: 073
  authority = "";
  EXPECT_EQ(send("/"), 400);
  EXPECT_EQ(details, "missing_host_header");
}

TEST_F(AdmissionTest, AStarPathHasNoRoute) {  // matrix: 060
  EXPECT_EQ(send("*", {}, "OPTIONS"), 404);
  EXPECT_EQ(details, "absolute_path_rejected");
}

TEST_F(AdmissionTest, TraceIsRefusedUnlessAllowed) {  // matrix: 115
  EXPECT_EQ(send("/", {}, "TRACE"), 405);
  spec.reject_trace = false;
  EXPECT_EQ(send("/", {}, "TRACE"), 200);
}

TEST_F(AdmissionTest, AnEdgeBelievesNobody) {  // matrix: 096 101
  spec.use_remote_address = true;
  EXPECT_EQ(send("/", {{"x-forwarded-for", "1.2.3.4"},
                       {"x-forwarded-proto", "https"},
                       {"x-envoy-internal", "true"},
                       {"x-envoy-retry-on", "5xx"},
                       {"x-envoy-upstream-rq-timeout-ms", "1"},
                       {"x-envoy-original-path", "/admin"},
                       {"x-envoy-attempt-count", "7"},
                       {"x-envoy-decorator-operation", "op"},
                       {"x-forwarded-client-cert", "Hash=1"},
                       {"x-request-id", "mine"}}),
            200);
  EXPECT_EQ(seen["x-forwarded-for"], "1.2.3.4,203.0.113.9");
  EXPECT_EQ(seen["x-envoy-external-address"], "203.0.113.9");
  EXPECT_EQ(seen["x-forwarded-proto"], "http");
  EXPECT_NE(seen["x-request-id"], "mine");
  EXPECT_EQ(seen["x-request-id"].size(), 36u);
  for (const char* gone : {"x-envoy-internal", "x-envoy-retry-on", "x-envoy-upstream-rq-timeout-ms", "x-envoy-original-path",
                           "x-envoy-attempt-count", "x-envoy-decorator-operation", "x-forwarded-client-cert"}) {
    EXPECT_EQ(seen.count(gone), 0u) << gone;
  }
  EXPECT_EQ(client, "203.0.113.9");
}

TEST_F(AdmissionTest, OneTrustedHopNamesTheClient) {  // matrix: 097
  spec.use_remote_address = true;
  spec.xff_num_trusted_hops = 1;
  EXPECT_EQ(send("/", {{"x-forwarded-for", "10.0.0.1, 1.2.3.4, 10.0.0.2"}, {"x-forwarded-proto", "https"}}), 200);
  EXPECT_EQ(client, "10.0.0.2");
  EXPECT_EQ(seen["x-forwarded-proto"], "https");
}

TEST_F(AdmissionTest, GarbageInForwardedForFallsBackToThePeer) {  // matrix: 098
  std::string many = "9.9.9.9";
  for (int i = 0; i < 1000; ++i) many += ", x";
  for (const std::string& list : {std::string("garbage"), std::string("fe80::1%eth0"), std::string(""), std::string(",,,"), many}) {
    EXPECT_EQ(send("/", {{"x-forwarded-for", list}}), 200);
    EXPECT_EQ(client, "203.0.113.9") << list.substr(0, 30);
  }
}

TEST_F(AdmissionTest, ASidecarTakesTheLastForwardedAddress) {  // matrix: 099
  EXPECT_EQ(send("/", {{"x-forwarded-for", "9.9.9.9"}, {"x-envoy-external-address", "9.9.9.9"}, {"x-envoy-retry-on", "5xx"}}), 200);
  EXPECT_EQ(client, "9.9.9.9");
  EXPECT_EQ(seen["x-envoy-external-address"], "9.9.9.9");
  EXPECT_EQ(seen.count("x-envoy-retry-on"), 0u);
}

TEST_F(AdmissionTest, PrivateAddressesAreInternalOnlyWhenListed) {  // matrix: 100
  peer = "10.0.0.7:1";
  EXPECT_EQ(send("/", {{"x-forwarded-for", "10.0.0.7"}, {"x-envoy-retry-on", "5xx"}}), 200);
  EXPECT_EQ(seen.count("x-envoy-internal"), 0u);
  EXPECT_EQ(seen.count("x-envoy-retry-on"), 0u);
  spec.internal_ranges = {range("10.0.0.0", 8)};
  EXPECT_EQ(send("/", {{"x-forwarded-for", "10.0.0.7"}, {"x-envoy-retry-on", "5xx"}}), 200);
  EXPECT_EQ(seen["x-envoy-internal"], "true");
  EXPECT_EQ(seen["x-envoy-retry-on"], "5xx");
}

TEST_F(AdmissionTest, PortsAndDotsOfHostsAreStrippedAsAsked) {  // matrix: 078
  authority = "h.test.:80";
  EXPECT_EQ(send("/"), 200);
  EXPECT_EQ(seen_authority, "h.test.:80");
  spec.strip_matching_port = spec.strip_trailing_dot = true;
  EXPECT_EQ(send("/"), 200);
  EXPECT_EQ(seen_authority, "h.test");
  authority = "[::1]:81";
  EXPECT_EQ(send("/"), 200);
  EXPECT_EQ(seen_authority, "[::1]:81");
  spec.strip_any_port = true;
  EXPECT_EQ(send("/"), 200);
  EXPECT_EQ(seen_authority, "[::1]");
}

TEST_F(AdmissionTest, AForgedClientCertificateHeaderOverPlainTextGoes) {  // matrix: 102
  for (const ClientCert mode : {ClientCert::kSanitize, ClientCert::kForwardOnly, ClientCert::kAppendForward, ClientCert::kSanitizeSet}) {
    spec.client_cert = mode;
    EXPECT_EQ(send("/", {{"x-forwarded-client-cert", "Hash=1"}}), 200);
    EXPECT_EQ(seen.count("x-forwarded-client-cert"), 0u);
  }
}

TEST_F(AdmissionTest, ARequestIdIsARandomUuid) {
  std::map<std::string, int> digits;
  std::set<std::string> ids;
  for (int i = 0; i < 500; ++i) {
    send("/");
    const std::string id = seen["x-request-id"];
    ASSERT_EQ(id.size(), 36u);
    EXPECT_TRUE(ids.insert(id).second) << id;
    for (size_t at = 0; at < id.size(); ++at) {
      if (at == 8 || at == 13 || at == 18 || at == 23) {
        EXPECT_EQ(id[at], '-') << id;
      } else {
        ASSERT_NE(std::string_view("0123456789abcdef").find(id[at]), std::string_view::npos) << id;
        ++digits[std::string(1, id[at])];
      }
    }
    EXPECT_EQ(id[14], '4') << id;                                                    // RFC 4122: random
    EXPECT_NE(std::string_view("89ab").find(id[19]), std::string_view::npos) << id;  // and its variant
  }
  EXPECT_EQ(digits.size(), 16u);
  for (const auto& [digit, count] : digits) EXPECT_GT(count, 700) << digit;  // of 16,000
}

TEST_F(AdmissionTest, AnInsiderKeepsItsRequestId) {
  EXPECT_EQ(send("/", {{"x-request-id", "mine"}}), 200);
  EXPECT_EQ(seen["x-request-id"], "mine");
}

}  // namespace
}  // namespace outrider::filter::network::http_connection_manager
