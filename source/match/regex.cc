#include "source/match/regex.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "re2/re2.h"
#include "re2/set.h"

// RE2's shared library does not export it; programs that are linked statically, as the release is, have it.
namespace re2::hooks {
void SetDFAStateCacheResetHook(DFAStateCacheResetCallback* callback) __attribute__((weak));
}

namespace outrider::match {
namespace {

re2::StringPiece piece(std::string_view s) { return re2::StringPiece(s.data(), s.size()); }

re2::RE2::Options options(bool ignore_case) {
  re2::RE2::Options out(re2::RE2::Latin1);
  out.set_log_errors(false);
  out.set_case_sensitive(!ignore_case);
  return out;
}

bool isMeta(char c) { return std::strchr(".[](){}*+?|^$\\", c) != nullptr; }

}  // namespace

Regex::Regex(std::unique_ptr<re2::RE2> regex) : regex_(std::move(regex)) {}
Regex::~Regex() = default;

const std::string& Regex::pattern() const { return regex_->pattern(); }

absl::StatusOr<std::shared_ptr<const Regex>> Regex::compile(std::string_view pattern, bool ignore_case) {
  auto regex = std::make_unique<re2::RE2>(piece(pattern), options(ignore_case));
  if (!regex->ok()) return absl::InvalidArgumentError(regex->error());
  return std::shared_ptr<const Regex>(new Regex(std::move(regex)));
}

absl::StatusOr<std::shared_ptr<const Regex>> CheckedRegex::orCompile(std::string_view pattern) const {
  if (regex != nullptr && regex->pattern() == pattern) return regex;
  return Regex::compile(pattern);
}

bool Regex::fullMatch(std::string_view text) const { return regex_->Match(piece(text), 0, text.size(), re2::RE2::ANCHOR_BOTH, nullptr, 0); }

bool Regex::partialMatch(std::string_view text) const {
  return regex_->Match(piece(text), 0, text.size(), re2::RE2::UNANCHORED, nullptr, 0);
}

std::string Regex::checkSubstitution(std::string_view substitution) const {
  std::string error;
  if (!regex_->CheckRewriteString(piece(substitution), &error) && error.empty()) error = "invalid substitution";
  return error;
}

bool Regex::firstGroup(std::string_view text, std::string_view& out) const {
  re2::StringPiece groups[2];
  const int wanted = regex_->NumberOfCapturingGroups() > 0 ? 2 : 1;
  if (!regex_->Match(piece(text), 0, text.size(), re2::RE2::UNANCHORED, groups, wanted)) return false;
  out = {groups[wanted - 1].data(), groups[wanted - 1].size()};
  return true;
}

std::string_view Regex::replaceAll(std::string_view text, std::string_view substitution, base::Arena& arena) const {
  constexpr int kMost = 10;  // \0 to \9
  re2::StringPiece groups[kMost];
  const int wanted = std::min(kMost, 1 + regex_->NumberOfCapturingGroups());
  // Two passes over the same matches: count, then write.
  char* out = nullptr;
  size_t size = 0;
  const auto emit = [&](std::string_view bytes) {
    if (out != nullptr && !bytes.empty()) std::memcpy(out + size, bytes.data(), bytes.size());
    size += bytes.size();
  };
  const auto pass = [&] {
    size_t at = 0;
    const char* last_end = nullptr;
    bool any = false;
    while (at <= text.size() && regex_->Match(piece(text), at, text.size(), re2::RE2::UNANCHORED, groups, wanted)) {
      const auto begin = static_cast<size_t>(groups[0].data() - text.data());
      emit(text.substr(at, begin - at));
      if (groups[0].empty() && groups[0].data() == last_end) {  // no empty match right behind a match
        if (begin < text.size()) emit(text.substr(begin, 1));
        at = begin + 1;
        continue;
      }
      any = true;
      for (size_t i = 0; i < substitution.size(); ++i) {
        if (substitution[i] != '\\' || i + 1 == substitution.size()) {
          emit(substitution.substr(i, 1));
          continue;
        }
        const char c = substitution[++i];
        if (c >= '0' && c <= '9') {
          const int group = c - '0';
          if (group < wanted) emit({groups[group].data(), groups[group].size()});
        } else {
          emit(substitution.substr(i, 1));
        }
      }
      at = begin + groups[0].size();
      last_end = text.data() + at;
    }
    if (at < text.size()) emit(text.substr(at));
    return any;
  };
  if (!pass()) return text;
  const size_t total = size;
  out = arena.bytes(total + 1);
  size = 0;
  pass();
  return {out, total};
}

std::string Regex::literalPrefix(std::string_view pattern) {
  // A '|' outside of a class makes the prefix uncertain; so does any flag group, which begins with '('.
  for (size_t i = 0, depth = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\') {
      if (i + 1 < pattern.size() && pattern[i + 1] == 'Q') return {};
      ++i;
    } else if (c == '(') {
      ++depth;
    } else if (c == ')' && depth > 0) {
      --depth;
    } else if (c == '|' && depth == 0) {
      return {};  // also for '|' in a class: only the index suffers
    }
  }
  std::string out;
  size_t i = !pattern.empty() && pattern[0] == '^' ? 1 : 0;
  while (i < pattern.size()) {
    char c = pattern[i];
    size_t next = i + 1;
    if (c == '\\') {
      if (next == pattern.size() || std::isalnum(static_cast<unsigned char>(pattern[next])) != 0) break;
      c = pattern[next++];
    } else if (isMeta(c)) {
      break;
    }
    if (next < pattern.size() && std::strchr("*?{", pattern[next]) != nullptr) break;  // may be absent
    out += c;
    if (next < pattern.size() && pattern[next] == '+') break;
    i = next;
  }
  return out;
}

namespace {

// How often an automaton was begun anew on this thread, and how many texts ran through sets since.
thread_local uint32_t forgotten = 0;
thread_local uint32_t texts_between = 0;

void watchForgetting() {
  static const bool once = [] {
    if (re2::hooks::SetDFAStateCacheResetHook != nullptr) {
      re2::hooks::SetDFAStateCacheResetHook([](const re2::hooks::DFAStateCacheReset&) { ++forgotten; });
    }
    return true;
  }();
  (void)once;
}

}  // namespace

struct RegexSet::State {
  explicit State(size_t most_bytes) : set(budget(most_bytes), re2::RE2::ANCHOR_BOTH) {}
  static re2::RE2::Options budget(size_t most_bytes) {
    re2::RE2::Options out = options(false);
    out.set_max_mem(static_cast<int64_t>(most_bytes));
    out.set_never_capture(true);
    return out;
  }
  // What one text, or texts that come close on each other, made the automaton forget. Now and then is no harm: it learns from many.
  void onForgotten(uint32_t times) {
    constexpr uint32_t kFar = 10'000, kMostStrikes = 3;
    if (times == 1 && std::exchange(texts_between, 0) >= kFar) return;
    texts_between = 0;
    if (strikes.fetch_add(1, std::memory_order_relaxed) + 1 >= kMostStrikes) usable.store(false, std::memory_order_relaxed);
  }

  re2::RE2::Set set;
  std::atomic<uint32_t> strikes{0};
  std::atomic<bool> usable{false};
};

RegexSet::RegexSet(size_t most_bytes) : state_(std::make_unique<State>(most_bytes)) {}
RegexSet::~RegexSet() = default;

absl::Status RegexSet::add(std::string_view pattern) {
  std::string error;
  if (state_->set.Add(piece(pattern), &error) < 0) return absl::InvalidArgumentError(error);
  return absl::OkStatus();
}

bool RegexSet::build() {
  watchForgetting();
  const bool built = state_->set.Compile();
  state_->usable.store(built, std::memory_order_relaxed);
  return built;
}

void RegexSet::warm(std::string_view prefix) const {
  // The states that cost much hold most patterns: those behind the common prefix and one or two more bytes.
  constexpr std::string_view kBytes = "/-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  std::string text(prefix);
  std::vector<int> hits;
  match(text, hits);
  text += "  ";
  for (const char one : kBytes) {
    text[prefix.size()] = one;
    for (const char two : std::string_view("/a0")) {
      text[prefix.size() + 1] = two;
      if (!match(text, hits)) return;
    }
  }
}

bool RegexSet::match(std::string_view text, std::vector<int>& out) const {
  out.clear();
  if (!state_->usable.load(std::memory_order_relaxed)) return false;
  re2::RE2::Set::ErrorInfo error{re2::RE2::Set::kNoError};
  forgotten = 0;
  ++texts_between;
  const bool answered = state_->set.Match(piece(text), &out, &error) || error.kind == re2::RE2::Set::kNoError;
  if (forgotten > 0) state_->onForgotten(forgotten);
  if (!answered) state_->usable.store(false, std::memory_order_relaxed);  // and would not be next time
  return answered;
}

}  // namespace outrider::match
