// The resources that a folder's files hold, each with a version made from its content.
// A file is a `resources:` list of values with "@type", or one such value; YAML, JSON or protobuf text. Thread: one.
// A file that cannot be read keeps its last good content; one that is gone takes its resources with it.
#pragma once

#include <google/protobuf/any.pb.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace outrider::xds {

struct ServedResource {
  std::string version;  // equal content, equal version
  google::protobuf::Any any;
};
// Type URL -> name -> resource.
using ServedOfType = std::map<std::string, ServedResource, std::less<>>;
using ServedResources = std::map<std::string, ServedOfType, std::less<>>;
using ServedSnapshot = std::shared_ptr<const ServedResources>;  // never null

class ServedFiles final {
 public:
  explicit ServedFiles(std::string folder) : folder_(std::move(folder)) {}

  // Reads everything anew. `problems`: one line each, with file, line and column.
  void load(std::vector<std::string>& problems);
  const ServedResources& resources() const { return *resources_; }
  const ServedSnapshot& snapshot() const { return resources_; }  // of the last load()
  size_t count() const;

 private:
  struct Named {
    std::string name;
    ServedResource resource;
  };
  bool readOne(const std::string& path, std::vector<Named>& out, std::vector<std::string>& problems) const;

  const std::string folder_;
  std::map<std::string, std::vector<Named>> files_;
  ServedSnapshot resources_ = std::make_shared<const ServedResources>();
};

}  // namespace outrider::xds
