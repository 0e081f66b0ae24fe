#include "source/config/match_parse.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/config/route/v3/route_components.pb.h"
#include "envoy/type/matcher/v3/regex.pb.h"
#include "envoy/type/matcher/v3/string.pb.h"
#include "envoy/type/v3/percent.pb.h"
#include "source/base/absl_compat.h"
#include "source/match/regex.h"

// Deprecated fields still arrive from control planes, and must be honoured or refused like the others.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace outrider::config {
namespace {

namespace matcher = envoy::type::matcher::v3;
namespace route = envoy::config::route::v3;
using Kind = match::StringMatchSpec::Kind;

// Null after a problem.
std::shared_ptr<const match::Regex> checkRegex(const std::string& pattern, Problems& problems) {
  const auto at = problems.field("regex");
  if (pattern.empty()) {
    problems.add("is empty");
    return nullptr;
  }
  auto compiled = match::Regex::compile(pattern);
  if (compiled.ok()) return *std::move(compiled);
  problems.add(pattern, base::toStd(compiled.status().message()), "RE2 syntax");
  return nullptr;
}

}  // namespace

bool isHeaderName(std::string_view name) {
  if (!name.empty() && name.front() == ':') name.remove_prefix(1);
  constexpr std::string_view kToken = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || kToken.find(c) != std::string_view::npos;
  });
}

std::optional<match::StringMatchSpec> parseStringMatcher(const matcher::StringMatcher& in, Problems& problems) {
  match::StringMatchSpec out;
  out.ignore_case = in.ignore_case();
  const auto text = [&](Kind kind, std::string_view field, const std::string& value) -> std::optional<match::StringMatchSpec> {
    if (value.empty() && kind != Kind::kExact) {
      problems.addAt(field, {}, "is empty");
      return std::nullopt;
    }
    out.kind = kind;
    out.value = value;
    return out;
  };
  switch (in.match_pattern_case()) {
    case matcher::StringMatcher::kExact: return text(Kind::kExact, "exact", in.exact());
    case matcher::StringMatcher::kPrefix: return text(Kind::kPrefix, "prefix", in.prefix());
    case matcher::StringMatcher::kSuffix: return text(Kind::kSuffix, "suffix", in.suffix());
    case matcher::StringMatcher::kContains: return text(Kind::kContains, "contains", in.contains());
    case matcher::StringMatcher::kSafeRegex: {
      const auto at = problems.field("safe_regex");
      out.checked.regex = checkRegex(in.safe_regex().regex(), problems);
      if (out.checked.regex == nullptr) return std::nullopt;
      return text(Kind::kRegex, "regex", in.safe_regex().regex());
    }
    case matcher::StringMatcher::kCustom:
      problems.addAt("custom", in.custom().name(), "custom matchers are not supported; what matches would change");
      return std::nullopt;
    case matcher::StringMatcher::MATCH_PATTERN_NOT_SET: break;
  }
  problems.add({}, "has no pattern", "one of exact, prefix, suffix, contains, safe_regex");
  return std::nullopt;
}

std::optional<match::HeaderMatchSpec> parseHeaderMatcher(const route::HeaderMatcher& in, Problems& problems) {
  match::HeaderMatchSpec out;
  if (!isHeaderName(in.name())) {
    problems.addAt("name", in.name(), "is no header name");
    return std::nullopt;
  }
  out.name = absl::AsciiStrToLower(in.name());
  out.invert = in.invert_match();
  out.missing_as_empty = in.treat_missing_header_as_empty();
  const auto text = [&](Kind kind, std::string_view field, const std::string& value) -> std::optional<match::HeaderMatchSpec> {
    if (value.empty() && kind != Kind::kExact) {
      problems.addAt(field, {}, "is empty");
      return std::nullopt;
    }
    out.kind = match::HeaderMatchSpec::Kind::kString;
    out.any_value = value.empty();
    out.string = {kind, value, false};
    return out;
  };
  switch (in.header_match_specifier_case()) {
    case route::HeaderMatcher::kExactMatch: return text(Kind::kExact, "exact_match", in.exact_match());
    case route::HeaderMatcher::kPrefixMatch: return text(Kind::kPrefix, "prefix_match", in.prefix_match());
    case route::HeaderMatcher::kSuffixMatch: return text(Kind::kSuffix, "suffix_match", in.suffix_match());
    case route::HeaderMatcher::kContainsMatch: return text(Kind::kContains, "contains_match", in.contains_match());
    case route::HeaderMatcher::kSafeRegexMatch: {
      const auto at = problems.field("safe_regex_match");
      auto regex = checkRegex(in.safe_regex_match().regex(), problems);
      if (regex == nullptr) return std::nullopt;
      text(Kind::kRegex, "regex", in.safe_regex_match().regex());
      out.string.checked.regex = std::move(regex);
      return out;
    }
    case route::HeaderMatcher::kStringMatch: {
      const auto at = problems.field("string_match");
      auto string = parseStringMatcher(in.string_match(), problems);
      if (!string.has_value()) return std::nullopt;
      out.kind = match::HeaderMatchSpec::Kind::kString;
      out.string = *std::move(string);
      return out;
    }
    case route::HeaderMatcher::kRangeMatch:
      out.kind = match::HeaderMatchSpec::Kind::kRange;
      out.from = in.range_match().start();
      out.to = in.range_match().end();
      return out;
    case route::HeaderMatcher::kPresentMatch: out.present = in.present_match(); return out;
    case route::HeaderMatcher::HEADER_MATCH_SPECIFIER_NOT_SET: return out;  // present, as Envoy
  }
  return std::nullopt;
}

std::optional<RegexRewriteSpec> parseRegexRewrite(const matcher::RegexMatchAndSubstitute& in, Problems& problems) {
  RegexRewriteSpec out{in.pattern().regex(), in.substitution()};
  {
    const auto at = problems.field("pattern");
    out.checked.regex = checkRegex(out.pattern, problems);
    if (out.checked.regex == nullptr) return std::nullopt;
  }
  if (out.substitution.find_first_of(std::string_view("\0\r\n", 3)) != std::string::npos) {
    problems.addAt("substitution", out.substitution, "has CR, LF or NUL");
    return std::nullopt;
  }
  if (const std::string wrong = out.checked.regex->checkSubstitution(out.substitution); !wrong.empty()) {
    problems.addAt("substitution", out.substitution, wrong);
    return std::nullopt;
  }
  return out;
}

FractionSpec parsePercent(const envoy::type::v3::FractionalPercent& in) {
  FractionSpec out;
  out.numerator = in.numerator();
  switch (in.denominator()) {
    case envoy::type::v3::FractionalPercent::TEN_THOUSAND: out.denominator = 10'000; break;
    case envoy::type::v3::FractionalPercent::MILLION: out.denominator = 1'000'000; break;
    default: out.denominator = 100;
  }
  return out;
}

FractionSpec parseFraction(const envoy::config::core::v3::RuntimeFractionalPercent& in, Problems& problems) {
  FractionSpec out = parsePercent(in.default_value());
  out.runtime_key = in.runtime_key();
  if (!in.has_default_value()) problems.addAt("default_value", {}, "is missing");
  if (!out.runtime_key.empty()) problems.unsupported("runtime_key");  // the default holds
  return out;
}

Nanos parseDuration(std::string_view field, const google::protobuf::Duration& in, Problems& problems) {
  constexpr int64_t kMost = 100LL * 365 * 86400;
  if (in.seconds() < 0 || in.nanos() < 0 || in.seconds() > kMost) {
    problems.addAt(field, std::to_string(in.seconds()) + "s", in.seconds() > kMost ? "is too long" : "is negative");
    return 0;
  }
  return in.seconds() * base::kSecond + in.nanos();
}

void reportOthers(const google::protobuf::Message& in, std::initializer_list<std::string_view> known, Problems& problems,
                  std::initializer_list<std::string_view> refused) {
  std::vector<const google::protobuf::FieldDescriptor*> set;
  in.GetReflection()->ListFields(in, &set);
  for (const auto* field : set) {
    const std::string_view name = field->name();
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    if (std::find(refused.begin(), refused.end(), name) != refused.end()) {
      problems.addAt(name, {}, "is not supported, and leaving it out would change what is decided");
    } else {
      problems.unsupported(name);
    }
  }
}

}  // namespace outrider::config
