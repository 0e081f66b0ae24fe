#include "source/upstream/call/grpc_frames.h"

namespace outrider::upstream {

void appendGrpcMessage(std::string_view message, base::Buffer& out) {
  const auto size = static_cast<uint32_t>(message.size());
  const char prefix[kGrpcPrefix] = {0, static_cast<char>(size >> 24), static_cast<char>(size >> 16), static_cast<char>(size >> 8),
                                    static_cast<char>(size)};
  out.append(std::string_view(prefix, sizeof prefix));
  out.append(message);
}

GrpcReader::Next GrpcReader::next(base::Buffer& in, base::Buffer& out) const {
  out.clear();
  if (in.size() < kGrpcPrefix) return Next::kMore;
  unsigned char prefix[kGrpcPrefix];
  in.copyOut(kGrpcPrefix, reinterpret_cast<char*>(prefix));
  if (prefix[0] != 0) return Next::kCompressed;
  const size_t size = size_t{prefix[1]} << 24 | size_t{prefix[2]} << 16 | size_t{prefix[3]} << 8 | prefix[4];
  if (size > most_) return Next::kTooBig;
  if (in.size() < kGrpcPrefix + size) return Next::kMore;
  in.drain(kGrpcPrefix);
  out.move(in, size);
  return Next::kMessage;
}

GrpcStatus grpcStatusOfHttp(uint16_t status) {
  switch (status) {
    case 400: return GrpcStatus::kInternal;
    case 401: return GrpcStatus::kUnauthenticated;
    case 403: return GrpcStatus::kPermissionDenied;
    case 404: return GrpcStatus::kUnimplemented;
    case 429:
    case 502:
    case 503:
    case 504: return GrpcStatus::kUnavailable;
    default: return GrpcStatus::kUnknown;
  }
}

std::string decodeGrpcMessage(std::string_view encoded) {
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::string out;
  out.reserve(encoded.size());
  for (size_t i = 0; i < encoded.size(); ++i) {
    if (encoded[i] == '%' && i + 2 < encoded.size() && digit(encoded[i + 1]) >= 0 && digit(encoded[i + 2]) >= 0) {
      out += static_cast<char>(digit(encoded[i + 1]) * 16 + digit(encoded[i + 2]));
      i += 2;
    } else {
      out += encoded[i];
    }
  }
  return out;
}

}  // namespace outrider::upstream
