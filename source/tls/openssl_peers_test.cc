// Our sessions against the `openssl` program, which has its own idea of both ends.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "source/tls/test_peers.h"

namespace outrider::tls {
namespace {

// A child process with pipes; ended by its own id when it goes out of scope.
class Child final {
 public:
  explicit Child(std::vector<std::string> words) {
    int in[2];
    int out[2];
    EXPECT_EQ(::pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      ::dup2(out[1], 2);
      ::execvp(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    in_ = in[1];
    out_ = out[0];
    ::fcntl(out_, F_SETFL, O_NONBLOCK);
  }
  ~Child() {
    ::close(in_);
    ::close(out_);
    if (!over_) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  void say(std::string_view words) { EXPECT_EQ(::write(in_, words.data(), words.size()), static_cast<ssize_t>(words.size())); }
  const std::string& heard() {
    char bytes[8192];
    ssize_t n;
    while ((n = ::read(out_, bytes, sizeof bytes)) > 0) text_.append(bytes, static_cast<size_t>(n));
    return text_;
  }
  bool over() {
    if (!over_ && ::waitpid(pid_, nullptr, WNOHANG) == pid_) over_ = true;
    return over_;
  }

 private:
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1;
  bool over_ = false;
  std::string text_;
};

class OpensslTest : public TlsTest, public event::IoHandler {
 protected:
  OpensslTest() {
    std::string name = ::testing::TempDir() + "outrider_tls_XXXXXX";
    dir_ = ::mkdtemp(name.data());
    put("ca.pem", authority_.pem());
  }
  ~OpensslTest() override {
    if (listening_ >= 0) {
      loop_.remove(listening_, *this);
      ::close(listening_);
    }
    for (const std::string& file : files_) ::unlink(file.c_str());
    ::rmdir(dir_.c_str());
  }
  std::string put(const std::string& name, const std::string& text) {
    const std::string path = dir_ + "/" + name;
    std::ofstream(path) << text;
    files_.push_back(path);
    return path;
  }
  // Our server, on a port of its own.
  std::string listen() {
    listening_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listening_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(listening_, 8), 0);
    socklen_t size = sizeof at;
    ::getsockname(listening_, reinterpret_cast<sockaddr*>(&at), &size);
    loop_.add(listening_, *this, EPOLLIN);
    return "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
  }
  void onReady(uint32_t) override {
    const int fd = ::accept4(listening_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    ++accepted_;
    server_ = std::make_unique<Peer>(loop_, fd, makeServerTransport(serverContext(), server_stats_));
  }
  std::vector<std::string> client(const std::string& at, std::vector<std::string> more = {}) {
    std::vector<std::string> out = {
        "openssl", "s_client", "-connect", at, "-servername", "server.test", "-CAfile", dir_ + "/ca.pem", "-verify_return_error", "-quiet"};
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }
  bool until(const std::function<bool()>& condition) {
    const base::Nanos end = base::SystemClock::instance().mono() + 10 * base::kSecond;
    while (!condition()) {
      if (base::SystemClock::instance().mono() > end) return false;
      loop_.turn(5);
    }
    return true;
  }

  std::string dir_;
  std::vector<std::string> files_;
  int listening_ = -1;
  int accepted_ = 0;
};

TEST_F(OpensslTest, AClientOfEachVersionTalks) {
  const std::string at = listen();
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    server_.reset();
    Child child(client(at, {version}));
    child.say("hello\n");
    ASSERT_TRUE(until([&] { return server_ != nullptr && server_->text == "hello\n"; })) << version << child.heard();
    server_->say("welcome\n");
    EXPECT_TRUE(until([&] { return child.heard().find("welcome") != std::string::npos; })) << version << child.heard();
    EXPECT_EQ(server_->security().version, version[6] == '2' ? "TLSv1.2" : "TLSv1.3");
  }
}

TEST_F(OpensslTest, AClientWithACertificateIsKnown) {
  server_spec_.require_client_certificate = true;
  server_spec_.common.validation.emplace();
  server_spec_.common.validation->trusted_ca = inlined(authority_.pem());
  const testing::Pair pair = authority_.issue({.common_name = "me", .sans = "URI:spiffe://mesh/me"});
  const std::string cert = put("me.pem", pair.certificate);
  const std::string key = put("me.key", pair.key);
  Child child(client(listen(), {"-cert", cert, "-key", key}));
  ASSERT_TRUE(until([&] { return server_ != nullptr && server_->connected; })) << child.heard();
  EXPECT_EQ(server_->security().peer_uri_sans, std::vector<std::string>{"spiffe://mesh/me"});
  EXPECT_EQ(server_->security().peer_subject, "CN=me");
}

// SECURITY.md 267, 268, 269, 270
TEST_F(OpensslTest, WeakHandshakesAreRefused) {
  const std::string at = listen();
  const std::vector<std::string> rows[] = {
      {"-tls1", "-cipher", "DEFAULT@SECLEVEL=0"},
      {"-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"},
      {"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:AES128-SHA:AES128-GCM-SHA256"},
      {"-tls1_2", "-cipher", "NULL:eNULL:aNULL:@SECLEVEL=0"},
      {"-tls1_2", "-fallback_scsv"},
  };
  uint64_t errors = 0;
  for (const auto& row : rows) {
    server_.reset();
    Child child(client(at, row));
    EXPECT_TRUE(until([&] { return child.over(); })) << row[0];
    turns();
    ASSERT_NE(server_, nullptr);
    EXPECT_FALSE(server_->connected) << row[0];
    EXPECT_EQ(serverStat(SslStat::kConnectionError), ++errors) << row[0] << ' ' << server_->failure;
  }
}

TEST_F(OpensslTest, ThereIsNoSecondHandshakeOnAConnection) {
  auto words = client(listen(), {"-tls1_2"});
  std::erase(words, "-quiet");
  Child child(words);
  ASSERT_TRUE(until([&] { return server_ != nullptr && server_->connected; }));
  child.say("R\n");
  EXPECT_TRUE(until([&] { return child.over(); })) << child.heard();
  EXPECT_NE(child.heard().find("no renegotiation"), std::string::npos) << child.heard();
  EXPECT_EQ(serverStat(SslStat::kHandshake), 1u);
}

// SECURITY.md 266
TEST_F(OpensslTest, EarlyDataIsNotOffered) {
  auto words = client(listen(), {"-tls1_3", "-msg"});  // -msg makes it flush what it says of tickets
  std::erase(words, "-quiet");
  Child child(words);
  ASSERT_TRUE(until([&] { return server_ != nullptr && server_->connected; }));
  server_->say("x\n");
  EXPECT_TRUE(until([&] { return child.heard().find("Max Early Data") != std::string::npos; })) << child.heard();
  EXPECT_NE(child.heard().find("Max Early Data: 0"), std::string::npos) << child.heard();
}

// SECURITY.md 275
TEST_F(OpensslTest, ProtocolsAreAgreedOn) {
  server_spec_.common.alpn = {"h2", "http/1.1"};
  const std::string at = listen();
  for (const auto& [offer, chosen] : {std::pair{"h2", "h2"}, {"http/1.1", "http/1.1"}, {"http/1.1,h2", "h2"}, {"smtp", ""}}) {
    server_.reset();
    Child child(client(at, {"-alpn", offer}));
    ASSERT_TRUE(until([&] { return server_ != nullptr && server_->connected; })) << offer;
    EXPECT_EQ(server_->connection().transport().alpn(), chosen) << offer;
  }
}

TEST_F(OpensslTest, AKeyUpdateIsFollowed) {
  auto words = client(listen(), {"-tls1_3"});
  std::erase(words, "-quiet");
  Child child(words);
  ASSERT_TRUE(until([&] { return server_ != nullptr && server_->connected; }));
  child.say("K\n");  // a command of its own only when it is read alone
  EXPECT_TRUE(until([&] { return child.heard().find("KEYUPDATE") != std::string::npos; })) << child.heard();
  child.say("after\n");
  EXPECT_TRUE(until([&] { return server_->text == "after\n"; })) << server_->text;
  server_->say("welcome\n");
  EXPECT_TRUE(until([&] { return child.heard().find("welcome") != std::string::npos; }));
}

TEST_F(OpensslTest, OurClientTalksToAServer) {
  const testing::Pair pair = authority_.issue({.sans = "DNS:server.test"});
  const std::string cert = put("cert.pem", pair.certificate);
  const std::string key = put("cert.key", pair.key);
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    Child child({"openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", cert, "-key", key, "-rev", "-alpn", "h2,http/1.1", version});
    ASSERT_TRUE(until([&] { return child.heard().find("ACCEPT ") != std::string::npos && child.heard().back() == '\n'; }));
    const std::string& text = child.heard();
    const size_t colon = text.find(':', text.find("ACCEPT "));
    const auto remote = base::Address::parseIp("127.0.0.1", static_cast<uint16_t>(std::strtoul(text.c_str() + colon + 1, nullptr, 10)));
    ASSERT_TRUE(remote.has_value());
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(::connect(fd, remote->sockAddr(), remote->length()), 0);
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    client_spec_.common.alpn = {"http/1.1"};
    client_ = std::make_unique<Peer>(loop_, fd, makeClientTransport(clientContext(), client_stats_, {}));
    ASSERT_TRUE(until([&] { return client_->connected; })) << client_->failure;
    client_->say("hello\n");
    EXPECT_TRUE(until([&] { return client_->text == "olleh\n"; })) << client_->text;
    EXPECT_EQ(client_->security().alpn, "http/1.1");
    client_.reset();
  }
}

}  // namespace
}  // namespace outrider::tls
