// /init_dump: what has not become active, and why.
#include "envoy/admin/v3/init_dump.pb.h"
#include "source/admin/json_writer.h"
#include "source/admin/page.h"
#include "source/admin/sorted_names.h"
#include "source/config/json_print.h"

namespace outrider::admin {
namespace {

constexpr std::string_view kListener = "type.googleapis.com/envoy.config.listener.v3.Listener";

// Clusters by what they wait for, then listeners.
class InitPieces final : public Pieces {
 public:
  explicit InitPieces(const Sources& sources) : sources_(sources) {
    sources.clusters.forEach([&](const std::string& name, const upstream::ClusterManager::View& view) {
      if (view.warming != nullptr) clusters_.add(name);
    });
    sources.resource_names(kListener, [&](std::string_view name) { listeners_.add(name); });
  }

  bool next(std::string& out) override {
    const Slice slice(sources_);
    if (clusters_.sort(slice) || listeners_.sort(slice)) return true;
    if (at_ == 0 && !begun_) {
      begun_ = true;
      writer_.openObject(out);
    }
    const size_t end = out.size() + kPieceBytes;
    const size_t count = clusters_.size() + listeners_.size();
    for (; at_ < count && out.size() < end && !slice.over(); ++at_) {
      if (at_ < clusters_.size()) {
        const auto view = sources_.clusters.find(clusters_[at_]);
        if (view.warming == nullptr) continue;  // done meanwhile
        const std::string waits_for = view.warming->waitsFor();
        print("cluster " + clusters_[at_], &waits_for, out);
      } else if (const std::string& name = listeners_[at_ - clusters_.size()]; sources_.listener_warms(name)) {
        print("listener " + name, nullptr, out);
      }
    }
    if (at_ < count) return true;
    if (open_) writer_.close(out);
    writer_.close(out);
    out += '\n';
    return false;
  }

 private:
  void print(const std::string& name, const std::string* waits_for, std::string& out) {
    if (!std::exchange(open_, true)) writer_.openList("unready_targets_dumps", out);
    envoy::admin::v3::UnreadyTargetsDumps::UnreadyTargetsDump one;
    one.set_name(name);
    if (waits_for != nullptr) one.add_target_names(*waits_for);
    writer_.element(config::toJson(one), out);
  }

  const Sources& sources_;
  SortedNames clusters_, listeners_;
  JsonWriter writer_;
  size_t at_ = 0;
  bool begun_ = false, open_ = false;
};

}  // namespace

void addInitDumpPage(Pages& pages, const Sources& sources) {
  pages.push_back({"/init_dump", "dump what is not initialized yet", false,
                   [&](const Request&) { return Answer::stream(std::make_unique<InitPieces>(sources), kJson); }, {}});
}

}  // namespace outrider::admin
