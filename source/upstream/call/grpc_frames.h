// gRPC's framing: a byte that says whether the message is compressed, four bytes of length, the message.
// Thread: its owner's. No I/O. Units: bytes. Source: gRPC over HTTP/2, "Length-Prefixed-Message".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "source/base/buffer.h"

namespace outrider::upstream {

inline constexpr size_t kGrpcPrefix = 5;

// Appends one uncompressed message; at most 4 GiB - 1.
void appendGrpcMessage(std::string_view message, base::Buffer& out);

// Takes messages out of a line of bytes, however they were cut.
class GrpcReader final {
 public:
  enum class Next : uint8_t {
    kMore,  // no whole message yet
    kMessage,
    kTooBig,      // above the limit; nothing more can be read
    kCompressed,  // no encoding was offered, so the peer is wrong; nothing more can be read
  };
  explicit GrpcReader(size_t most) : most_(most) {}
  // Moves the next message's bytes from `in` to `out` (which is cleared first).
  [[nodiscard]] Next next(base::Buffer& in, base::Buffer& out) const;

 private:
  const size_t most_;
};

// A status as gRPC counts them. Only those that a client makes itself have names here.
enum class GrpcStatus : uint32_t {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kDeadlineExceeded = 4,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kUnauthenticated = 16,
};
// What a response without grpc-status means: gRPC's "HTTP to gRPC status code mapping".
GrpcStatus grpcStatusOfHttp(uint16_t status);

// Undoes the percent encoding of grpc-message. Bad escapes stay as they are.
std::string decodeGrpcMessage(std::string_view encoded);

}  // namespace outrider::upstream
