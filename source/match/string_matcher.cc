#include "source/match/string_matcher.h"

#include "absl/strings/str_cat.h"
#include "source/http/header_map.h"

namespace outrider::match {

std::string StringMatchSpec::str() const {
  const char* name = "";
  switch (kind) {
    case Kind::kExact: name = "exact"; break;
    case Kind::kPrefix: name = "prefix"; break;
    case Kind::kSuffix: name = "suffix"; break;
    case Kind::kContains: name = "contains"; break;
    case Kind::kRegex: name = "regex"; break;
  }
  return absl::StrCat(name, " '", value, "'", ignore_case ? " ignoring case" : "");
}

absl::StatusOr<StringMatcher> StringMatcher::compile(const StringMatchSpec& spec) {
  StringMatcher out(spec);
  if (spec.kind == StringMatchSpec::Kind::kRegex) {
    auto regex = spec.checked.orCompile(spec.value);
    if (!regex.ok()) return regex.status();
    out.regex_ = *std::move(regex);
  } else if (spec.ignore_case) {
    for (char& c : out.spec_.value) c = http::lowerAscii(c);
  }
  return out;
}

namespace {

bool containsIgnoreCase(std::string_view text, std::string_view lower) {
  if (lower.empty()) return true;
  for (size_t i = 0; i + lower.size() <= text.size(); ++i) {
    if (http::equalsIgnoreCase(text.substr(i, lower.size()), lower)) return true;
  }
  return false;
}

}  // namespace

bool StringMatcher::matches(std::string_view text) const {
  const std::string_view value = spec_.value;
  const bool fold = spec_.ignore_case;
  const auto equal = [fold](std::string_view a, std::string_view b) { return fold ? http::equalsIgnoreCase(a, b) : a == b; };
  switch (spec_.kind) {
    case StringMatchSpec::Kind::kExact: return equal(text, value);
    case StringMatchSpec::Kind::kPrefix: return text.size() >= value.size() && equal(text.substr(0, value.size()), value);
    case StringMatchSpec::Kind::kSuffix: return text.size() >= value.size() && equal(text.substr(text.size() - value.size()), value);
    case StringMatchSpec::Kind::kContains: return fold ? containsIgnoreCase(text, value) : text.find(value) != std::string_view::npos;
    case StringMatchSpec::Kind::kRegex: return regex_->fullMatch(text);
  }
  OUTRIDER_UNREACHABLE();
}

}  // namespace outrider::match
