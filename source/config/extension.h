// How an extension's config gets from bytes to an immutable value: the registry that parsers look types up in.
//
// An extension is found by its type URL, never by its name. Each type URL has one of three states: done; inert (telemetry and
// hints only: validated, named once in the log, on /unsupported and in a counter); refused. A type not listed is refused.
// Thread: built at start, then read only; parsing runs off the workers. `Product` is what the category's users need.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "source/config/names.h"
#include "source/config/problems.h"

namespace outrider::stats {
class Store;
}

namespace outrider::config {

enum class Posture : uint8_t { kDone, kInert, kRefused };

// Which value an unset field gets where Envoy's is unsafe.
struct Defaults {
  bool envoy = false;  // --defaults=envoy
};

// What every parser may need. Lifetime: of one parse; what it refers to lives as long as the process.
struct ParseContext {
  Problems& problems;
  NameTable& names;
  stats::Store& stats;
  Defaults defaults;
};

template <class Product, class Context>
class ExtensionTable final {
 public:
  using Parse = std::function<Product(std::string_view type_url, std::string_view bytes, Context& context)>;
  void add(std::string type_name, Posture posture, Parse parse) { entries_[std::move(type_name)] = {posture, std::move(parse)}; }
  struct Entry {
    Posture posture;
    Parse parse;
  };
  // By the part of the type URL behind the last '/'; null: not listed.
  const Entry* find(std::string_view type_url) const {
    const size_t slash = type_url.rfind('/');
    const auto at = entries_.find(std::string(slash == std::string_view::npos ? type_url : type_url.substr(slash + 1)));
    return at == entries_.end() ? nullptr : &at->second;
  }
  const std::map<std::string, Entry>& entries() const { return entries_; }

 private:
  std::map<std::string, Entry> entries_;
};

}  // namespace outrider::config
