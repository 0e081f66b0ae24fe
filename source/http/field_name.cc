#include "source/http/field_name.h"

#include <charconv>

namespace outrider::http {
namespace {

using Value = std::optional<std::string_view>;

Value optionalOf(std::string_view text) { return text.empty() ? Value() : Value(text); }

std::string_view statusText(const ResponseHead& head) {
  char* text = head.headers.arena().bytes(5);
  const auto end = std::to_chars(text, text + 5, head.status).ptr;
  return {text, static_cast<size_t>(end - text)};
}

}  // namespace

FieldName::FieldName(std::string_view name) : name_(name) {
  for (char& c : name_) c = lowerAscii(c);
  id_ = headerId(name_);
  if (name_ == ":method")
    kind_ = Kind::kMethod;
  else if (name_ == ":scheme")
    kind_ = Kind::kScheme;
  else if (name_ == ":authority" || name_ == "host")
    kind_ = Kind::kAuthority;
  else if (name_ == ":path")
    kind_ = Kind::kPath;
  else if (name_ == ":status")
    kind_ = Kind::kStatus;
  else if (name_ == ":protocol")
    kind_ = Kind::kProtocol;
  else if (name_ == "upgrade")
    kind_ = Kind::kUpgrade;
  else if (name_ == "connection")
    kind_ = Kind::kConnection;
}

// What stands beside the fields; nullopt: look among them.
std::optional<Value> FieldName::pseudo(const RequestHead& head) const {
  switch (kind_) {
    case Kind::kField: break;
    case Kind::kMethod: return optionalOf(head.method);
    case Kind::kScheme: return optionalOf(head.scheme);
    case Kind::kAuthority: return optionalOf(head.authority);
    case Kind::kPath: return optionalOf(head.path);
    case Kind::kStatus: return Value();
    case Kind::kProtocol: return head.isConnect() ? optionalOf(head.upgrade) : Value();
    case Kind::kUpgrade:
      if (!head.upgrade.empty()) return Value(head.upgrade);
      break;
    case Kind::kConnection:
      if (!head.upgrade.empty()) return Value("Upgrade");
      break;
  }
  return std::nullopt;
}

Value FieldName::in(const HeaderMap& headers) const {
  const Header* first = nullptr;
  bool several = false;
  if (id_ != HeaderId::kUnknown) {
    if (!headers.has(id_)) return std::nullopt;
    headers.forEach([&](const Header& header) {
      if (header.id != id_) return;
      several = several || first != nullptr;
      if (first == nullptr) first = &header;
    });
  } else {
    const std::string_view name = name_;
    headers.forEach([&](const Header& header) {
      if (header.name_size != name.size() || header.name() != name) return;
      several = several || first != nullptr;
      if (first == nullptr) first = &header;
    });
  }
  if (first == nullptr) return std::nullopt;
  if (!several) return first->value();
  bool present = false;
  return headers.getAll(name_, present);
}

Value FieldName::in(const RequestHead& head) const {
  const auto beside = pseudo(head);
  return beside.has_value() ? *beside : in(head.headers);
}

Value FieldName::in(const ResponseHead& head) const { return kind_ == Kind::kStatus ? Value(statusText(head)) : in(head.headers); }

Value FieldName::firstIn(const HeaderMap& headers) const {
  const Header* header = id_ != HeaderId::kUnknown ? headers.find(id_) : headers.find(std::string_view(name_));
  return header == nullptr ? Value() : Value(header->value());
}

Value FieldName::firstIn(const RequestHead& head) const {
  const auto beside = pseudo(head);
  return beside.has_value() ? *beside : firstIn(head.headers);
}

Value FieldName::firstIn(const ResponseHead& head) const {
  return kind_ == Kind::kStatus ? Value(statusText(head)) : firstIn(head.headers);
}

}  // namespace outrider::http
