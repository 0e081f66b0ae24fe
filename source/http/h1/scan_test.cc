#include "source/http/h1/scan.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace outrider::http::h1 {
namespace {

std::vector<const Kernels*> vectorKernels() {
  std::vector<const Kernels*> all;
  for (const Kernels* each : {sse42Kernels(), avx2Kernels()}) {
    if (each != nullptr) all.push_back(each);
  }
  return all;
}

// Text in which line ends, blanks and odd bytes are frequent, so that every branch is met often.
std::string randomText(std::mt19937& random, size_t size) {
  static const std::string kAlphabet = "\r\n\r\n\n\r : \tabcXYZ_-09;=\"\x00\x01\x7f\x80\xff{}/@~";
  static const std::string kOften("aB-:\r\n ", 7);
  std::string text(size, ' ');
  for (char& c : text) {
    c = random() % 4 == 0 ? kAlphabet[random() % kAlphabet.size()] : kOften[random() % kOften.size()];
  }
  return text;
}
std::string randomHead(std::mt19937& random) {
  std::string head;
  const size_t lines = random() % 6;
  for (size_t i = 0; i < lines; ++i) {
    const size_t name = random() % 70;
    for (size_t k = 0; k < name; ++k) head += "abcXYZ_-09!~"[random() % 12];
    head += random() % 8 == 0 ? " :" : ":";
    const size_t value = random() % 90;
    for (size_t k = 0; k < value; ++k) head += random() % 200 == 0 ? static_cast<char>(random()) : "ab \t\x80~"[random() % 6];
    head += random() % 12 == 0 ? "\n" : "\r\n";
  }
  return head + "\r\n";
}

struct Padded {
  explicit Padded(const std::string& text) : bytes(text.size() + kPadding, '\0'), size(text.size()) {
    std::memcpy(bytes.data(), text.data(), text.size());
  }
  std::vector<char> bytes;
  size_t size;
};

struct Scanned {
  int kind;
  size_t end;
  bool operator==(const Scanned&) const = default;
};
Scanned scanInPieces(const Kernels& kernels, const std::string& text, const std::vector<size_t>& cuts) {
  ScanState state;
  size_t from = 0;
  for (const size_t to : cuts) {
    // A copy of its own, so that a read beyond the piece is seen by the sanitizer.
    const std::vector<char> piece(text.begin() + static_cast<long>(from), text.begin() + static_cast<long>(to));
    const ScanResult result = kernels.scan(piece.data(), piece.size(), state);
    if (result.kind != ScanResult::Kind::kMore) return {static_cast<int>(result.kind), from + result.size};
    from = to;
  }
  return {0, 0};
}

TEST(Scan, FindsTheBlankLineAndBareCr) {
  std::vector<const Kernels*> all = vectorKernels();
  all.push_back(&kScalarKernels);
  const struct {
    std::string text;
    ScanResult::Kind kind;
    size_t size;
  } cases[] = {
      {"GET / HTTP/1.1\r\n\r\n", ScanResult::Kind::kEnd, 18},
      {"GET / HTTP/1.1\r\nHost: h\r\n\r\nbody\r\n\r\n", ScanResult::Kind::kEnd, 27},
      {"a\n\nb", ScanResult::Kind::kEnd, 3},
      {"a\n\r\nb", ScanResult::Kind::kEnd, 4},
      {"a\r\n\nb", ScanResult::Kind::kEnd, 4},
      {"a\r\nb\r\n", ScanResult::Kind::kMore, 0},
      {"a\rb\r\n\r\n", ScanResult::Kind::kBareCr, 0},
      {"a\r\r\n\r\n", ScanResult::Kind::kBareCr, 0},
      {"a\r\n\r\nb\rc", ScanResult::Kind::kEnd, 5},
      {std::string(200, 'a') + "\r\n\r\n", ScanResult::Kind::kEnd, 204},
      {std::string(62, 'a') + "\r\n\r\n", ScanResult::Kind::kEnd, 66},
      {std::string(63, 'a') + "\r\n\r\n", ScanResult::Kind::kEnd, 67},
  };
  for (const Kernels* kernels : all) {
    for (const auto& each : cases) {
      for (size_t cut = 0; cut <= each.text.size(); ++cut) {
        const Scanned found = scanInPieces(*kernels, each.text, {cut, each.text.size()});
        EXPECT_EQ(found.kind, static_cast<int>(each.kind)) << kernels->name << " " << each.text;
        if (each.kind == ScanResult::Kind::kEnd) {
          EXPECT_EQ(found.end, each.size) << kernels->name << " " << each.text;
        }
      }
    }
  }
}

TEST(Scan, AgreesWithItsScalarTwinOnRandomBytesInRandomPieces) {
  std::mt19937 random(7);
  for (int round = 0; round < 30000; ++round) {
    const std::string text = randomText(random, random() % 300);
    std::vector<size_t> cuts;
    for (size_t at = 0; at < text.size();) cuts.push_back(at = std::min(text.size(), at + 1 + random() % 150));
    const Scanned expected = scanInPieces(kScalarKernels, text, {text.size()});
    ASSERT_EQ(scanInPieces(kScalarKernels, text, cuts).kind, expected.kind);
    for (const Kernels* kernels : vectorKernels()) {
      const Scanned got = scanInPieces(*kernels, text, cuts);
      ASSERT_EQ(got.kind, expected.kind) << kernels->name;
      if (expected.kind == static_cast<int>(ScanResult::Kind::kEnd)) {
        ASSERT_EQ(got.end, expected.end) << kernels->name;
      }
    }
  }
}

TEST(Scan, SplitsFieldsAsItsScalarTwin) {
  std::mt19937 random(11);
  for (int round = 0; round < 40000; ++round) {
    std::string text = round % 2 == 0 ? randomHead(random) : randomText(random, random() % 200) + "\r\n\r\n";
    if (round % 7 == 0 && !text.empty()) text[random() % text.size()] = static_cast<char>(random());
    const bool bare = random() % 2 == 0;
    const bool fold = random() % 2 == 0;
    Padded scalar(text);
    RawField expected[8];
    const FieldsResult want = kScalarKernels.fields(scalar.bytes.data(), scalar.bytes.data() + scalar.size, expected, 8, bare, fold);
    for (const Kernels* kernels : vectorKernels()) {
      Padded copy(text);
      RawField fields[8];
      const FieldsResult got = kernels->fields(copy.bytes.data(), copy.bytes.data() + copy.size, fields, 8, bare, fold);
      ASSERT_EQ(got.status, want.status) << kernels->name;
      ASSERT_EQ(got.count, want.count);
      if (got.status == FieldsStatus::kOk) {
        ASSERT_EQ(copy.bytes, scalar.bytes) << kernels->name;
      }
      for (uint32_t i = 0; i < got.count && got.status == FieldsStatus::kOk; ++i) {
        EXPECT_EQ(fields[i].name - copy.bytes.data(), expected[i].name - scalar.bytes.data());
        EXPECT_EQ(fields[i].value - copy.bytes.data(), expected[i].value - scalar.bytes.data());
        EXPECT_EQ(fields[i].name_size, expected[i].name_size);
        EXPECT_EQ(fields[i].value_size, expected[i].value_size);
        EXPECT_EQ(fields[i].underscore, expected[i].underscore);
      }
    }
  }
}

TEST(Scan, ClassifiesEveryByteLikeItsScalarTwinAtEveryPlace) {
  for (const Kernels* kernels : vectorKernels()) {
    for (int byte = 0; byte < 256; ++byte) {
      for (size_t at = 0; at < 70; ++at) {
        std::string text(80, 'a');
        text[at] = static_cast<char>(byte);
        text[79] = '\r';
        const Padded padded(text);
        ASSERT_EQ(kernels->uri(padded.bytes.data()), kScalarKernels.uri(padded.bytes.data())) << byte << " " << at;
        ASSERT_EQ(kernels->value(padded.bytes.data()), kScalarKernels.value(padded.bytes.data())) << byte << " " << at;
        ASSERT_EQ(kernels->controls(text.data(), at), kScalarKernels.controls(text.data(), at));
        ASSERT_EQ(kernels->controls(text.data(), text.size()), kScalarKernels.controls(text.data(), text.size()));
      }
    }
  }
}

}  // namespace
}  // namespace outrider::http::h1
