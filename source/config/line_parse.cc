#include "source/config/line_parse.h"

#include <google/protobuf/struct.pb.h>

#include "absl/strings/str_cat.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/config/core/v3/substitution_format_string.pb.h"
#include "source/base/absl_compat.h"
#include "source/config/any.h"
#include "source/config/tls_parse.h"
#include "source/config/tls_spec.h"

namespace outrider::config {

namespace core = envoy::config::core::v3;
using google::protobuf::Struct;
using google::protobuf::Value;

namespace {

format::JsonNode nodeOf(const Struct& in);

format::JsonNode nodeOf(const Value& in) {
  using Kind = format::JsonNode::Kind;
  format::JsonNode out;
  switch (in.kind_case()) {
    case Value::kBoolValue:
      out.kind = Kind::kBool;
      out.boolean = in.bool_value();
      break;
    case Value::kNumberValue:
      out.kind = Kind::kNumber;
      out.number = in.number_value();
      break;
    case Value::kStringValue:
      out.kind = Kind::kString;
      out.text = in.string_value();
      break;
    case Value::kListValue:
      out.kind = Kind::kList;
      for (const Value& each : in.list_value().values()) out.children.push_back(nodeOf(each));
      break;
    case Value::kStructValue: return nodeOf(in.struct_value());
    default: break;
  }
  return out;
}

format::JsonNode nodeOf(const Struct& in) {
  format::JsonNode out;
  out.kind = format::JsonNode::Kind::kObject;
  for (const auto& [key, value] : in.fields()) {
    out.keys.push_back(key);
    out.children.push_back(nodeOf(value));
  }
  return out;
}

}  // namespace

void parseTextLine(std::string_view field, const std::string& in, format::Line& out, Problems& problems) {
  auto compiled = format::Format::compile(in);
  if (!compiled.ok()) {
    problems.addAt(field, in, base::toStd(compiled.status().message()));
    return;
  }
  out.text = *std::move(compiled);
  for (const std::string& name : out.text.withoutData()) {
    const auto at = problems.field(field);
    problems.unsupported(name);
  }
}

void parseJsonLine(std::string_view field, const Struct& in, format::Line& out, Problems& problems) {
  auto compiled = format::JsonFormat::compile(nodeOf(in));
  if (!compiled.ok()) {
    problems.addAt(field, {}, base::toStd(compiled.status().message()));
    return;
  }
  for (const std::string& name : compiled->withoutData()) {
    const auto at = problems.field(field);
    problems.unsupported(name);
  }
  out.json = *std::move(compiled);
}

format::Line parseLine(const core::SubstitutionFormatString& in, Problems& problems) {
  format::Line out;
  out.omit_empty = in.omit_empty_values();
  switch (in.format_case()) {
    case core::SubstitutionFormatString::kTextFormat: parseTextLine("text_format", in.text_format(), out, problems); break;
    case core::SubstitutionFormatString::kTextFormatSource: {
      std::string source;
      if (in.text_format_source().specifier_case() == core::DataSource::kInlineString) {
        source = in.text_format_source().inline_string();
      } else {
        const auto at = problems.field("text_format_source");
        source = readDataSource(in.text_format_source(), problems).bytes;
      }
      parseTextLine("text_format_source", source, out, problems);
      break;
    }
    case core::SubstitutionFormatString::kJsonFormat: parseJsonLine("json_format", in.json_format(), out, problems); break;
    case core::SubstitutionFormatString::FORMAT_NOT_SET: break;  // Envoy's rules have refused it
  }
  for (int i = 0; i < in.formatters_size(); ++i) {
    // REQ_WITHOUT_QUERY is built in; operators of the others are judged where they stand.
    const std::string type = innerType(in.formatters(i).typed_config());
    if (type == "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery") continue;
    const auto at = problems.element("formatters", static_cast<size_t>(i));
    problems.unsupported(type);
  }
  return out;
}

std::shared_ptr<const BodyFormat> parseBodyFormat(const core::SubstitutionFormatString& in, Problems& problems, bool* read_file) {
  const size_t before = problems.size();
  if (in.has_text_format_source() && in.text_format_source().specifier_case() != core::DataSource::kInlineString) {
    // What is read here is part of what the format is.
    core::SubstitutionFormatString whole = in;
    {
      const auto at = problems.field("text_format_source");
      whole.mutable_text_format_source()->set_inline_string(readDataSource(in.text_format_source(), problems).bytes);
    }
    if (read_file != nullptr) *read_file = true;
    return problems.size() > before ? nullptr : parseBodyFormat(whole, problems);
  }
  auto out = std::make_shared<BodyFormat>();
  out->line = std::make_shared<const format::Line>(parseLine(in, problems));
  if (problems.size() > before) return nullptr;
  out->origin = in.SerializeAsString();
  out->content_type = !in.content_type().empty() ? in.content_type() : in.has_json_format() ? "application/json" : "text/plain";
  return out;
}

}  // namespace outrider::config
