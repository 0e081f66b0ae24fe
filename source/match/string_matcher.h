// A test of one string: exact, prefix, suffix, contains or regular expression, with or without case.
// Thread: immutable, any. Source: type.matcher.v3.StringMatcher.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "source/match/regex.h"

namespace outrider::match {

struct StringMatchSpec {
  enum class Kind : uint8_t { kExact, kPrefix, kSuffix, kContains, kRegex };
  Kind kind = Kind::kExact;
  std::string value;
  bool ignore_case = false;  // ASCII; not for kRegex, as in Envoy
  CheckedRegex checked = {};  // of kRegex
  bool operator==(const StringMatchSpec&) const = default;
  std::string str() const;  // "prefix '/a'"
};

class StringMatcher final {
 public:
  static absl::StatusOr<StringMatcher> compile(const StringMatchSpec& spec);
  bool matches(std::string_view text) const;
  const StringMatchSpec& spec() const { return spec_; }

 private:
  explicit StringMatcher(const StringMatchSpec& spec) : spec_(spec) {}
  StringMatchSpec spec_;  // value in lower case when ignore_case
  std::shared_ptr<const Regex> regex_;
};

}  // namespace outrider::match
