#include "source/filter/listener/tls_inspector/tls_inspector.h"

#include <string>

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.pb.h"
#include "source/filter/listener/tls_inspector/tls_inspector_parse.h"

namespace outrider::filter::listener::tls_inspector {
namespace {

namespace pb = envoy::extensions::filters::listener::tls_inspector::v3;
using Answer = ListenerFilter::Answer;

// What OpenSSL says first.
std::string clientHello(const char* name, std::string_view alpn) {
  SSL_CTX* ctx = SSL_CTX_new(TLS_client_method());
  SSL* ssl = SSL_new(ctx);
  BIO* out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
  if (name != nullptr) SSL_set_tlsext_host_name(ssl, name);
  if (!alpn.empty()) SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(alpn.data()), static_cast<unsigned>(alpn.size()));
  SSL_connect(ssl);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out, &data);
  std::string hello(data, static_cast<size_t>(size));
  SSL_free(ssl);
  SSL_CTX_free(ctx);
  return hello;
}

class NoNames final : public RouteTableNames {
 public:
  config::RouteTableId idOfInline() override { return {}; }
  config::RouteTableId idOfRds(std::string_view, std::string_view) override { return {}; }
};

class TlsInspectorTest : public ::testing::Test {
 protected:
  std::shared_ptr<const ListenerFilterFactory> parse() {
    config::ParseContext context{problems_, names_, stats_, {}};
    Registry registry;
    ListenerNeeds needs;
    NoNames no_names;
    FilterContext filter{context, registry, no_names, needs, "listener.a.", {}, {}};
    return parseTlsInspector(kTypeName, in_.SerializeAsString(), filter);
  }
  // The bytes in pieces of `step`, then the end if `eof`.
  Answer look(std::string_view bytes, size_t step = SIZE_MAX, bool eof = false) {
    const auto factory = parse();
    const auto filter = factory->make();
    found_ = {};
    for (size_t n = std::min(step, bytes.size());; n = std::min(n + step, bytes.size())) {
      const Answer answer = filter->onBytes(bytes.substr(0, n), false, found_);
      if (answer != Answer::kMore) return answer;
      if (n == bytes.size()) return eof ? filter->onBytes(bytes, true, found_) : answer;
    }
  }
  uint64_t count(TlsInspectorStat stat) { return counters_.read(stat); }

  pb::TlsInspector in_;
  config::Problems problems_;
  config::NameTable names_;
  stats::Store stats_;
  TlsInspectorStats counters_{stats_.scope("tls_inspector.", kTlsInspectorTable)};  // held: they die with their last user
  FirstBytes found_;
};

TEST_F(TlsInspectorTest, FindsNameAndProtocolsHoweverTheBytesCome) {
  const std::string hello = clientHello("Shop.Example.com", "\x02h2\x08http/1.1");
  for (const size_t step : {size_t{1}, size_t{7}, size_t{100}, hello.size()}) {
    EXPECT_EQ(look(hello, step), Answer::kDone) << step;
    EXPECT_EQ(found_.transport_protocol, "tls");
    EXPECT_EQ(found_.server_name, "shop.example.com");
    EXPECT_EQ(found_.application_protocols, (std::vector<std::string>{"h2", "http/1.1"}));
  }
  EXPECT_EQ(count(TlsInspectorStat::kTlsFound), 4u);
  EXPECT_EQ(count(TlsInspectorStat::kSniFound), 4u);
  EXPECT_EQ(count(TlsInspectorStat::kAlpnFound), 4u);
}

TEST_F(TlsInspectorTest, NothingIsToldThatIsNotThere) {
  EXPECT_EQ(look(clientHello(nullptr, "")), Answer::kDone);
  EXPECT_EQ(found_.transport_protocol, "tls");
  EXPECT_EQ(found_.server_name, "");
  EXPECT_EQ(count(TlsInspectorStat::kSniNotFound), 1u);
  EXPECT_EQ(count(TlsInspectorStat::kAlpnNotFound), 1u);
}

TEST_F(TlsInspectorTest, PlainTextIsKnownByItsFirstByte) {
  EXPECT_EQ(look("G"), Answer::kDone);
  EXPECT_EQ(found_.transport_protocol, "");
  EXPECT_EQ(count(TlsInspectorStat::kTlsNotFound), 1u);
}

TEST_F(TlsInspectorTest, HalfAHelloIsWaitedForUntilTheEnd) {
  const std::string hello = clientHello("a.test", "");
  EXPECT_EQ(look(std::string_view(hello).substr(0, 40)), Answer::kMore);
  EXPECT_EQ(look(std::string_view(hello).substr(0, 40), 40, true), Answer::kDone);
  EXPECT_EQ(count(TlsInspectorStat::kTlsNotFound), 1u);
}

TEST_F(TlsInspectorTest, ErrorsCloseWhenAskedTo) {
  std::string hello = clientHello("a.test", "");
  hello[9] = 1;  // the version
  EXPECT_EQ(look(hello), Answer::kDone);
  in_.set_close_connection_on_client_hello_parsing_errors(true);
  EXPECT_EQ(look(hello), Answer::kClose);
  EXPECT_EQ(look("GET / HTTP/1.1"), Answer::kDone) << "plain text is no error";
}

TEST_F(TlsInspectorTest, ItGivesUpAtItsLimit) {
  in_.mutable_max_client_hello_size()->set_value(100);
  EXPECT_EQ(look(clientHello("a.test", ""), 10), Answer::kDone);
  EXPECT_EQ(found_.transport_protocol, "");
  EXPECT_EQ(count(TlsInspectorStat::kClientHelloTooLarge), 1u);
  EXPECT_EQ(parse()->mostBytes(), 100u);
  in_.mutable_max_client_hello_size()->set_value(70'000);
  EXPECT_EQ(parse(), nullptr);
  EXPECT_EQ(problems_.str(), "max_client_hello_size: '70000': is out of range; 1 to 16384");
}

}  // namespace
}  // namespace outrider::filter::listener::tls_inspector
