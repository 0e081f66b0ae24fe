#include "source/tls/client_hello.h"

#include <string>

#include <gtest/gtest.h>
#include <openssl/ssl.h>

namespace outrider::tls {
namespace {

using Answer = ClientHelloReader::Answer;

std::string sized(std::string_view text, int bytes) {
  std::string out;
  for (int i = bytes; i-- > 0;) out += static_cast<char>(text.size() >> (8 * i));
  return out.append(text);
}
std::string extension(int type, std::string_view data) {
  return std::string{static_cast<char>(type >> 8), static_cast<char>(type)} + sized(data, 2);
}
std::string name(std::string_view text) { return extension(0, sized(std::string(1, '\0') + sized(text, 2), 2)); }
std::string record(std::string_view body) { return "\x16\x03\x01" + sized(body, 2); }
std::string message(std::string_view extensions) {
  const std::string body = std::string("\x03\x03") + std::string(32, 'r') + sized("", 1) + sized("\x13\x01", 2) +
                           sized(std::string(1, '\0'), 1) + sized(extensions, 2);
  return "\x01" + sized(body, 3);
}
std::string hello(std::string_view extensions) { return record(message(extensions)); }

std::string fromOpenssl(const char* sni, std::string_view alpn) {
  SSL_CTX* ctx = SSL_CTX_new(TLS_client_method());
  SSL* ssl = SSL_new(ctx);
  BIO* out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
  SSL_set_connect_state(ssl);
  if (sni != nullptr) SSL_set_tlsext_host_name(ssl, sni);
  if (!alpn.empty()) SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(alpn.data()), static_cast<unsigned>(alpn.size()));
  SSL_do_handshake(ssl);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out, &data);
  std::string text(data, static_cast<size_t>(size));
  SSL_free(ssl);
  SSL_CTX_free(ctx);
  return text;
}

TEST(ClientHello, TellsNameAndProtocolsOfARealClient) {
  ClientHelloReader reader;
  ASSERT_EQ(reader.read(fromOpenssl("WWW.Example.com", "\x02h2\x08http/1.1")), Answer::kFound);
  EXPECT_EQ(reader.serverName(), "www.example.com");
  EXPECT_EQ(reader.protocols(), (std::vector<std::string>{"h2", "http/1.1"}));
}

TEST(ClientHello, ARealClientWithoutBothIsStillTls) {
  ClientHelloReader reader;
  ASSERT_EQ(reader.read(fromOpenssl(nullptr, "")), Answer::kFound);
  EXPECT_EQ(reader.serverName(), "");
  EXPECT_TRUE(reader.protocols().empty());
}

TEST(ClientHello, AnswersTheSameWhereverItIsCut) {
  const std::string whole = fromOpenssl("a.test", "\x02h2");
  ClientHelloReader reader;
  for (size_t n = 0; n < whole.size(); ++n) ASSERT_EQ(reader.read(std::string_view(whole).substr(0, n)), Answer::kMore) << n;
  ASSERT_EQ(reader.read(whole), Answer::kFound);
  EXPECT_EQ(reader.serverName(), "a.test");
  EXPECT_EQ(reader.protocols(), std::vector<std::string>{"h2"});
}

TEST(ClientHello, MayBeSpreadOverRecordsOfOneByte) {
  std::string spread;
  for (const char c : message(name("a.test"))) spread += record(std::string(1, c));
  ClientHelloReader at_once;
  ASSERT_EQ(at_once.read(spread), Answer::kFound);
  EXPECT_EQ(at_once.serverName(), "a.test");
  ClientHelloReader bit_by_bit;
  for (size_t n = 0; n < spread.size(); ++n) ASSERT_EQ(bit_by_bit.read(std::string_view(spread).substr(0, n)), Answer::kMore) << n;
  ASSERT_EQ(bit_by_bit.read(spread), Answer::kFound);
  EXPECT_EQ(bit_by_bit.serverName(), "a.test");
}

TEST(ClientHello, WhatFollowsItDoesNotMatter) {
  ClientHelloReader reader;
  EXPECT_EQ(reader.read(hello(name("a.test")) + "early data"), Answer::kFound);
}

struct Row {
  const char* what;
  std::string bytes;
  Answer answer;
};

TEST(ClientHello, Table) {
  const std::string zero(1, '\0');
  const Row rows[] = {
      {"nothing", "", Answer::kMore},
      {"HTTP", "GET / HTTP/1.1\r\n\r\n", Answer::kNotTls},
      {"one byte that is not TLS", "G", Answer::kNotTls},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Answer::kNotTls},
      {"SSLv2 hello", "\x80\x2e\x01\x03\x01", Answer::kNotTls},
      {"SSLv2 record version", "\x16\x02", Answer::kNotTls},
      {"an alert", "\x15\x03\x01" + sized("\x01\x00", 2), Answer::kNotTls},
      {"an empty record", "\x16\x03\x01" + zero + zero, Answer::kNotTls},
      {"a record of 64 KiB", "\x16\x03\x01\xff\xff\x01", Answer::kNotTls},
      {"a server's hello", record("\x02" + sized("abc", 3)), Answer::kNotTls},
      {"no extensions", hello(""), Answer::kFound},
      {"unknown extensions, GREASE", hello(extension(0x1a1a, "") + extension(0xff01, zero) + name("b.test")), Answer::kFound},
      {"two names in one extension", hello(extension(0, sized(zero + sized("a", 2) + zero + sized("b", 2), 2))), Answer::kBad},
      {"two name extensions", hello(name("a") + name("b")), Answer::kBad},
      {"an empty name", hello(name("")), Answer::kBad},
      {"an empty list of names", hello(extension(0, sized("", 2))), Answer::kBad},
      {"a name of 255 bytes", hello(name(std::string(255, 'a'))), Answer::kFound},
      {"a name of 300 bytes", hello(name(std::string(300, 'a'))), Answer::kBad},
      {"a name with a zero byte", hello(name("a.test" + zero + ".evil")), Answer::kBad},
      {"an address as name", hello(name("127.0.0.1")), Answer::kFound},
      {"bytes behind the list of names", hello(extension(0, sized(zero + sized("a", 2), 2) + "x")), Answer::kBad},
      {"an empty protocol", hello(extension(16, sized(zero, 2))), Answer::kBad},
      {"protocols that overrun", hello(extension(16, sized("\x05h2", 2))), Answer::kBad},
      {"an extension that overruns", hello("\x12\x34" + zero + "\x09" + "short"), Answer::kBad},
      {"16 KiB of extensions", hello(extension(21, std::string(15000, 'p')) + name("a.test")), Answer::kFound},
      {"a hello of 1 MiB", record("\x01\x10" + zero + zero), Answer::kBad},
      {"a second record of another kind", record("\x01") + "\x15\x03\x01" + sized("ab", 2), Answer::kBad},
  };
  for (const Row& row : rows) {
    ClientHelloReader reader;
    EXPECT_EQ(reader.read(row.bytes), row.answer) << row.what;
    // The verdict does not depend on how the bytes came; once it fell it fell.
    ClientHelloReader slow;
    Answer answer = Answer::kMore;
    for (size_t n = 0; n <= row.bytes.size() && answer == Answer::kMore; ++n) answer = slow.read(std::string_view(row.bytes).substr(0, n));
    EXPECT_EQ(answer, row.answer) << row.what << ", byte by byte";
  }
}

TEST(ClientHello, GivesUpAtItsLimit) {
  std::string endless;
  const std::string big = "\x01" + sized(std::string(20000, 'x'), 3);
  for (const char c : big) endless += record(std::string(1, c));
  ClientHelloReader reader;
  EXPECT_EQ(reader.read(endless), Answer::kBad);
}

}  // namespace
}  // namespace outrider::tls
