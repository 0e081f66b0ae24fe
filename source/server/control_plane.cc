#include "source/server/control_plane.h"

#include <csignal>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>

#include <sys/signalfd.h>
#include <unistd.h>

#include "source/event/loop.h"
#include "source/xds/discovery_server.h"

namespace outrider::server {
namespace {

void say(const std::string& line) {
  std::fputs((line + "\n").c_str(), stdout);
  std::fflush(stdout);
}

// The first signal of the (blocked) set calls `end`.
class Ending final : public event::IoHandler {
 public:
  Ending(event::Loop& loop, const sigset_t& set, std::function<void()> end)
      : loop_(loop), fd_(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)), end_(std::move(end)) {
    loop_.add(fd_, *this, event::kReadable | event::kEdge);
  }
  ~Ending() {
    loop_.remove(fd_, *this);
    ::close(fd_);
  }
  void onReady(uint32_t /*events*/) override {
    signalfd_siginfo info;
    bool came = false;
    while (::read(fd_, &info, sizeof info) == sizeof info) came = true;
    if (came) end_();
  }

 private:
  event::Loop& loop_;
  const int fd_;
  const std::function<void()> end_;
};

}  // namespace

int runControlPlane(int argc, char** argv) {
  std::string listen = "127.0.0.1:18000";
  std::string folder;
  bool understood = true;
  // "--flag value" or "--flag=value".
  const auto take = [&](int& i, std::string_view flag, std::string& value) {
    const std::string_view word = argv[i];
    if (word == flag && i + 1 < argc) {
      value = argv[++i];
      return true;
    }
    if (word.substr(0, flag.size()) != flag || word.size() <= flag.size() || word[flag.size()] != '=') return false;
    value = word.substr(flag.size() + 1);
    return true;
  };
  for (int i = 1; i < argc && understood; ++i) understood = take(i, "--listen", listen) || take(i, "--dir", folder);
  if (!understood || folder.empty()) {
    std::fputs(
        "usage: outrider control-plane [--listen 127.0.0.1:18000] --dir DIR\n"
        "  serves the resources of DIR's YAML and JSON files over xDS (ADS and single services, state of the world and delta)\n",
        stderr);
    return 2;
  }
  // Before gRPC makes threads, so that the signals come here.
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);

  event::Loop loop;
  xds::DiscoveryServer server(loop, folder, say);
  const absl::StatusOr<int> port = server.start(listen);
  if (!port.ok()) {
    std::fprintf(stderr, "outrider control-plane: %s\n", std::string(port.status().message()).c_str());
    return 1;
  }
  say("control plane on " + listen.substr(0, listen.rfind(':')) + ":" + std::to_string(*port) + ", " +
      std::to_string(server.resourceCount()) + " resources from " + folder);
  Ending ending(loop, set, [&] { server.stop([&] { loop.stop(); }); });
  loop.run();
  return 0;
}

}  // namespace outrider::server
