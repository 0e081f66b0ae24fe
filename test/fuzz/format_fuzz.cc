// Any text as a substitution format: it compiles or says where it does not; what compiles prints, twice the same, as text and in JSON.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "source/format/format.h"
#include "source/format/json_format.h"

using namespace outrider;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto compiled = format::Format::compile(text);
  if (!compiled.ok()) return 0;
  base::Arena* arena = base::Arena::create();
  {
    http::RequestHead request(*arena);
    request.method = "GET";
    request.path = "/a?b=%41%0a%&c&=d%4#e";
    request.headers.add("x-a", "\xff\"\n%REQ(x)%");
    http::ResponseHead response(*arena);
    stream::ConnectionInfo connection;
    connection.hello().server_name = "a\"b";
    stream::StreamInfo info;
    info.connection = &connection;
    info.start_wall = -1;
    info.start = 5;
    info.end = 3;
    const format::Input input{&request, &response, nullptr, info};
    format::Text once, twice;
    compiled->print(input, once);
    // EMIT_TIME and UNIQUE_ID are the only operators that may differ.
    if (text.find("EMIT_TIME") == std::string_view::npos && text.find("UNIQUE_ID") == std::string_view::npos) {
      compiled->print(input, twice);
      if (once.view() != twice.view()) std::abort();
    }
    if (text.find('%') == std::string_view::npos && once.view() != text) std::abort();
    format::JsonNode node;
    node.kind = format::JsonNode::Kind::kString;
    node.text = text;
    const auto json = format::JsonFormat::compile(node);
    if (!json.ok()) std::abort();
    format::Text line;
    json->print(input, line);
    if (line.view().empty() || line.view().back() != '\n') std::abort();
    for (const char c : line.view().substr(0, line.size() - 1)) {
      if (static_cast<unsigned char>(c) < 0x20) std::abort();  // all control bytes are escaped
    }
  }
  arena->unref();
  return 0;
}
