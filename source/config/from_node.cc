#include "source/config/from_node.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/time_util.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "absl/container/inlined_vector.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"
#include "source/config/field_value.h"
#include "source/config/schema.h"

namespace outrider::config {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

namespace {

constexpr size_t kMostUnknownPaths = 100;

std::string_view kindName(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::kNull: return "null";
    case Node::Kind::kScalar: return "a single value";
    case Node::Kind::kList: return "a list";
    case Node::Kind::kMap: return "a map";
  }
  return "";
}

std::string serialize(const Message& message) {
  std::string out;
  google::protobuf::io::StringOutputStream raw(&out);
  google::protobuf::io::CodedOutputStream coded(&raw);
  coded.SetSerializationDeterministic(true);  // equal configs have equal bytes
  message.SerializePartialToCodedStream(&coded);
  coded.Trim();
  return out;
}

bool oneOf(std::string_view text, std::initializer_list<std::string_view> words) {
  for (const std::string_view word : words) {
    if (text == word) return true;
  }
  return false;
}

// The words of YAML 1.1; others are neither.
std::optional<bool> yamlWord(std::string_view text) {
  if (oneOf(text, {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"})) return true;
  if (oneOf(text, {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"})) return false;
  return std::nullopt;
}

}  // namespace

void FromNode::problem(const Node& node, std::string_view what, std::string_view valid) {
  constexpr size_t kMostShown = 200;
  const bool scalar = node.kind == Node::Kind::kScalar;
  std::string value(scalar ? node.text.substr(0, kMostShown) : std::string_view());
  if (scalar && node.text.size() > kMostShown) value += "...";
  problems_.add(Problem{.path = problems_.path(),
                        .value = std::move(value),
                        .what = std::string(what),
                        .valid = std::string(valid),
                        .file = std::string(node.line == 0 ? std::string_view() : file_),
                        .line = static_cast<int>(node.line),
                        .column = static_cast<int>(node.column)});
}

void FromNode::unknownField(const Node& member, const Descriptor& type) {
  const auto scope = problems_.field(member.key);
  if (unknown_.allow) {
    ++unknown_.count;
    if (unknown_.paths.size() < kMostUnknownPaths) unknown_.paths.push_back(problems_.path());
    return;
  }
  const std::string nearest = nearestField(type, member.key);
  Node shown = member;
  shown.kind = Node::Kind::kNull;  // the name is wrong, not the value
  problem(shown, absl::StrCat("no such field in ", type.full_name()),
          nearest.empty() ? std::string() : absl::StrCat("did you mean '", nearest, "'?"));
}

void FromNode::message(const Node& node, Message& out, bool inside_any) {
  if (out.GetDescriptor()->well_known_type() != Descriptor::WELLKNOWNTYPE_UNSPECIFIED && wellKnown(node, out)) return;
  fields(node, out, inside_any);
}

void FromNode::fields(const Node& node, Message& out, bool inside_any) {
  if (node.kind == Node::Kind::kNull) return;
  const Descriptor& type = *out.GetDescriptor();
  if (node.kind != Node::Kind::kMap) {
    problem(node, absl::StrCat("expected a map with the fields of ", type.full_name(), ", found ", base::toAbsl(kindName(node.kind))));
    return;
  }
  absl::InlinedVector<bool, 128> seen(static_cast<size_t>(type.field_count()));
  absl::InlinedVector<const FieldDescriptor*, 8> chosen(static_cast<size_t>(type.oneof_decl_count()));
  for (const Node* at = node.first; at != nullptr; at = at->next) {
    if (at->ignored || (inside_any && at->key == "@type")) continue;
    const FieldDescriptor* field = findField(type, at->key);
    if (field == nullptr) {
      unknownField(*at, type);
      continue;
    }
    const auto scope = problems_.field(field->name());
    bool& twice = seen[static_cast<size_t>(field->index())];
    if (twice) {
      problem(*at, "given twice", "keep one of the two");
      continue;
    }
    twice = true;
    const bool null = at->kind == Node::Kind::kNull && (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE ||
                                                        field->message_type()->well_known_type() != Descriptor::WELLKNOWNTYPE_VALUE);
    if (null) continue;
    if (const auto* oneof = field->real_containing_oneof()) {
      const FieldDescriptor*& other = chosen[static_cast<size_t>(oneof->index())];
      if (other != nullptr) {
        problem(*at, absl::StrCat("excludes '", other->name(), "', which is also given"), "keep one of the two");
        continue;
      }
      other = field;
    }
    member(*at, *field, out);
  }
}

void FromNode::member(const Node& node, const FieldDescriptor& field, Message& out) {
  if (field.is_map()) return map(node, field, out);
  if (!field.is_repeated()) return single(node, field, out, false);
  const bool list_type = field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
                         field.message_type()->well_known_type() == Descriptor::WELLKNOWNTYPE_LISTVALUE;
  if (node.kind != Node::Kind::kList || (list_type && node.first != nullptr && node.first->kind != Node::Kind::kList)) {
    return single(node, field, out, true);  // one value stands for a list of one
  }
  size_t index = 0;
  for (const Node* element = node.first; element != nullptr; element = element->next) {
    if (element->ignored) continue;
    const auto scope = problems_.index(index++);
    const bool null_value =
        field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && field.message_type()->well_known_type() == Descriptor::WELLKNOWNTYPE_VALUE;
    if (element->kind == Node::Kind::kNull && !null_value) {
      problem(*element, "an element of a list cannot be null");
      continue;
    }
    single(*element, field, out, true);
  }
}

void FromNode::map(const Node& node, const FieldDescriptor& field, Message& out) {
  if (node.kind != Node::Kind::kMap) return problem(node, absl::StrCat("expected a map, found ", base::toAbsl(kindName(node.kind))));
  const FieldDescriptor& key = *field.message_type()->map_key();
  const FieldDescriptor& value = *field.message_type()->map_value();
  const Reflection& reflection = *out.GetReflection();
  for (const Node* at = node.first; at != nullptr; at = at->next) {
    if (at->ignored) continue;
    const auto scope = problems_.key(at->key);
    Message* entry = reflection.AddMessage(&out, &field);
    Node name;
    name.kind = Node::Kind::kScalar;
    name.text = at->key;
    name.line = at->line;
    name.column = at->column;
    single(name, key, *entry, false);
    if (at->kind != Node::Kind::kNull || value.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) single(*at, value, *entry, false);
  }
}

// One value into a field: set, or added to a repeated one.
void FromNode::single(const Node& node, const FieldDescriptor& field, Message& out, bool add) {
  const Reflection& r = *out.GetReflection();
  int64_t i = 0;
  uint64_t u = 0;
  double d = 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      if (!integer(node, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max(), i, u)) return;
      return add ? r.AddInt32(&out, &field, static_cast<int32_t>(i)) : r.SetInt32(&out, &field, static_cast<int32_t>(i));
    case FieldDescriptor::CPPTYPE_INT64:
      if (!integer(node, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max(), i, u)) return;
      return add ? r.AddInt64(&out, &field, i) : r.SetInt64(&out, &field, i);
    case FieldDescriptor::CPPTYPE_UINT32:
      if (!integer(node, 0, std::numeric_limits<uint32_t>::max(), i, u)) return;
      return add ? r.AddUInt32(&out, &field, static_cast<uint32_t>(u)) : r.SetUInt32(&out, &field, static_cast<uint32_t>(u));
    case FieldDescriptor::CPPTYPE_UINT64:
      if (!integer(node, 0, std::numeric_limits<uint64_t>::max(), i, u)) return;
      return add ? r.AddUInt64(&out, &field, u) : r.SetUInt64(&out, &field, u);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      if (!number(node, d)) return;
      return add ? r.AddDouble(&out, &field, d) : r.SetDouble(&out, &field, d);
    case FieldDescriptor::CPPTYPE_FLOAT:
      if (!number(node, d)) return;
      return add ? r.AddFloat(&out, &field, static_cast<float>(d)) : r.SetFloat(&out, &field, static_cast<float>(d));
    case FieldDescriptor::CPPTYPE_BOOL: {
      bool b = false;
      if (!boolean(node, b)) return;
      return add ? r.AddBool(&out, &field, b) : r.SetBool(&out, &field, b);
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      int e = 0;
      if (!enumeration(node, *field.enum_type(), e)) return;
      return add ? r.AddEnumValue(&out, &field, e) : r.SetEnumValue(&out, &field, e);
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string value;
      if (field.type() == FieldDescriptor::TYPE_BYTES) {
        if (!bytes(node, value)) return;
      } else {
        if (!text(node, "a string")) return;
        value = node.text;
      }
      return add ? r.AddString(&out, &field, std::move(value)) : r.SetString(&out, &field, std::move(value));
    }
    case FieldDescriptor::CPPTYPE_MESSAGE: return message(node, add ? *r.AddMessage(&out, &field) : *r.MutableMessage(&out, &field));
  }
}

bool FromNode::text(const Node& node, std::string_view what) {
  if (node.kind == Node::Kind::kScalar) return true;
  problem(node, absl::StrCat("expected ", base::toAbsl(what), ", found ", base::toAbsl(kindName(node.kind))));
  return false;
}

bool FromNode::integer(const Node& node, int64_t least, uint64_t most, int64_t& out_signed, uint64_t& out_unsigned) {
  if (!text(node, "a whole number")) return false;
  const auto refuse = [&](std::string_view what) {
    problem(node, what, absl::StrCat("a whole number from ", least, " to ", most));
    return false;
  };
  std::string_view digits = node.text;
  const bool negative = digits.starts_with('-');
  if (negative || (node.yaml && digits.starts_with('+'))) digits.remove_prefix(1);
  int base = 10;
  if (node.yaml && node.plain && digits.size() > 1 && digits[0] == '0') {  // as YAML 1.1 has them
    base = digits[1] == 'x' || digits[1] == 'X' ? 16 : 8;
    digits.remove_prefix(base == 16 ? 2 : 1);
    if (base == 8 && !digits.empty() && digits[0] == 'o') digits.remove_prefix(1);
  }
  uint64_t magnitude = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, code] = std::from_chars(digits.data(), end, magnitude, base);
  if (code == std::errc::result_out_of_range) return refuse("out of range");
  if (code != std::errc() || stop != end || digits.empty()) {
    // 1e3 and 5.0 are whole numbers too.
    double value = 0;
    const char* last = node.text.data() + node.text.size();
    const auto [rest, failed] = std::from_chars(node.text.data(), last, value);
    constexpr double kExact = 9007199254740992.0;
    if (failed != std::errc() || rest != last || value != std::floor(value) || std::fabs(value) > kExact) {
      return refuse("is not a whole number");
    }
    if (value < 0 && !negative) return refuse("is not a whole number");
    magnitude = static_cast<uint64_t>(std::fabs(value));
  }
  const uint64_t lowest = least == 0 ? 0 : static_cast<uint64_t>(-(least + 1)) + 1;
  if (negative ? magnitude > lowest : magnitude > most) return refuse("out of range");
  out_unsigned = magnitude;
  out_signed = static_cast<int64_t>(negative ? 0 - magnitude : magnitude);
  return true;
}

bool FromNode::number(const Node& node, double& out) {
  if (!text(node, "a number")) return false;
  std::string_view digits = node.text;
  if (oneOf(digits, {"NaN", ".nan", ".NaN", ".NAN"})) {
    out = std::numeric_limits<double>::quiet_NaN();
    return true;
  }
  if (oneOf(digits, {"Infinity", ".inf", ".Inf", ".INF", "-Infinity", "-.inf", "-.Inf", "-.INF"})) {
    out = digits.starts_with('-') ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
    return true;
  }
  if (node.yaml && digits.starts_with('+')) digits.remove_prefix(1);
  const char* end = digits.data() + digits.size();
  const auto [stop, code] = std::from_chars(digits.data(), end, out);
  const char first = digits.empty() ? '\0' : digits[digits[0] == '-' && digits.size() > 1 ? 1 : 0];
  if (code == std::errc() && stop == end && ((first >= '0' && first <= '9') || first == '.')) return true;
  problem(node, code == std::errc::result_out_of_range ? "out of range" : "is not a number");
  return false;
}

bool FromNode::boolean(const Node& node, bool& out) {
  if (!text(node, "true or false")) return false;
  if (node.text == "true" || node.text == "false") {
    out = node.text == "true";
    return true;
  }
  if (const auto word = node.yaml && node.plain ? yamlWord(node.text) : std::nullopt) {
    out = *word;
    return true;
  }
  problem(node, "is neither true nor false");
  return false;
}

bool FromNode::enumeration(const Node& node, const google::protobuf::EnumDescriptor& type, int& out) {
  if (node.kind == Node::Kind::kNull && type.full_name() == "google.protobuf.NullValue") return true;
  if (!text(node, "a name")) return false;
  if (const auto* value = type.FindValueByName(std::string(node.text))) {
    out = value->number();
    return true;
  }
  int number = 0;
  const char* end = node.text.data() + node.text.size();
  if (const auto [stop, code] = std::from_chars(node.text.data(), end, number); code == std::errc() && stop == end) {
    out = number;  // numbers that have no name are for the validation to judge
    return true;
  }
  // In any case, and with dashes.
  std::string folded;
  for (const char c : node.text) folded += c == '-' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  std::string names;
  for (int i = 0; i < type.value_count(); ++i) {
    if (absl::EqualsIgnoreCase(type.value(i)->name(), folded)) {
      out = type.value(i)->number();
      return true;
    }
    absl::StrAppend(&names, names.empty() ? "" : ", ", type.value(i)->name());
  }
  problem(node, absl::StrCat("is no value of ", type.full_name()), absl::StrCat("one of ", names));
  return false;
}

bool FromNode::bytes(const Node& node, std::string& out) {
  if (!text(node, "base64")) return false;
  // Both alphabets, padded or not.
  if (absl::Base64Unescape(base::toAbsl(node.text), &out) || absl::WebSafeBase64Unescape(base::toAbsl(node.text), &out)) return true;
  problem(node, "is not base64");
  return false;
}

bool FromNode::wellKnown(const Node& node, Message& out) {
  const Descriptor& type = *out.GetDescriptor();
  // A type of the compiled pool is filled as it is; one of another pool through its bytes.
  const auto through = [&out, &type](auto&& filled) {
    if (type.file()->pool() == google::protobuf::DescriptorPool::generated_pool()) {
      static_cast<std::remove_reference_t<decltype(filled)>&>(out).Swap(&filled);
    } else {
      out.ParseFromString(serialize(filled));
    }
  };
  switch (type.well_known_type()) {
    case Descriptor::WELLKNOWNTYPE_UNSPECIFIED: return false;
    case Descriptor::WELLKNOWNTYPE_ANY: any(node, out); return true;
    case Descriptor::WELLKNOWNTYPE_DURATION:
      if (node.kind == Node::Kind::kMap) return false;  // {seconds, nanos}
      duration(node, out);
      return true;
    case Descriptor::WELLKNOWNTYPE_TIMESTAMP:
      if (node.kind == Node::Kind::kMap) return false;
      timestamp(node, out);
      return true;
    case Descriptor::WELLKNOWNTYPE_FIELDMASK:
      if (node.kind == Node::Kind::kMap) return false;
      fieldMask(node, out);
      return true;
    case Descriptor::WELLKNOWNTYPE_STRUCT: {
      google::protobuf::Struct value;
      asStruct(node, value);
      through(value);
      return true;
    }
    case Descriptor::WELLKNOWNTYPE_VALUE: {
      google::protobuf::Value value;
      asValue(node, value);
      through(value);
      return true;
    }
    case Descriptor::WELLKNOWNTYPE_LISTVALUE: {
      google::protobuf::ListValue value;
      asList(node, value);
      through(value);
      return true;
    }
    default:
      if (!isWrapper(type)) return false;
      wrapper(node, out);
      return true;
  }
}

// Wrappers take their value bare, or as {value: ...}.
void FromNode::wrapper(const Node& node, Message& out) {
  if (node.kind == Node::Kind::kMap) return fields(node, out, false);
  if (node.kind != Node::Kind::kNull) single(node, *out.GetDescriptor()->FindFieldByNumber(1), out, false);
}

void FromNode::any(const Node& node, Message& out) {
  if (node.kind == Node::Kind::kNull) return;
  if (node.kind != Node::Kind::kMap) {
    return problem(node, absl::StrCat("expected a map with '@type', found ", base::toAbsl(kindName(node.kind))));
  }
  const Node* url = findMember(node, "@type");
  if (url == nullptr) {
    if (node.first == nullptr) return;
    return problem(node, "has no '@type'", "name its message, such as '@type': type.googleapis.com/envoy.config.cluster.v3.Cluster");
  }
  const auto at_type = [&](std::string_view what) {
    const auto scope = problems_.field("@type");
    problem(*url, what);
  };
  if (url->kind != Node::Kind::kScalar) return at_type("expected the URL of a message type");
  const Descriptor* type = findType(typeOfUrl(url->text));
  if (type == nullptr) return at_type("no message type of this name is known");
  const std::unique_ptr<Message> inner = newMessage(*type);
  const Node* value = findMember(node, "value");
  if (type->well_known_type() != Descriptor::WELLKNOWNTYPE_UNSPECIFIED && value != nullptr) {
    const auto scope = problems_.field("value");
    message(*value, *inner);
  } else if (type->well_known_type() == Descriptor::WELLKNOWNTYPE_UNSPECIFIED) {
    message(node, *inner, true);
  } else {
    fields(node, *inner, true);
  }
  const Reflection& r = *out.GetReflection();
  r.SetString(&out, out.GetDescriptor()->FindFieldByNumber(1), std::string(url->text));
  r.SetString(&out, out.GetDescriptor()->FindFieldByNumber(2), serialize(*inner));
}

void FromNode::duration(const Node& node, Message& out) {
  if (node.kind == Node::Kind::kNull || !text(node, "a duration")) return;
  constexpr int64_t kMostSeconds = 315'576'000'000;  // ten thousand years, as the type has it
  std::string_view left = node.text;
  const bool negative = left.starts_with('-');
  if (negative) left.remove_prefix(1);
  const auto refuse = [&] { problem(node, "is not a duration", "seconds with an 's' at the end, such as 5s or 0.25s"); };
  if (!left.ends_with('s') || left.size() < 2) return refuse();
  left.remove_suffix(1);
  const size_t dot = std::min(left.find('.'), left.size());
  int64_t seconds = 0;
  const std::string_view whole = left.substr(0, dot);
  const auto [stop, code] = std::from_chars(whole.data(), whole.data() + whole.size(), seconds);
  if ((!whole.empty() && (code != std::errc() || stop != whole.data() + whole.size())) || whole.starts_with('-')) return refuse();
  int64_t nanos = 0;
  const std::string_view fraction = left.substr(std::min(dot + 1, left.size()));
  if (fraction.size() > 9 || (whole.empty() && fraction.empty())) return refuse();
  for (size_t i = 0; i < 9; ++i) {
    const char c = i < fraction.size() ? fraction[i] : '0';
    if (c < '0' || c > '9') return refuse();
    nanos = nanos * 10 + (c - '0');
  }
  if (seconds > kMostSeconds) return problem(node, "out of range", "at most 315576000000s");
  const Descriptor& type = *out.GetDescriptor();
  out.GetReflection()->SetInt64(&out, type.FindFieldByNumber(1), negative ? -seconds : seconds);
  out.GetReflection()->SetInt32(&out, type.FindFieldByNumber(2), static_cast<int32_t>(negative ? -nanos : nanos));
}

void FromNode::timestamp(const Node& node, Message& out) {
  if (node.kind == Node::Kind::kNull || !text(node, "a time")) return;
  google::protobuf::Timestamp value;
  if (!google::protobuf::util::TimeUtil::FromString(std::string(node.text), &value)) {
    return problem(node, "is not a time", "RFC 3339, such as 2030-01-31T12:00:00Z");
  }
  const Descriptor& type = *out.GetDescriptor();
  out.GetReflection()->SetInt64(&out, type.FindFieldByNumber(1), value.seconds());
  out.GetReflection()->SetInt32(&out, type.FindFieldByNumber(2), value.nanos());
}

// "a.bC,d" names the paths a.b_c and d.
void FromNode::fieldMask(const Node& node, Message& out) {
  if (node.kind == Node::Kind::kNull || !text(node, "field paths")) return;
  const FieldDescriptor* paths = out.GetDescriptor()->FindFieldByNumber(1);
  std::string path;
  const auto flush = [&] {
    if (!path.empty()) out.GetReflection()->AddString(&out, paths, std::exchange(path, {}));
  };
  for (const char c : node.text) {
    if (c == ',') {
      flush();
    } else if (c >= 'A' && c <= 'Z') {
      path += '_';
      path += static_cast<char>(c - 'A' + 'a');
    } else {
      path += c;
    }
  }
  flush();
}

void FromNode::asStruct(const Node& node, google::protobuf::Struct& out) {
  if (node.kind == Node::Kind::kNull) return;
  if (node.kind != Node::Kind::kMap) return problem(node, absl::StrCat("expected a map, found ", base::toAbsl(kindName(node.kind))));
  for (const Node* at = node.first; at != nullptr; at = at->next) {
    if (at->ignored) continue;
    const auto scope = problems_.key(at->key);
    const auto [it, fresh] = out.mutable_fields()->insert({std::string(at->key), google::protobuf::Value()});
    if (!fresh) {
      problem(*at, "given twice", "keep one of the two");
      continue;
    }
    asValue(*at, it->second);
  }
}

namespace {

// What Envoy makes of a bare word of YAML: whole numbers of 32 bits are numbers; longer ones and fractions stay text.
bool yamlNumber(std::string_view text, double& out) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  int base = 10;
  if (text.size() > 1 && text[0] == '0') {
    base = text[1] == 'x' || text[1] == 'X' ? 16 : 8;
    text.remove_prefix(base == 16 ? 2 : 1);
    if (base == 8 && text[0] == 'o') text.remove_prefix(1);
  }
  uint32_t magnitude = 0;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), magnitude, base);
  if (code != std::errc() || stop != text.data() + text.size() || magnitude > 0x80000000u - (negative ? 0 : 1)) return false;
  out = negative ? -static_cast<double>(magnitude) : static_cast<double>(magnitude);
  return true;
}

bool jsonNumber(std::string_view text, double& out) {
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), out);
  const char first = text.empty() ? '\0' : text[text[0] == '-' && text.size() > 1 ? 1 : 0];
  return code == std::errc() && stop == text.data() + text.size() && first >= '0' && first <= '9';
}

}  // namespace

void FromNode::asValue(const Node& node, google::protobuf::Value& out) {
  switch (node.kind) {
    case Node::Kind::kNull: out.set_null_value(google::protobuf::NULL_VALUE); return;
    case Node::Kind::kMap: return asStruct(node, *out.mutable_struct_value());
    case Node::Kind::kList: return asList(node, *out.mutable_list_value());
    case Node::Kind::kScalar: break;
  }
  if (node.plain) {
    if (node.text == "true" || node.text == "false") return out.set_bool_value(node.text == "true");
    if (const auto word = node.yaml ? yamlWord(node.text) : std::nullopt) return out.set_bool_value(*word);
    double value = 0;
    if (node.yaml ? yamlNumber(node.text, value) : jsonNumber(node.text, value)) return out.set_number_value(value);
  }
  out.set_string_value(std::string(node.text));
}

void FromNode::asList(const Node& node, google::protobuf::ListValue& out) {
  if (node.kind == Node::Kind::kNull) return;
  if (node.kind != Node::Kind::kList) return asValue(node, *out.add_values());
  size_t index = 0;
  for (const Node* element = node.first; element != nullptr; element = element->next) {
    if (element->ignored) continue;
    const auto scope = problems_.index(index++);
    asValue(*element, *out.add_values());
  }
}

}  // namespace outrider::config
