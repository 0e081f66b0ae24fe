// The bootstrap: read, merged, checked, with the node's identity filled in.
// Thread: main, at start. Source: envoy.config.bootstrap.v3.Bootstrap; --config-path, --config-yaml, --service-*.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "source/config/document.h"
#include "source/config/honored.h"
#include "source/config/problems.h"
#include "source/config/validate.h"
#include "source/config/yaml.h"
#include "source/server/flags.h"

namespace outrider::server {

// One entry of node.extensions: what this build can do, as control planes are told.
struct NodeExtension {
  std::string name;
  std::string category;
  std::vector<std::string> type_urls;
};

class LoadedBootstrap final : public config::Problems::Locator {
 public:
  envoy::config::bootstrap::v3::Bootstrap message;
  // Of static config; counted when --allow-unknown-static-fields is given.
  config::UnknownFields unknown;

  // Places in the file; of what only --config-yaml has, in that. Give it to Problems::setLocator() while static
  // resources are parsed.
  bool locate(std::string_view path, std::string& file, int& line, int& column) const override;

 private:
  friend class BootstrapLoader;
  std::unique_ptr<config::Document> file_;
  std::unique_ptr<config::Document> inline_;
};

// Null when a problem was added; every problem carries file, line and column where there is a text. Fields that are set
// and not acted on go to problems.unsupportedPaths().
std::unique_ptr<LoadedBootstrap> loadBootstrap(const Flags& flags, const std::vector<NodeExtension>& extensions,
                                               const config::Checker& checker, config::Problems& problems);

// The fields of the bootstrap itself that this file acts on.
void declareBootstrap(config::Honored& honored);

}  // namespace outrider::server
