// A request of the admin endpoint: method, normalised path and decoded query.
// Thread: main. Lifetime: a value. Paths as Envoy's admin reads them: "%41" is "A", "//" is "/", dot segments are resolved.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace outrider::admin {

struct Request {
  std::string method;
  std::string path;                                         // "/stats"
  std::vector<std::pair<std::string, std::string>> params;  // in order, decoded
  std::string host;                                         // Host or :authority
  bool has_origin = false;                                  // a browser's page asks

  // The first parameter of that name, or null.
  const std::string* param(std::string_view name) const {
    for (const auto& [key, value] : params) {
      if (key == name) return &value;
    }
    return nullptr;
  }
  bool has(std::string_view name) const { return param(name) != nullptr; }
};

// Splits and normalises "/a/../stats?filter=x%20y". False: escapes that are none, or a path that leaves the root.
bool parseTarget(std::string_view target, Request& out);

// Is `host` ("localhost:9901", "127.0.0.1", "[::1]:1") one that no name server can point at this machine?
bool isLocalName(std::string_view host);

}  // namespace outrider::admin
