// outrider: the command line, then the server (or one of the other things that the binary can do).
#include <cstdio>
#include <cstring>
#include <string>

#include "source/base/log.h"
#include "source/config/schema.h"
#include "source/server/control_plane.h"
#include "source/server/flags.h"
#include "source/server/server.h"
#include "source/server/startup_pages.h"
#include "source/tls/openssl_memory.h"

namespace {

int serve(outrider::server::Flags flags) {
  namespace base = outrider::base;
  if (!flags.log_path.empty() && !base::Log::openFile(flags.log_path)) {
    std::fprintf(stderr, "--log-path: '%s': %s\n", flags.log_path.c_str(), std::strerror(errno));
    return 1;
  }
  base::Log::setFormat(flags.log_format);
  base::Log::setAll(flags.log_level);
  for (const auto& [name, level] : flags.component_levels) base::Log::setByName(name, level);
  for (const std::string& note : flags.notes) OUTRIDER_LOG(kDebug, kMain, "%s", note.c_str());
  const bool validate = flags.mode == outrider::server::Flags::Mode::kValidate;
  const std::string path = flags.config_path;
  outrider::server::Server server(std::move(flags));
  const absl::Status status = server.load();
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    return 1;
  }
  if (validate) {
    std::printf("configuration '%s' OK\n", path.c_str());
    return 0;
  }
  outrider::server::releaseStartupPages();
  return server.run();
}

}  // namespace

int main(int argc, char** argv) {
  outrider::tls::keepRecordBuffers();  // before anything of OpenSSL's
  if (argc > 1 && std::strcmp(argv[1], "control-plane") == 0) return outrider::server::runControlPlane(argc - 1, argv + 1);
  outrider::config::routeProtobufLog();
  auto flags = outrider::server::parseFlags(argc, argv);
  if (!flags.ok()) {
    std::fprintf(stderr, "%s\n", std::string(flags.status().message()).c_str());
    return 1;
  }
  if (flags->help) {
    std::printf("%s", outrider::server::usage().c_str());
    return 0;
  }
  if (flags->version) {
    std::printf("%s\n", outrider::server::versionLine().c_str());
    return 0;
  }
  if (flags->hot_restart_version) {
    std::printf("disabled\n");
    return 0;
  }
  return serve(*std::move(flags));
}
