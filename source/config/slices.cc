#include "source/config/slices.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

namespace outrider::config {

bool slice(std::string_view bytes, int field, Slices& out) {
  using google::protobuf::internal::WireFormatLite;
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
  const uint32_t wanted = WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  for (;;) {
    const auto start = static_cast<size_t>(in.CurrentPosition());
    const uint32_t tag = in.ReadTag();
    if (tag == 0) return start == bytes.size();
    if (tag == wanted) {
      uint32_t size = 0;
      if (!in.ReadVarint32(&size)) return false;
      const auto at = static_cast<size_t>(in.CurrentPosition());
      if (size > bytes.size() - at || !in.Skip(static_cast<int>(size))) return false;
      out.of.push_back(bytes.substr(at, size));
      continue;
    }
    if (!WireFormatLite::SkipField(&in, tag)) return false;
    out.rest += bytes.substr(start, static_cast<size_t>(in.CurrentPosition()) - start);
  }
}

}  // namespace outrider::config
