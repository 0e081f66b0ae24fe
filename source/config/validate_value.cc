#include "source/config/validate_value.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"

namespace outrider::config {

using google::protobuf::FieldDescriptor;

namespace {

std::string show(long double number) {
  char text[400];
  const auto [end, code] = std::to_chars(text, text + sizeof(text), static_cast<double>(number), std::chars_format::fixed);
  return std::string(text, end);
}

uint64_t characters(std::string_view text) {
  uint64_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

bool isHeaderName(std::string_view text, bool strict) {
  // Not strict: what does no harm, also nothing at all (fields that may be left out have this rule).
  if (!strict) return text.find_first_of(std::string_view("\0\n\r", 3)) == std::string_view::npos;
  if (text.starts_with(':')) text.remove_prefix(1);
  if (text.empty()) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    // The rule's own class: its "+-." is the range from '+' to '.', so ',' is in it.
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '+' && c <= '.') ||
           std::string_view("!#$%&'*^_|~`").find(c) != std::string_view::npos;
  });
}

bool isHeaderValue(std::string_view text, bool strict) {
  return std::all_of(text.begin(), text.end(), [strict](char c) {
    const auto byte = static_cast<unsigned char>(c);
    if (!strict) return byte != 0 && byte != '\n' && byte != '\r';
    return (byte >= 0x20 || byte == '\t') && byte != 0x7F;
  });
}

}  // namespace

void ValueCheck::number(long double value, std::string_view unit) {
  if (rule_.ignore_empty && value == 0) return;
  const auto refuse = [&](const char* what, long double limit) {
    problems_.add(absl::StrCat(show(value), base::toAbsl(unit)), "out of range",
                  absl::StrCat("must be ", what, show(limit), base::toAbsl(unit)));
  };
  if (rule_.outside) {
    const long double low = rule_.lt ? *rule_.lt : *rule_.lte;
    const long double high = rule_.gt ? *rule_.gt : *rule_.gte;
    const bool below = rule_.lt ? value < low : value <= low;
    const bool above = rule_.gt ? value > high : value >= high;
    if (below || above) return;
    return refuse(rule_.gt ? "greater than " : "at least ", high);
  }
  // Written so that NaN is outside of every range.
  if (rule_.gt && !(value > *rule_.gt)) return refuse("greater than ", *rule_.gt);
  if (rule_.gte && !(value >= *rule_.gte)) return refuse("at least ", *rule_.gte);
  if (rule_.lt && !(value < *rule_.lt)) return refuse("less than ", *rule_.lt);
  if (rule_.lte && !(value <= *rule_.lte)) return refuse("at most ", *rule_.lte);
}

void ValueCheck::boolean(bool value) {
  if (rule_.constant && value != *rule_.constant) {
    problems_.add(value ? "true" : "false", "not allowed", *rule_.constant ? "must be true" : "must be false");
  }
}

void ValueCheck::enumeration(int value, const FieldDescriptor& field) {
  const auto* known = field.enum_type()->FindValueByNumber(value);
  if (rule_.defined_only && known == nullptr) {
    problems_.add(std::to_string(value), absl::StrCat("is no value of ", field.enum_type()->full_name()));
  } else if (std::find(rule_.enum_not_in.begin(), rule_.enum_not_in.end(), value) != rule_.enum_not_in.end()) {
    problems_.add(known != nullptr ? known->name() : std::to_string(value), "not allowed here");
  }
}

void ValueCheck::text(std::string_view value, bool is_bytes) {
  if (rule_.ignore_empty && value.empty()) return;
  const std::string_view shown = is_bytes ? std::string_view() : value;
  const auto length = [&](const char* what, uint64_t limit, const char* unit) {
    problems_.add(shown, value.empty() ? "must not be empty" : what,
                  value.empty() && limit == 1 ? std::string() : absl::StrCat(limit, " ", unit));
  };
  if (value.size() < rule_.least_bytes) return length("is too short; at least", rule_.least_bytes, "bytes");
  if (value.size() > rule_.most_bytes) return length("is too long; at most", rule_.most_bytes, "bytes");
  if (rule_.least_chars > 0 && characters(value) < rule_.least_chars) {
    return length("is too short; at least", rule_.least_chars, "characters");
  }
  if (rule_.most_chars != UINT64_MAX && characters(value) > rule_.most_chars) {
    return length("is too long; at most", rule_.most_chars, "characters");
  }
  if (!value.starts_with(rule_.prefix)) return problems_.add(shown, absl::StrCat("must begin with '", rule_.prefix, "'"));
  if (!value.ends_with(rule_.suffix)) return problems_.add(shown, absl::StrCat("must end with '", rule_.suffix, "'"));
  if (!rule_.in.empty() && std::find(rule_.in.begin(), rule_.in.end(), value) == rule_.in.end()) {
    std::string words;
    for (const std::string& word : rule_.in) absl::StrAppend(&words, words.empty() ? "one of '" : ", '", word, "'");
    return problems_.add(shown, "not allowed", words);
  }
  if (rule_.text == ValueRule::Text::kHeaderName && !isHeaderName(value, rule_.strict)) {
    return problems_.add(shown, "is not a header name");
  }
  if (rule_.text == ValueRule::Text::kHeaderValue && !isHeaderValue(value, rule_.strict)) {
    return problems_.add(shown, "is not a header value");
  }
  // The API's patterns are anchored.
  if (rule_.pattern != nullptr && !rule_.pattern->partialMatch(value)) {
    problems_.add(shown, "has characters that are not allowed", absl::StrCat("must match ", rule_.pattern->pattern()));
  }
}

}  // namespace outrider::config
