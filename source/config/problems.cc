#include "source/config/problems.h"

#include <algorithm>

namespace outrider::config {

std::string Problem::str() const {
  std::string out;
  if (!file.empty()) {
    out += file;
    if (line > 0) out += ":" + std::to_string(line) + ":" + std::to_string(column);
    out += ": ";
  }
  if (!path.empty()) out += path + ": ";
  if (!value.empty()) out += "'" + value + "': ";
  out += what;
  if (!valid.empty()) out += "; " + valid;
  return out;
}

std::string Problems::path() const {
  std::string out;
  for (const Step& step : steps_) {
    if (step.index == kKey) {
      out += "[\"" + std::string(step.name) + "\"]";
      continue;
    }
    if (!step.name.empty()) {
      if (!out.empty()) out += '.';
      out += step.name;
    }
    if (step.index >= 0) out += "[" + std::to_string(step.index) + "]";
  }
  return out;
}

void Problems::add(std::string_view value, std::string_view what, std::string_view valid) {
  Problem problem;
  problem.path = path();
  // A value is shown, not dumped.
  constexpr size_t kMostShown = 200;
  problem.value = value.substr(0, kMostShown);
  if (value.size() > kMostShown) problem.value += "...";
  problem.what = what;
  problem.valid = valid;
  if (locator_ != nullptr) locator_->locate(problem.path, problem.file, problem.line, problem.column);
  list_.push_back(std::move(problem));
}

void Problems::unsupported(std::string_view field) {
  const Scope scope(*this, field, kField);
  std::string at = path();
  if (known_unsupported_.insert(at).second) unsupported_.push_back(std::move(at));
}

std::string Problems::str(std::string_view separator) const {
  std::string out;
  for (const Problem& problem : list_) {
    if (!out.empty()) out += separator;
    out += problem.str();
  }
  return out;
}

}  // namespace outrider::config
