// /config_dump.
#include "envoy/admin/v3/config_dump.pb.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "source/admin/json_list.h"
#include "source/admin/page.h"
#include "source/config/json_print.h"

namespace outrider::admin {
namespace {

Answer configDump(const Sources& sources, const Request&) {
  envoy::admin::v3::BootstrapConfigDump dump;
  *dump.mutable_bootstrap() = sources.bootstrap;
  dump.mutable_last_updated()->set_seconds(sources.started_at / base::kSecond);
  envoy::admin::v3::ConfigDump out;
  out.add_configs()->PackFrom(dump);
  return Answer::json(config::toJson(out) + "\n");
}

}  // namespace

void addConfigDumpPages(Pages& pages, const Sources& sources) {
  pages.push_back({"/config_dump", "dump current configs", false, [&](const Request& request) { return configDump(sources, request); }, {}});
}

}  // namespace outrider::admin
