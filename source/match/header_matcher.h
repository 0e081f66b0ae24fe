// A test of one header field, bound to its id when config is built. Source: route.v3.HeaderMatcher.
// Of several fields of one name one that holds is enough, and an inverted test wants none to hold, as Envoy since 1.38.
// Thread: immutable, any; the head belongs to the caller's worker.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "source/http/field_name.h"
#include "source/match/string_matcher.h"

namespace outrider::match {

using http::FieldName;

struct HeaderMatchSpec {
  enum class Kind : uint8_t { kPresent, kRange, kString };
  std::string name;
  Kind kind = Kind::kPresent;
  bool present = true;       // kPresent
  int64_t from = 0, to = 0;  // kRange: from <= value < to
  StringMatchSpec string;    // kString
  bool any_value = false;    // kString: an empty exact_match matches every value, as Envoy
  bool invert = false;
  bool missing_as_empty = false;
  bool operator==(const HeaderMatchSpec&) const = default;
  std::string str() const;  // for explain
};

class HeaderMatcher final {
 public:
  static absl::StatusOr<HeaderMatcher> compile(const HeaderMatchSpec& spec);
  bool matches(const http::RequestHead& head) const { return test(head); }
  bool matches(const http::ResponseHead& head) const { return test(head); }
  bool matches(const http::HeaderMap& headers) const { return test(headers); }
  const HeaderMatchSpec& spec() const { return spec_; }

 private:
  HeaderMatcher() = default;
  template <class Head>
  bool test(const Head& head) const {
    bool present = false;
    const bool holds = field_.any(
        head, [this](std::string_view value) { return holdsFor(value); }, present);
    if (present) return holds != spec_.invert;
    if (spec_.missing_as_empty) return holdsFor({}) != spec_.invert;
    // An absent field fails every test of a value, inverted or not.
    return spec_.kind == HeaderMatchSpec::Kind::kPresent && spec_.present == spec_.invert;
  }
  bool holdsFor(std::string_view value) const;
  HeaderMatchSpec spec_;
  FieldName field_;
  std::optional<StringMatcher> string_;
};

}  // namespace outrider::match
