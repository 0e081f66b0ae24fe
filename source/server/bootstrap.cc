#include "source/server/bootstrap.h"

#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"
#include "source/server/version.h"

namespace outrider::server {

using config::Problem;
using config::Problems;
using envoy::config::bootstrap::v3::Bootstrap;
using envoy::config::core::v3::Node;

namespace {

// What problems call the text of --config-yaml.
constexpr std::string_view kInline = "--config-yaml";

void fillBuild(Node& node) {
  auto& build = *node.mutable_user_agent_build_version();
  build.mutable_version()->set_major_number(kMajor);
  build.mutable_version()->set_minor_number(kMinor);
  build.mutable_version()->set_patch(kPatch);
  auto& fields = *build.mutable_metadata()->mutable_fields();
  fields["revision.sha"].set_string_value(std::string(kRevision));
  fields["revision.status"].set_string_value("Clean");
  fields["build.type"].set_string_value(std::string(kBuildType));
  fields["ssl.version"].set_string_value("OpenSSL");
}

// Flags win over the bootstrap, as in Envoy. The announced name and version are ours unless the bootstrap has others.
void fillNode(const Flags& flags, const std::vector<NodeExtension>& extensions, Node& node) {
  if (!flags.service_node.empty()) node.set_id(flags.service_node);
  if (!flags.service_cluster.empty()) node.set_cluster(flags.service_cluster);
  if (!flags.service_zone.empty()) node.mutable_locality()->set_zone(flags.service_zone);
  if (node.user_agent_name().empty()) node.set_user_agent_name(std::string(kName));
  if (node.user_agent_version_type_case() == Node::USER_AGENT_VERSION_TYPE_NOT_SET) fillBuild(node);
  for (const NodeExtension& one : extensions) {
    auto& out = *node.add_extensions();
    out.set_name(one.name);
    out.set_category(one.category);
    for (const std::string& url : one.type_urls) out.add_type_urls(url);
  }
}

// A control plane knows a proxy by its node.
void checkNode(const Bootstrap& bootstrap, Problems& problems) {
  const auto& dynamic = bootstrap.dynamic_resources();
  if (!dynamic.has_lds_config() && !dynamic.has_cds_config() && !dynamic.has_ads_config()) return;
  const auto scope = problems.field("node");
  if (bootstrap.node().id().empty())
    problems.addAt("id", {}, "must not be empty with dynamic resources", "set it here or with --service-node");
  if (bootstrap.node().cluster().empty()) {
    problems.addAt("cluster", {}, "must not be empty with dynamic resources", "set it here or with --service-cluster");
  }
}

}  // namespace

bool LoadedBootstrap::locate(std::string_view path, std::string& file, int& line, int& column) const {
  const std::string_view first = path.substr(0, path.find_first_of(".["));
  const bool in_file = file_ != nullptr && config::findMember(file_->root(), first) != nullptr;
  const bool in_inline = inline_ != nullptr && config::findMember(inline_->root(), first) != nullptr;
  if (inline_ != nullptr && (file_ == nullptr || (in_inline && !in_file))) return inline_->locate(path, file, line, column);
  return file_ != nullptr && file_->locate(path, file, line, column);
}

class BootstrapLoader final {
 public:
  BootstrapLoader(const Flags& flags, Problems& problems) : flags_(flags), problems_(problems) {}

  std::unique_ptr<LoadedBootstrap> load(const std::vector<NodeExtension>& extensions, const config::Checker& checker) {
    if (flags_.config_path.empty() && flags_.config_yaml.empty()) {
      problems_.add({}, "no bootstrap", "give --config-path or --config-yaml");
      return nullptr;
    }
    const size_t before = problems_.size();
    out_->unknown.allow = flags_.allow_unknown_static_fields;
    if (!flags_.config_path.empty()) readPath();
    if (!flags_.config_yaml.empty()) readInline();
    if (problems_.size() != before) return nullptr;
    fillNode(flags_, extensions, *out_->message.mutable_node());
    problems_.setLocator(out_.get());
    checker.check(out_->message, problems_);
    checkNode(out_->message, problems_);
    problems_.setLocator(nullptr);
    if (problems_.size() != before) return nullptr;
    return std::move(out_);
  }

 private:
  void readPath() {
    auto content = config::readFile(flags_.config_path);
    if (!content.ok()) return problems_.add({}, base::toStd(content.status().message()));
    out_->file_ = config::parseContent(*std::move(content), flags_.config_path, out_->message, out_->unknown, problems_).document;
  }

  // Merged as messages are: single fields win, lists are appended.
  void readInline() {
    Bootstrap more;
    out_->inline_ = config::Document::parse(flags_.config_yaml, kInline, problems_);
    if (out_->inline_ != nullptr && config::toMessage(*out_->inline_, more, out_->unknown, problems_)) out_->message.MergeFrom(more);
  }

  const Flags& flags_;
  Problems& problems_;
  std::unique_ptr<LoadedBootstrap> out_ = std::make_unique<LoadedBootstrap>();
};

std::unique_ptr<LoadedBootstrap> loadBootstrap(const Flags& flags, const std::vector<NodeExtension>& extensions,
                                               const config::Checker& checker, Problems& problems) {
  return BootstrapLoader(flags, problems).load(extensions, checker);
}

// What the rest of the server acts on is declared where it does so.
void declareBootstrap(config::Honored& honored) {
  honored.fields<Bootstrap>({"node", "static_resources", "dynamic_resources", "admin", "layered_runtime", "enable_dispatcher_stats"});
  honored.fields<Node>({"id", "cluster", "metadata", "dynamic_parameters", "locality", "user_agent_name", "user_agent_version",
                        "user_agent_build_version", "extensions", "client_features"});
}

}  // namespace outrider::server
