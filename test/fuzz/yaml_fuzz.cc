// Any bytes as a bootstrap (text, binary or text format): read, checked (also by its bytes), located, printed, and read again; the
// second message must equal the first.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/message_differencer.h"
#include "source/config/document.h"
#include "source/config/json_print.h"
#include "source/config/schema.h"
#include "source/config/validate.h"
#include "source/config/yaml.h"

using envoy::config::bootstrap::v3::Bootstrap;
using namespace outrider::config;

namespace {

// A Struct read as a document says the same as the Struct; one out of a binary message may hold what is no value, such as a null of
// another number.
void structTwice(const google::protobuf::Struct& in, bool of_text) {
  const auto document = Document::fromStruct(in);
  google::protobuf::Struct out;
  UnknownFields unknown;
  Problems problems;
  if (!toMessage(*document, out, unknown, problems)) {
    if (problems.str().find("nested too deeply") == std::string::npos) std::abort();
    return;
  }
  if (!of_text || google::protobuf::util::MessageDifferencer::Equivalent(in, out)) return;
  if (in.DebugString().find("nan") == std::string::npos && in.DebugString().find("inf") == std::string::npos) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Checker checker;
  static const bool quiet = (routeProtobufLog(), true);
  (void)quiet;
  if (size == 0) return 0;
  // The first byte chooses the mode, the rest is the text.
  const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  UnknownFields unknown;
  unknown.allow = (data[0] & 1) != 0;
  Bootstrap message;
  Problems problems;
  const char* const name = (data[0] & 2) != 0 ? "fuzz.pb" : (data[0] & 4) != 0 ? "fuzz.pb_text" : "fuzz";
  const Parsed parsed = parseContent(text, name, message, unknown, problems);
  if (parsed.ok != problems.empty()) std::abort();
  const bool binary = parsed.document == nullptr && std::string(name) != "fuzz.pb_text";
  problems.setLocator(parsed.document.get());
  const bool valid = checker.check(message, problems);
  problems.setLocator(nullptr);
  (void)problems.str();
  if (!parsed.ok) return 0;
  // The check of the bytes may not overlook what the check of the message sees.
  Problems by_bytes;
  if (checker.check(message, binary ? text : message.SerializeAsString(), by_bytes) != valid) std::abort();
  // With secrets hidden, for the printer's sake. Zeros and line ends, by contrast, may change nothing in what is read again.
  (void)toJson(message);
  structTwice(message.node().metadata(), parsed.document != nullptr);
  const std::string json = toJson(message, {.zeros = (data[0] & 8) != 0, .compact = (data[0] & 8) != 0});
  if (parsed.document == nullptr) return 0;  // a binary message may hold what text cannot
  Bootstrap again;
  UnknownFields none;
  Problems more;
  if (!parseContent(json, "again", again, none, more).ok) {
    // Levels: the text's own are counted from its root, an Any's anew.
    if (more.str().find("nested too deeply") != std::string::npos) return 0;
    std::abort();
  }
  if (!google::protobuf::util::MessageDifferencer::Equivalent(message, again)) {
    if (json.find("NaN") == std::string::npos) std::abort();
  }
  return 0;
}
