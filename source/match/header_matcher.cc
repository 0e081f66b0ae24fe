#include "source/match/header_matcher.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"

namespace outrider::match {

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

bool HeaderMatcher::holdsFor(std::string_view value) const {
  using Kind = HeaderMatchSpec::Kind;
  switch (spec_.kind) {
    case Kind::kPresent: return spec_.present;
    case Kind::kRange: {
      int64_t number = 0;
      return absl::SimpleAtoi(base::toAbsl(value), &number) && number >= spec_.from && number < spec_.to;
    }
    case Kind::kString: return spec_.any_value || string_->matches(value);
  }
  OUTRIDER_UNREACHABLE();
}

}  // namespace outrider::match
