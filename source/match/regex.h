// Regular expressions in linear time (RE2), over bytes: what is not UTF-8 matches as bytes do, so a decision never
// depends on the validity of an encoding. Sources: type.matcher.v3.RegexMatcher, RegexMatchAndSubstitute.
// Thread: immutable, any. Lifetime: config values. Cost: matching allocates nothing once RE2's automaton is warm.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "source/base/arena.h"

namespace re2 {
class RE2;
}

namespace outrider::match {

class Regex final {
 public:
  static absl::StatusOr<std::shared_ptr<const Regex>> compile(std::string_view pattern, bool ignore_case = false);
  ~Regex();

  const std::string& pattern() const;
  bool fullMatch(std::string_view text) const;
  bool partialMatch(std::string_view text) const;

  // Is this a substitution that the pattern can fill (\0 to \9, \\)? Empty: yes; else what is wrong.
  std::string checkSubstitution(std::string_view substitution) const;
  // Every match replaced, as RE2::GlobalReplace does; the result lives in the arena.
  std::string_view replaceAll(std::string_view text, std::string_view substitution, base::Arena& arena) const;
  // The first group (or the whole match if there is none) of the first match; false: no match.
  bool firstGroup(std::string_view text, std::string_view& out) const;

  // The bytes that every full match begins with; may be empty.
  static std::string literalPrefix(std::string_view pattern);

 private:
  explicit Regex(std::unique_ptr<re2::RE2> regex);
  const std::unique_ptr<re2::RE2> regex_;
};

// What the check of a configuration compiled, kept in a spec beside its text for those who serve by it: compiling is the dear part of
// both. No part of what is compared, since equal texts match alike.
struct CheckedRegex {
  std::shared_ptr<const Regex> regex;  // null: not checked
  bool operator==(const CheckedRegex&) const { return true; }
  // The one it has, else a new one.
  absl::StatusOr<std::shared_ptr<const Regex>> orCompile(std::string_view pattern) const;
};

// Many patterns tried in one pass over the text. Immutable after build(), but for what its automaton learns.
// The automaton may have more states than its memory holds; RE2 then forgets all of them and begins anew, which costs more than
// trying the patterns one by one if it happens all the time. A set that does so answers no longer.
class RegexSet final {
 public:
  static constexpr size_t kMostBytes = 64 << 20;
  explicit RegexSet(size_t most_bytes = kMostBytes);  // of the automaton
  ~RegexSet();
  absl::Status add(std::string_view pattern);  // index: the order of calls
  // False: too large for its budget; then match() always answers false.
  bool build();
  // Runs texts that begin with `prefix` through the automaton, so that a worker's first text finds most of what it needs.
  void warm(std::string_view prefix) const;
  // Indices of all full matches, in no order. False: the set has no answer, out of memory or given up; try the patterns one by one.
  // RE2 itself allocates here; so the set pays off from about eight patterns on.
  bool match(std::string_view text, std::vector<int>& out) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace outrider::match
