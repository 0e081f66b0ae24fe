#include "source/http/h1/body_reader.h"

#include <algorithm>

namespace outrider::http::h1 {
namespace {

bool fail(CodecError& error, std::string_view details, uint16_t status = 400) {
  error.status = status;
  error.details = details;
  return false;
}
bool codecError(CodecError& error) { return fail(error, "http1.codec_error"); }

int hexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  if (lower >= 'a' && lower <= 'f') return lower - 'a' + 10;
  return -1;
}

bool allowed(bool lenient, LenientKind kind, Counters& counters) {
  if (!lenient) counters.refused(kind);
  return lenient;
}

}  // namespace

void BodyReader::start(const Framing& framing) {
  framing_ = framing;
  remaining_ = framing.length;
  phase_ = Phase::kSize;
  digits_ = extension_ = extensions_ = 0;
  if (framing.body == Framing::Body::kChunked) remaining_ = 0;
}

BodyReader::Status BodyReader::read(base::Buffer& in, base::Buffer& out, const Settings& settings, Counters& counters, CodecError& error) {
  switch (framing_.body) {
    case Framing::Body::kNone: return Status::kDone;
    case Framing::Body::kLength: {
      const size_t n = static_cast<size_t>(std::min<uint64_t>(remaining_, in.size()));
      out.move(in, n);
      remaining_ -= n;
      return remaining_ == 0 ? Status::kDone : Status::kMore;
    }
    case Framing::Body::kChunked: return readChunked(in, out, settings, counters, error);
    case Framing::Body::kUntilClose:
    case Framing::Body::kTunnel: out.move(in); return Status::kMore;
  }
  OUTRIDER_UNREACHABLE();
}

BodyReader::Status BodyReader::readChunked(base::Buffer& in, base::Buffer& out, const Settings& settings, Counters& counters,
                                           CodecError& error) {
  while (!in.empty()) {
    if (phase_ == Phase::kData) {
      const size_t n = static_cast<size_t>(std::min<uint64_t>(remaining_, in.size()));
      out.move(in, n);
      remaining_ -= n;
      if (remaining_ > 0) return Status::kMore;
      phase_ = Phase::kDataCr;
      continue;
    }
    if (phase_ == Phase::kTrailers) {
      switch (finder_.find(in, settings.max_head_bytes)) {
        case HeadFinder::Found::kMore: return Status::kMore;
        case HeadFinder::Found::kBareCr: fail(error, "http1.invalid_characters"); return Status::kError;
        case HeadFinder::Found::kTooLarge: fail(error, "http1.headers_too_large", 431); return Status::kError;
        case HeadFinder::Found::kEnd: break;
      }
      if (finder_.size() > 2) return Status::kTrailers;
      // Only an empty line. LF alone is no end of a chunked body, not even where heads may have it.
      if (finder_.size() == 1) {
        codecError(error);
        return Status::kError;
      }
      in.drain(2);
      return Status::kDone;
    }
    // Framing bytes: within the front piece, until data or trailers begin.
    const std::string_view piece = in.front();
    size_t at = 0;
    while (at < piece.size() && phase_ != Phase::kData && phase_ != Phase::kTrailers) {
      if (!frameByte(piece[at], settings, counters, error)) return Status::kError;
      ++at;
    }
    in.drain(at);
  }
  return Status::kMore;
}

bool BodyReader::frameByte(char c, const Settings& settings, Counters& counters, CodecError& error) {
  switch (phase_) {
    case Phase::kSize:
    case Phase::kSizeSpace: return sizeByte(c, settings, counters, error);
    case Phase::kExtension: return extensionByte(c, settings, counters, error);
    case Phase::kSizeLf:
      if (c != '\n') return codecError(error);
      digits_ = 0;
      extension_ = 0;
      if (remaining_ == 0) {
        phase_ = Phase::kTrailers;
        finder_.start(true);
      } else {
        phase_ = Phase::kData;
      }
      return true;
    case Phase::kDataCr:
      if (c == '\r') {
        phase_ = Phase::kDataLf;
        return true;
      }
      if (c != '\n' || !allowed(settings.lenient.chunk_bare_lf, LenientKind::kChunkBareLf, counters)) return codecError(error);
      phase_ = Phase::kSize;
      return true;
    case Phase::kDataLf:
      if (c != '\n') return codecError(error);
      phase_ = Phase::kSize;
      return true;
    case Phase::kData:
    case Phase::kTrailers: break;
  }
  OUTRIDER_UNREACHABLE();
}

bool BodyReader::sizeByte(char c, const Settings& settings, Counters& counters, CodecError& error) {
  const int digit = phase_ == Phase::kSize ? hexDigit(c) : -1;
  if (digit >= 0) {
    if (digits_ >= kMostSizeDigits) {
      // Zeros in front change nothing, so only they may be let pass.
      if (remaining_ != 0) return codecError(error);
      if (!allowed(settings.lenient.chunk_size_zeros, LenientKind::kChunkSizeZeros, counters)) return codecError(error);
      digits_ = kMostSizeDigits - 1;
    }
    // While only zeros were read the count of digits says nothing about the value.
    ++digits_;
    if (remaining_ >> 58 != 0) return codecError(error);  // no room for another digit below 2^62
    remaining_ = remaining_ * 16 + static_cast<uint64_t>(digit);
    return true;
  }
  if (digits_ == 0) return codecError(error);
  switch (c) {
    case '\r': phase_ = Phase::kSizeLf; return true;
    case ';': phase_ = Phase::kExtension; return true;
    case ' ':
    case '\t':
      if (!allowed(settings.lenient.chunk_size_space, LenientKind::kChunkSizeSpace, counters)) return codecError(error);
      phase_ = Phase::kSizeSpace;
      return true;
    default: return codecError(error);
  }
}

bool BodyReader::extensionByte(char c, const Settings& settings, Counters& counters, CodecError& error) {
  if (c == '\r') {
    phase_ = Phase::kSizeLf;
    return true;
  }
  const auto byte = static_cast<unsigned char>(c);
  if ((byte < 0x20 && c != '\t') || byte == 0x7f) return codecError(error);
  ++extension_;
  ++extensions_;
  if ((extension_ > kMostExtension || extensions_ > kMostExtensions) &&
      !allowed(settings.lenient.chunk_extensions, LenientKind::kChunkExtensions, counters)) {
    return fail(error, "http1.chunk_extension_too_large");
  }
  return true;
}

}  // namespace outrider::http::h1
