// Collects everything that is wrong with a piece of config, each with its exact field path.
// Thread: one at a time. Lifetime: of one parse. Costs nothing while nothing is wrong: a scope pushes a view, no text is built.
// Printed form, one line each: [file:line:col: ]path: 'value': what is wrong; what would be valid
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"

namespace outrider::config {

struct Problem {
  std::string path;   // "filter_chains[0].filters[1].typed_config.route_config.virtual_hosts[2].domains"
  std::string value;  // the offending value, empty when there is none to show
  std::string what;   // what is wrong with it
  std::string valid;  // what would be valid, may be empty
  std::string file;
  int line = 0;  // 0: unknown
  int column = 0;
  std::string str() const;
  bool operator==(const Problem&) const = default;
};

class Problems final {
 public:
  // Finds where a path stands in the text it came from (yaml.h fills it).
  class Locator {
   public:
    virtual ~Locator() = default;
    virtual bool locate(std::string_view path, std::string& file, int& line, int& column) const = 0;
  };

  // Leaves its step when destroyed. Names are views: literals, or text that outlives the scope.
  class Scope final {
   public:
    Scope(Problems& owner, std::string_view name, int64_t index) : owner_(owner) { owner_.steps_.push_back({name, index}); }
    ~Scope() { owner_.steps_.pop_back(); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Problems& owner_;
  };

  [[nodiscard]] Scope field(std::string_view name) { return Scope(*this, name, kField); }
  [[nodiscard]] Scope index(size_t i) { return Scope(*this, {}, static_cast<int64_t>(i)); }
  [[nodiscard]] Scope element(std::string_view name, size_t i) { return Scope(*this, name, static_cast<int64_t>(i)); }
  [[nodiscard]] Scope key(std::string_view key) { return Scope(*this, key, kKey); }

  // At the current path.
  void add(std::string_view what) { add({}, what, {}); }
  void add(std::string_view value, std::string_view what, std::string_view valid = {});
  // One step below it.
  void addAt(std::string_view field, std::string_view value, std::string_view what, std::string_view valid = {}) {
    const Scope scope(*this, field, kField);
    add(value, what, valid);
  }
  void add(Problem problem) { list_.push_back(std::move(problem)); }

  // A field that is set but not implemented here, at the current path plus `field`: reported, not an error.
  void unsupported(std::string_view field);

  bool empty() const { return list_.empty(); }
  size_t size() const { return list_.size(); }
  const std::vector<Problem>& list() const { return list_; }
  const std::vector<std::string>& unsupportedPaths() const { return unsupported_; }
  std::string path() const;
  std::string str(std::string_view separator = "\n") const;
  void setLocator(const Locator* locator) { locator_ = locator; }

 private:
  static constexpr int64_t kField = -1;
  static constexpr int64_t kKey = -2;
  struct Step {
    std::string_view name;  // may be empty with an index
    int64_t index;          // >= 0: element; kField; kKey
  };
  std::vector<Step> steps_;
  std::vector<Problem> list_;
  std::vector<std::string> unsupported_;                // in the order of their reports
  absl::flat_hash_set<std::string> known_unsupported_;  // the same
  const Locator* locator_ = nullptr;
};

}  // namespace outrider::config
