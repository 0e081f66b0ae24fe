// Files as a source: replaced, broken, shared.
#include <filesystem>
#include <fstream>

#include "source/xds/test_fixture.h"

namespace outrider::xds {
namespace {

class FileSources : public XdsTest {
 protected:
  FileSources() : folder_(std::filesystem::path(testing::TempDir()) / ("file_source_" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~FileSources() override { std::filesystem::remove_all(folder_); }

  // Written aside and moved into place, as the documentation asks for.
  void replace(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / (name + ".new")) << text;
    std::filesystem::rename(folder_ / (name + ".new"), folder_ / name);
    turns();
  }
  core::ConfigSource path(const std::string& name) {
    core::ConfigSource source;
    source.mutable_path_config_source()->set_path((folder_ / name).string());
    return source;
  }
  const std::filesystem::path folder_;
};

constexpr char kOne[] = R"(
version_info: "1"
resources:
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: a
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: b
)";

TEST_F(FileSources, AFileIsReadAndReadAgainWhenItIsReplaced) {
  replace("cds.yaml", kOne);
  Recorder clusters;
  hub_->watch(path("cds.yaml"), kClusterType, "", clusters);
  turns();
  EXPECT_EQ(clusters.seen, Lines({"1: +a +b"}));
  replace("cds.yaml",
          R"({"version_info": "2", "resources": [{"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "b"}]})");
  EXPECT_EQ(clusters.seen, Lines({"1: +a +b", "2: -a"}));
  EXPECT_EQ(stat("cluster_manager.cds.update_success"), 2u);
  EXPECT_EQ(textStat("cluster_manager.cds.version_text"), "2");
}

TEST_F(FileSources, ABadFileIsCountedAndChangesNothing) {
  replace("cds.yaml", kOne);
  Recorder clusters;
  hub_->watch(path("cds.yaml"), kClusterType, "", clusters);
  turns();
  uint64_t failures = 0;
  for (const char* const bad : {"resources: [", "resources: [{\"@type\": type.googleapis.com/nope.v3.Nope}]", "nothing: 1\nresources: 3"}) {
    replace("cds.yaml", bad);
    EXPECT_EQ(stat("cluster_manager.cds.update_failure"), ++failures) << bad;
  }
  EXPECT_EQ(clusters.seen.size(), 1u);
  EXPECT_EQ(stat("cluster_manager.cds.update_rejected"), 0u);
}

TEST_F(FileSources, ResourcesOfAnotherTypeAreRejected) {
  replace("lds.yaml", kOne);
  Recorder listeners;
  hub_->watch(path("lds.yaml"), kListenerType, "", listeners);
  turns();
  EXPECT_TRUE(listeners.seen.empty());
  EXPECT_EQ(stat("listener_manager.lds.update_rejected"), 1u);
}

TEST_F(FileSources, AFileThatComesLaterOrGoesAwayIsWaitedForAndMissedByNobody) {
  Recorder clusters;
  hub_->watch(path("cds.yaml"), kClusterType, "", clusters);
  turns();
  EXPECT_TRUE(clusters.seen.empty());
  EXPECT_EQ(stat("cluster_manager.cds.update_failure"), 1u);
  replace("cds.yaml", kOne);
  EXPECT_EQ(clusters.seen, Lines({"1: +a +b"}));
  std::filesystem::remove(folder_ / "cds.yaml");
  turns();
  EXPECT_EQ(clusters.seen.size(), 1u);
}

TEST_F(FileSources, OneFileServesSeveralNames) {
  replace("sds.yaml", R"(
resources:
- { "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: x }
- { "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: y }
)");
  Recorder x, y;
  hub_->watch(path("sds.yaml"), kSecretType, "x", x);
  hub_->watch(path("sds.yaml"), kSecretType, "y", y);
  turns();
  EXPECT_EQ(x.seen, Lines({": +x"}));
  EXPECT_EQ(y.seen, Lines({": +y"}));
}

TEST_F(FileSources, AWatchedDirectoryThatIsSwappedByALinkIsSeen) {
  // As Kubernetes mounts a ConfigMap: ..data points to the current folder, cds.yaml to ..data/cds.yaml.
  for (const char* const version : {"one", "two"}) std::filesystem::create_directories(folder_ / version);
  std::ofstream(folder_ / "one" / "cds.yaml") << kOne;
  std::ofstream(folder_ / "two" / "cds.yaml") << "version_info: '2'\n";
  std::filesystem::create_symlink("one", folder_ / "..data");
  std::filesystem::create_symlink("..data/cds.yaml", folder_ / "cds.yaml");
  core::ConfigSource source = path("cds.yaml");
  source.mutable_path_config_source()->mutable_watched_directory()->set_path(folder_.string());
  Recorder clusters;
  hub_->watch(source, kClusterType, "", clusters);
  turns();
  EXPECT_EQ(clusters.seen.size(), 1u);
  std::filesystem::create_symlink("two", folder_ / "..data.new");
  std::filesystem::rename(folder_ / "..data.new", folder_ / "..data");
  turns();
  EXPECT_EQ(clusters.seen, Lines({"1: +a +b", "2: -a -b"}));
}

TEST_F(FileSources, AnUnreadyWatcherDoesNotLoseTheNextContent) {
  replace("cds.yaml", kOne);
  Recorder clusters;
  clusters.patient = true;
  hub_->watch(path("cds.yaml"), kClusterType, "", clusters);
  turns();
  replace("cds.yaml", "version_info: '2'\n");
  EXPECT_EQ(clusters.seen.size(), 1u);
  clusters.kept[0].done(Verdict::ok());
  turns();
  EXPECT_EQ(clusters.seen, Lines({"1: +a +b", "2: -a -b"}));
}

}  // namespace
}  // namespace outrider::xds
