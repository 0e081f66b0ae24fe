#include "source/config/json_print.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"
#include "source/config/field_value.h"
#include "source/config/readers.h"
#include "source/config/schema.h"
#include "udpa/annotations/sensitive.pb.h"

namespace outrider::config {

using google::protobuf::Any;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::Struct;
using google::protobuf::Value;

bool isSensitive(const FieldDescriptor& field) {
  const auto& options = field.options();
  if (options.HasExtension(udpa::annotations::sensitive)) return options.GetExtension(udpa::annotations::sensitive);
  if (options.unknown_fields().empty() && field.file()->pool() == google::protobuf::DescriptorPool::generated_pool()) return false;
  google::protobuf::FieldOptions again;  // a descriptor of another pool: as bytes the option is known
  again.ParsePartialFromString(options.SerializePartialAsString());
  return again.GetExtension(udpa::annotations::sensitive);
}

namespace {

constexpr std::string_view kRedacted = "[redacted]";
// Levels of messages and Any's; what is deeper is printed as bytes. Parsing bounds messages, but each Any starts anew.
constexpr int kMostDepth = 200;

// Invisible, or able to end a script element: what protobuf's own printer escapes.
bool isEscaped(uint32_t c) {
  static constexpr uint32_t kRanges[][2] = {{0, 0x1f},          {'<', '<'},         {'>', '>'},        {0x7f, 0x9f},     {0xad, 0xad},
                                            {0x600, 0x603},     {0x6dd, 0x6dd},     {0x70f, 0x70f},    {0x17b4, 0x17b5}, {0x200b, 0x200f},
                                            {0x2028, 0x202e},   {0x2060, 0x2064},   {0x206a, 0x206f},  {0xfeff, 0xfeff}, {0xfff9, 0xfffb},
                                            {0x1d173, 0x1d17a}, {0xe0001, 0xe0001}, {0xe0020, 0xe007f}};
  for (const auto& range : kRanges) {
    if (c < range[0]) return false;
    if (c <= range[1]) return true;
  }
  return false;
}

void appendUnit(std::string& out, uint32_t unit) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kHex[(unit >> shift) & 15];
}

void appendEscape(std::string& out, uint32_t c) {
  switch (c) {
    case '\b': out += "\\b"; return;
    case '\f': out += "\\f"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default: break;
  }
  if (c < 0x10000) return appendUnit(out, c);
  appendUnit(out, 0xD800 + ((c - 0x10000) >> 10));
  appendUnit(out, 0xDC00 + ((c - 0x10000) & 0x3FF));
}

}  // namespace

void appendJsonString(std::string& out, std::string_view text) {
  out += '"';
  const bool valid = isUtf8(text);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += text[i];
    } else if (byte < 0x80) {
      if (isEscaped(byte))
        appendEscape(out, byte);
      else
        out += text[i];
    } else if (!valid) {
      out += "\xef\xbf\xbd";  // U+FFFD: whatever it was, the result is JSON
    } else {
      const size_t more = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : 1;
      uint32_t c = byte & (0x3Fu >> more);
      for (size_t k = 1; k <= more; ++k) c = c << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3Fu);
      if (isEscaped(c))
        appendEscape(out, c);
      else
        out.append(text, i, more + 1);
      i += more;
    }
  }
  out += '"';
}

namespace {

class Printer final {
 public:
  Printer(const JsonOptions& options, std::string& out) : options_(options), out_(out) {}

  void message(const Message& in) {
    if (depth_ >= kMostDepth) {
      std::string text;
      absl::Base64Escape(in.SerializePartialAsString(), &text);
      return string(text);
    }
    ++depth_;
    if (in.GetDescriptor()->well_known_type() == Descriptor::WELLKNOWNTYPE_UNSPECIFIED || !wellKnown(in)) object(in, {});
    --depth_;
  }

 private:
  // Brackets, commas, lines and indents.
  void open(char bracket) {
    out_ += bracket;
    ++level_;
    first_ = true;
  }
  void close(char bracket) {
    --level_;
    if (!first_) line();
    first_ = false;
    out_ += bracket;
  }
  void next() {
    if (!first_) out_ += ',';
    first_ = false;
    line();
  }
  void line() {
    if (options_.compact) return;
    out_ += '\n';
    out_.append(static_cast<size_t>(level_), ' ');
  }
  void name(std::string_view text) {
    next();
    string(text);
    out_ += options_.compact ? ":" : ": ";
  }
  void string(std::string_view text) { appendJsonString(out_, text); }

  void object(const Message& in, std::string_view type_url) {
    open('{');
    if (!type_url.empty()) {
      name("@type");
      string(type_url);
    }
    for (const FieldDescriptor* one : fieldsOf(in)) field(in, *one);
    close('}');
  }

  std::vector<const FieldDescriptor*> fieldsOf(const Message& in) const {
    std::vector<const FieldDescriptor*> out;
    const Reflection& r = *in.GetReflection();
    r.ListFields(in, &out);
    if (!options_.zeros) return out;
    const Descriptor& type = *in.GetDescriptor();
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& one = *type.field(i);
      const bool unset = one.is_repeated() ? r.FieldSize(in, &one) == 0 : !r.HasField(in, &one);
      if (unset && (one.is_repeated() || !one.has_presence()) && !one.options().deprecated()) out.push_back(&one);
    }
    std::sort(out.begin(), out.end(), [](const auto* a, const auto* b) { return a->number() < b->number(); });
    return out;
  }

  void field(const Message& in, const FieldDescriptor& one) {
    name(one.name());
    const bool outer = secret_;
    secret_ = secret_ || (options_.secret != nullptr && options_.secret(one));
    if (one.is_map()) {
      map(in, one);
    } else if (one.is_repeated()) {
      open('[');
      const int size = in.GetReflection()->FieldSize(in, &one);
      for (int i = 0; i < size; ++i) {
        next();
        value(in, one, i);
      }
      close(']');
    } else {
      value(in, one, -1);
    }
    secret_ = outer;
  }

  void map(const Message& in, const FieldDescriptor& one) {
    const FieldDescriptor& key = *one.message_type()->map_key();
    const FieldDescriptor& mapped = *one.message_type()->map_value();
    const Reflection& r = *in.GetReflection();
    std::vector<std::pair<std::string, const Message*>> entries;
    for (int i = 0; i < r.FieldSize(in, &one); ++i) {
      const Message& entry = r.GetRepeatedMessage(in, &one, i);
      entries.emplace_back(keyText(entry, key), &entry);
    }
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    open('{');
    for (const auto& [text, entry] : entries) {
      name(text);
      value(*entry, mapped, -1);
    }
    close('}');
  }

  static std::string keyText(const Message& entry, const FieldDescriptor& key) {
    return visitValue(entry, key, -1, []<class T>(const T& value) -> std::string {
      if constexpr (std::is_same_v<T, std::string>) {
        return value;
      } else if constexpr (std::is_same_v<T, bool>) {
        return value ? "true" : "false";
      } else if constexpr (std::is_integral_v<T>) {
        return std::to_string(value);
      } else {
        return {};
      }
    });
  }

  // `at` < 0: the field itself; else the element.
  void value(const Message& in, const FieldDescriptor& one, int at) {
    visitValue(in, one, at, [&]<class T>(const T& value) {
      if constexpr (std::is_same_v<T, bool>) {
        out_ += value && !secret_ ? "true" : "false";
      } else if constexpr (std::is_integral_v<T>) {
        whole(value, sizeof(T) == 8);
      } else if constexpr (std::is_same_v<T, double>) {
        number(value);
      } else if constexpr (std::is_same_v<T, float>) {
        real(value);
      } else if constexpr (std::is_same_v<T, EnumNumber>) {
        enumeration(one, value.number);
      } else if constexpr (std::is_same_v<T, std::string>) {
        text(one, value);
      } else {
        message(value);
      }
    });
  }

  void text(const FieldDescriptor& one, std::string_view value) {
    if (secret_) value = kRedacted;
    if (one.type() != FieldDescriptor::TYPE_BYTES) return string(value);
    std::string encoded;
    absl::Base64Escape(base::toAbsl(value), &encoded);
    string(encoded);
  }

  template <class T>
  void whole(T value, bool quoted) {  // 64 bits do not fit a JavaScript number
    if (secret_) value = 0;
    if (quoted) out_ += '"';
    absl::StrAppend(&out_, value);
    if (quoted) out_ += '"';
  }
  void number(double value) { numberText(secret_ ? "0" : formatNumber(value)); }
  void real(float value) {
    char text[32];
    if (secret_ || value != value || value - value != 0) return number(static_cast<double>(value));
    const auto [end, code] = std::to_chars(text, text + sizeof(text), value);
    numberText(std::string_view(text, static_cast<size_t>(end - text)));
  }
  void numberText(std::string_view text) {  // NaN and Infinity are strings
    if (text.find_first_of("NI") != std::string_view::npos) return string(text);
    out_ += text;
  }
  void enumeration(const FieldDescriptor& one, int value) {
    if (one.enum_type()->full_name() == "google.protobuf.NullValue") {
      out_ += "null";
      return;
    }
    const auto* known = one.enum_type()->FindValueByNumber(secret_ ? 0 : value);
    if (known != nullptr) return string(known->name());
    absl::StrAppend(&out_, value);
  }

  // `in` as the compiled type, through bytes if it is of another pool.
  template <class T>
  static const T& as(const Message& in, T& copy) {
    if (in.GetDescriptor() == T::descriptor()) return static_cast<const T&>(in);
    copy.ParsePartialFromString(in.SerializePartialAsString());
    return copy;
  }

  // False: an ordinary object after all.
  bool wellKnown(const Message& in) {
    switch (in.GetDescriptor()->well_known_type()) {
      case Descriptor::WELLKNOWNTYPE_ANY: {
        Any copy;
        any(as(in, copy));
        return true;
      }
      case Descriptor::WELLKNOWNTYPE_DURATION: {
        google::protobuf::Duration copy;
        string(google::protobuf::util::TimeUtil::ToString(secret_ ? copy : as(in, copy)));
        return true;
      }
      case Descriptor::WELLKNOWNTYPE_TIMESTAMP: {
        google::protobuf::Timestamp copy;
        const auto& time = as(in, copy);
        // Years 1 to 9999; others have no text form.
        if (time.seconds() < -62135596800 || time.seconds() > 253402300799 || time.nanos() < 0 || time.nanos() > 999999999) return false;
        string(google::protobuf::util::TimeUtil::ToString(time));
        return true;
      }
      case Descriptor::WELLKNOWNTYPE_STRUCT: {
        Struct copy;
        structure(as(in, copy));
        return true;
      }
      case Descriptor::WELLKNOWNTYPE_VALUE: {
        Value copy;
        dynamic(as(in, copy));
        return true;
      }
      case Descriptor::WELLKNOWNTYPE_LISTVALUE: {
        google::protobuf::ListValue copy;
        list(as(in, copy));
        return true;
      }
      case Descriptor::WELLKNOWNTYPE_FIELDMASK: {
        std::string text;
        const FieldDescriptor* paths = in.GetDescriptor()->FindFieldByNumber(1);
        for (int i = 0; i < in.GetReflection()->FieldSize(in, paths); ++i) {
          absl::StrAppend(&text, i == 0 ? "" : ",", in.GetReflection()->GetRepeatedString(in, paths, i));
        }
        string(text);
        return true;
      }
      default:
        if (!isWrapper(*in.GetDescriptor())) return false;
        value(in, *in.GetDescriptor()->FindFieldByNumber(1), -1);
        return true;
    }
  }

  void any(const Any& in) {
    if (in.type_url().empty() && in.value().empty()) {
      out_ += "{}";
      return;
    }
    const Descriptor* type = depth_ < kMostDepth ? findType(typeOfUrl(in.type_url())) : nullptr;
    std::unique_ptr<Message> inner = type == nullptr ? nullptr : newMessage(*type);
    if (inner == nullptr || !inner->ParsePartialFromString(in.value())) return bytes(in);
    if (options_.secret != nullptr && (type->full_name() == "udpa.type.v1.TypedStruct" || type->full_name() == "xds.type.v3.TypedStruct")) {
      return typedStruct(in, *inner);
    }
    ++depth_;
    if (type->well_known_type() == Descriptor::WELLKNOWNTYPE_UNSPECIFIED) {
      object(*inner, in.type_url());
    } else {
      open('{');
      name("@type");
      string(in.type_url());
      name("value");
      message(*inner);
      close('}');
    }
    --depth_;
  }

  // What cannot be read is shown as it came, unless it stands for a secret.
  void bytes(const Any& in) {
    open('{');
    name("@type");
    string(in.type_url());
    if (!in.value().empty()) {
      name("value");
      std::string encoded;
      absl::Base64Escape(secret_ ? base::toAbsl(kRedacted) : absl::string_view(in.value()), &encoded);
      string(encoded);
    }
    close('}');
  }

  // The Struct has the field names of the type it stands for, and so its secrets.
  void typedStruct(const Any& in, const Message& wrapper) {
    const Reflection& r = *wrapper.GetReflection();
    const std::string url = r.GetString(wrapper, wrapper.GetDescriptor()->FindFieldByName("type_url"));
    Struct value;
    value = Struct(as(r.GetMessage(wrapper, wrapper.GetDescriptor()->FindFieldByName("value")), value));
    if (const Descriptor* type = findType(typeOfUrl(url))) redact(*type, value, 0);
    open('{');
    name("@type");
    string(in.type_url());
    if (!url.empty()) {
      name("type_url");
      string(url);
    }
    name("value");
    structure(value);
    close('}');
  }

  void redact(const Descriptor& type, Struct& in, int depth) const {
    for (auto& [key, value] : *in.mutable_fields()) {
      const FieldDescriptor* one = findField(type, key);
      if (one == nullptr || depth > kMostDepth) continue;
      if (options_.secret(*one)) {
        value.set_string_value(std::string(kRedacted));
      } else if (one->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        redact(*one, value, depth);
      }
    }
  }
  void redact(const FieldDescriptor& one, Value& value, int depth) const {
    if (value.has_list_value()) {
      for (Value& element : *value.mutable_list_value()->mutable_values()) redact(one, element, depth);
      return;
    }
    if (!value.has_struct_value()) return;
    Struct& below = *value.mutable_struct_value();
    if (one.is_map()) {
      const FieldDescriptor& mapped = *one.message_type()->map_value();
      if (mapped.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) return;
      for (auto& [key, entry] : *below.mutable_fields()) {
        if (entry.has_struct_value()) redact(*mapped.message_type(), *entry.mutable_struct_value(), depth + 1);
      }
      return;
    }
    const Descriptor* type = one.message_type();
    if (type->well_known_type() == Descriptor::WELLKNOWNTYPE_ANY) {
      const auto url = below.fields().find("@type");
      type = url == below.fields().end() ? nullptr : findType(typeOfUrl(url->second.string_value()));
    }
    if (type != nullptr) redact(*type, below, depth + 1);
  }

  void structure(const Struct& in) {
    std::vector<std::pair<std::string_view, const Value*>> entries;
    for (const auto& [key, value] : in.fields()) entries.emplace_back(key, &value);
    std::sort(entries.begin(), entries.end());
    open('{');
    for (const auto& [key, value] : entries) {
      name(key);
      dynamic(*value);
    }
    close('}');
  }
  void list(const google::protobuf::ListValue& in) {
    open('[');
    for (const Value& value : in.values()) {
      next();
      dynamic(value);
    }
    close(']');
  }
  void dynamic(const Value& in) {
    switch (in.kind_case()) {
      case Value::kNumberValue: return number(in.number_value());
      case Value::kStringValue: return string(secret_ ? kRedacted : std::string_view(in.string_value()));
      case Value::kBoolValue: out_ += in.bool_value() && !secret_ ? "true" : "false"; return;
      case Value::kStructValue: return structure(in.struct_value());
      case Value::kListValue: return list(in.list_value());
      case Value::kNullValue:
      case Value::KIND_NOT_SET: out_ += "null"; return;
    }
  }

  const JsonOptions& options_;
  std::string& out_;
  int level_ = 0;
  int depth_ = 0;
  bool first_ = true;
  bool secret_ = false;
};

}  // namespace

std::string toJson(const Message& message, const JsonOptions& options) {
  std::string out;
  Printer(options, out).message(message);
  return out;
}

}  // namespace outrider::config
