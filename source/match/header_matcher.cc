#include "source/match/header_matcher.h"

#include <charconv>
#include <cstdio>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"

namespace outrider::match {
namespace {

using Value = std::optional<std::string_view>;

Value optionalOf(std::string_view text) { return text.empty() ? Value() : Value(text); }

}  // namespace

FieldName::FieldName(std::string_view name) : name_(name) {
  for (char& c : name_) c = http::lowerAscii(c);
  id_ = http::headerId(name_);
  if (name_ == ":method") kind_ = Kind::kMethod;
  else if (name_ == ":scheme") kind_ = Kind::kScheme;
  else if (name_ == ":authority" || name_ == "host") kind_ = Kind::kAuthority;
  else if (name_ == ":path") kind_ = Kind::kPath;
  else if (name_ == ":status") kind_ = Kind::kStatus;
  else if (name_ == ":protocol") kind_ = Kind::kProtocol;
  else if (name_ == "upgrade") kind_ = Kind::kUpgrade;
  else if (name_ == "connection") kind_ = Kind::kConnection;
}

Value FieldName::in(const http::HeaderMap& headers) const {
  if (id_ != http::HeaderId::kUnknown && !headers.has(id_)) return std::nullopt;
  bool present = false;
  const std::string_view all = headers.getAll(name_, present);
  return present ? Value(all) : std::nullopt;
}

Value FieldName::in(const http::RequestHead& head) const {
  switch (kind_) {
    case Kind::kField: break;
    case Kind::kMethod: return head.method;
    case Kind::kScheme: return optionalOf(head.scheme);
    case Kind::kAuthority: return optionalOf(head.authority);
    case Kind::kPath: return optionalOf(head.path);
    case Kind::kStatus: return std::nullopt;
    case Kind::kProtocol: return head.isConnect() ? optionalOf(head.upgrade) : std::nullopt;
    case Kind::kUpgrade:
      if (!head.upgrade.empty()) return head.upgrade;
      break;
    case Kind::kConnection:
      if (!head.upgrade.empty()) return "Upgrade";
      break;
  }
  return in(head.headers);
}

Value FieldName::in(const http::ResponseHead& head) const {
  if (kind_ != Kind::kStatus) return in(head.headers);
  char* text = head.headers.arena().bytes(5);
  const auto end = std::to_chars(text, text + 5, head.status).ptr;
  return std::string_view(text, static_cast<size_t>(end - text));
}

std::string HeaderMatchSpec::str() const {
  std::string what;
  switch (kind) {
    case Kind::kPresent: what = present ? "present" : "absent"; break;
    case Kind::kRange: what = absl::StrCat("in [", from, ",", to, ")"); break;
    case Kind::kString: what = any_value ? "any value" : string.str(); break;
  }
  return absl::StrCat("header ", name, invert ? " not " : " ", what);
}

absl::StatusOr<HeaderMatcher> HeaderMatcher::compile(const HeaderMatchSpec& spec) {
  HeaderMatcher out;
  out.spec_ = spec;
  out.field_ = FieldName(spec.name);
  if (spec.kind == HeaderMatchSpec::Kind::kString) {
    auto string = StringMatcher::compile(spec.string);
    if (!string.ok()) return string.status();
    out.string_.emplace(*std::move(string));
  }
  return out;
}

bool HeaderMatcher::test(Value value) const {
  using Kind = HeaderMatchSpec::Kind;
  if (!value.has_value() && !spec_.missing_as_empty) {
    // An absent field fails every test of a value, inverted or not.
    return spec_.kind == Kind::kPresent && spec_.present == spec_.invert;
  }
  const std::string_view text = value.value_or(std::string_view());
  bool match = false;
  switch (spec_.kind) {
    case Kind::kPresent: match = spec_.present; break;
    case Kind::kRange: {
      int64_t number = 0;
      match = absl::SimpleAtoi(base::toAbsl(text), &number) && number >= spec_.from && number < spec_.to;
      break;
    }
    case Kind::kString: match = spec_.any_value || string_->matches(text); break;
  }
  return match != spec_.invert;
}

}  // namespace outrider::match
