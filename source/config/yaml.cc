#include "source/config/yaml.h"

#include <fcntl.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"
#include "source/config/from_node.h"

namespace outrider::config {

bool toMessage(const Node& node, std::string_view file, google::protobuf::Message& out, UnknownFields& unknown, Problems& problems) {
  const size_t before = problems.size();
  FromNode(file, unknown, problems).message(node, out);
  return problems.size() == before;
}

bool toMessage(const Document& document, google::protobuf::Message& out, UnknownFields& unknown, Problems& problems) {
  return toMessage(document.root(), document.name(), out, unknown, problems);
}

namespace {

// No text holds these bytes; nearly every serialized message does (field tags, short lengths). UTF-16 text, which YAML
// allows, starts with its byte order mark.
bool looksBinary(std::string_view content) {
  if (content.starts_with("\xff\xfe") || content.starts_with("\xfe\xff")) return false;
  for (const char c : content) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r' && byte != '\f') return true;
  }
  return !isUtf8(content);
}

class TextErrors final : public google::protobuf::io::ErrorCollector {
 public:
  TextErrors(std::string_view file, Problems& problems) : file_(file), problems_(problems) {}
  void AddError(int line, google::protobuf::io::ColumnNumber column, const std::string& message) override {
    problems_.add(Problem{.path = {}, .value = {}, .what = message, .valid = {}, .file = file_, .line = line + 1, .column = column + 1});
  }

 private:
  std::string file_;
  Problems& problems_;
};

}  // namespace

Parsed parseContent(std::string content, std::string_view name, google::protobuf::Message& out, UnknownFields& unknown,
                    Problems& problems) {
  Parsed parsed;
  if (name.ends_with(".pb_text")) {
    TextErrors errors(name, problems);
    google::protobuf::TextFormat::Parser parser;
    parser.RecordErrorsTo(&errors);
    parsed.ok = parser.ParseFromString(content, &out);
    return parsed;
  }
  if (name.ends_with(".pb") || looksBinary(content)) {
    parsed.ok = out.ParseFromString(content);
    if (!parsed.ok) {
      problems.add(Problem{.path = {},
                           .value = {},
                           .what = absl::StrCat("is neither text nor a serialized ", out.GetDescriptor()->full_name()),
                           .valid = "give YAML, JSON or a binary message",
                           .file = std::string(name)});
    }
    return parsed;
  }
  parsed.document = Document::parse(std::move(content), name, problems);
  parsed.ok = parsed.document != nullptr && toMessage(*parsed.document, out, unknown, problems);
  return parsed;
}

absl::StatusOr<std::string> readFile(const std::string& path) {
  constexpr size_t kMost = size_t{1} << 30;
  const auto failed = [&path] { return absl::UnavailableError(absl::StrCat("cannot read ", path, ": ", std::strerror(errno))); };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failed();
  std::string out;
  char block[64 * 1024];
  while (true) {
    const ssize_t got = ::read(fd, block, sizeof(block));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      absl::Status status = failed();
      ::close(fd);
      return status;
    }
    if (got == 0) break;
    out.append(block, static_cast<size_t>(got));
    if (out.size() > kMost) {
      ::close(fd);
      return absl::ResourceExhaustedError(absl::StrCat(path, " is larger than 1 GiB"));
    }
  }
  ::close(fd);
  return out;
}

}  // namespace outrider::config
