// What a steady exchange over TLS may cost: no allocation of ours, none of OpenSSL's that reaches the allocator, one read and one write
// on either side. And what an idle connection holds.
#include <memory>
#include <string>
#include <vector>

#include <malloc.h>

#include "source/base/counted_new.h"
#include "source/event/io.h"
#include "source/tls/openssl_memory.h"
#include "source/tls/test_peers.h"

namespace {
const bool kept = outrider::tls::keepRecordBuffers();  // before OpenSSL's first allocation
}  // namespace

namespace outrider::tls {
namespace {

using base::counted::allocations;

class TlsBudget : public TlsTest {
 protected:
  void SetUp() override { ASSERT_TRUE(kept); }
  void warm(size_t request, size_t answer) {
    words_.assign(request, 'q');
    reply_.assign(answer, 'a');
    connect();
    server_->keep = client_->keep = false;
    server_->heard = [this] {
      if (server_->received == words_.size() * rounds_) server_->say(reply_);
    };
    for (int i = 0; i < 8; ++i) exchange();
  }
  void exchange() {
    ++rounds_;
    client_->say(words_);
    turns();
  }

  std::string words_, reply_;
  size_t rounds_ = 0;
};

TEST_F(TlsBudget, ASteadySmallExchangeAllocatesNothingAndReadsAndWritesOnceASide) {
  for (const auto version : {config::TlsVersion::kTls12, config::TlsVersion::kTls13}) {
    client_spec_.common.params.max = version;
    rounds_ = 0;
    warm(120, 1200);
    const size_t received = client_->received;
    const OpensslMemory openssl = opensslMemory();
    const size_t ours = allocations;
    const event::io::Calls calls = event::io::calls;
    constexpr size_t kRounds = 100;
    for (size_t i = 0; i < kRounds; ++i) exchange();
    EXPECT_EQ(client_->received - received, kRounds * 1200);
    EXPECT_EQ(allocations - ours, 0u);
    // The library asks for a write and a read buffer on either side, which are at hand, and for a few pieces of 40 bytes.
    RecordProperty("openssl_asked", static_cast<int>((opensslMemory().asked - openssl.asked) / kRounds));
    RecordProperty("openssl_allocated", static_cast<int>((opensslMemory().allocated - openssl.allocated) / kRounds));
    EXPECT_LE(opensslMemory().allocated - openssl.allocated, kRounds * (version == config::TlsVersion::kTls13 ? 10 : 4));
    EXPECT_EQ(opensslMemory().asked - openssl.asked, opensslMemory().allocated - openssl.allocated + kRounds * 4);
    EXPECT_EQ(event::io::calls.writes - calls.writes, kRounds * 2);
    EXPECT_EQ(event::io::calls.reads - calls.reads, kRounds * 2);
  }
}

TEST_F(TlsBudget, AnIdleConnectionHoldsLittle) {
  warm(120, 1200);
  client_.reset();
  server_.reset();
  constexpr int kPairs = 50, kWarm = 10;
  std::vector<std::unique_ptr<Peer>> held;
  held.reserve(2 * (kWarm + kPairs));
  const auto inUse = [] {
    const struct mallinfo2 now = ::mallinfo2();
    return now.uordblks + now.hblkhd;
  };
  size_t before = 0;
  for (int i = -kWarm; i < kPairs; ++i) {
    if (i == 0) before = inUse();
    server_.release();  // NOLINT(bugprone-unused-return-value): held below
    client_.release();
    connect();
    client_->say(words_);
    server_->say(reply_);
    turns();
    ASSERT_EQ(client_->received, reply_.size());
    held.emplace_back(server_.get());
    held.emplace_back(client_.get());
  }
  const size_t each = (inUse() - before) / kPairs;
  RecordProperty("bytes_of_both_ends", static_cast<int>(each));
  // Both ends with the sessions that they keep; measured 53 KiB, of which OpenSSL's objects are nearly all.
  EXPECT_LE(each, 58u * 1024);
  server_.release();
  client_.release();
}

}  // namespace
}  // namespace outrider::tls
