// However the bytes come, the answer is the same, and nothing is read beyond them.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "source/base/check.h"
#include "source/tls/client_hello.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using outrider::tls::ClientHelloReader;
  if (size == 0) return 0;
  const size_t step = 1 + data[0] % 64;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  ClientHelloReader at_once;
  const auto answer = at_once.read(text);
  ClientHelloReader in_pieces;
  auto piecewise = ClientHelloReader::Answer::kMore;
  for (size_t n = 0;; n = std::min(n + step, text.size())) {
    piecewise = in_pieces.read(text.substr(0, n));
    if (piecewise != ClientHelloReader::Answer::kMore || n == text.size()) break;
  }
  // Very long inputs may meet the limit at another byte; what is found is found either way.
  if (text.size() < ClientHelloReader::kMostBytes) OUTRIDER_CHECK(answer == piecewise);
  if (answer == ClientHelloReader::Answer::kFound && piecewise == answer) {
    OUTRIDER_CHECK(at_once.serverName() == in_pieces.serverName());
    OUTRIDER_CHECK(at_once.protocols() == in_pieces.protocols());
  }
  return 0;
}
