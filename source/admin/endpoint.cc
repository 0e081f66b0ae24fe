#include "source/admin/endpoint.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"
#include "source/base/log.h"

namespace outrider::admin {
namespace {

std::string helpText(const Pages& pages) {
  std::string out = "admin commands are:\n";
  for (const Page& page : pages) {
    absl::StrAppend(&out, "  ", base::toAbsl(page.path), page.mutates ? " (POST)" : "", ": ", base::toAbsl(page.help), "\n");
    for (const Param& param : page.params) absl::StrAppend(&out, "      ", base::toAbsl(param.name), ": ", base::toAbsl(param.help), "\n");
  }
  return out;
}

std::string homePage(const Pages& pages) {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<title>Outrider Admin</title>\n<style>\n"
      "body { font-family: sans-serif; }\ntable { border-collapse: collapse; }\nth, td { text-align: left; padding: 4px 12px 4px 0; }\n"
      "form { margin: 0; }\n</style>\n</head>\n<body>\n<table>\n<thead><tr><th>Command</th><th>Description</th></tr></thead>\n<tbody>\n";
  for (const Page& page : pages) {
    const std::string_view name = page.path.substr(1);
    absl::StrAppend(&out, "<tr><td>");
    if (page.mutates) {
      absl::StrAppend(&out, "<form action=\"", base::toAbsl(name), "\" method=\"post\"><button>", base::toAbsl(name), "</button></form>");
    } else {
      absl::StrAppend(&out, "<a href=\"", name.empty() ? "." : base::toAbsl(name), "\">", name.empty() ? "/" : base::toAbsl(name), "</a>");
    }
    absl::StrAppend(&out, "</td><td>", base::toAbsl(page.help), "</td></tr>\n");
  }
  out += "</tbody>\n</table>\n</body>\n</html>\n";
  return out;
}

// Pages that scrapers and probes reach by any name: nothing on them is worth a trick.
bool isProbe(std::string_view path) { return path == "/ready" || path == "/stats" || path == "/stats/prometheus"; }

}  // namespace

Endpoint::Endpoint(Sources sources)
    : sources_(std::move(sources)), stats_(sources_.stats.scope("listener.admin.", listener::kListenerTable)) {
  settings_.accept_http_10 = true;
  settings_.default_host_for_http_10 = "localhost";
  addServerPages(pages_, sources_);
  addStatsPages(pages_, sources_);
  addClusterPages(pages_, sources_);
  addListenerPages(pages_, sources_);
  addConfigDumpPages(pages_, sources_);
  addInitDumpPage(pages_, sources_);
  pages_.push_back(
      {"/help", "print out list of admin commands", false, [this](const Request&) { return Answer::text(helpText(pages_)); }, {}});
  pages_.push_back({"/", "Admin home page", false, [this](const Request&) { return Answer{200, kHtml, homePage(pages_), nullptr}; }, {}});
  std::sort(pages_.begin(), pages_.end(), [](const Page& a, const Page& b) { return a.path < b.path; });
}

Endpoint::~Endpoint() {
  while (!connections_.empty()) {
    Connection& connection = connections_.popFront();
    connection.cut();
    delete &connection;
  }
}

absl::Status Endpoint::listen(const base::Address& address, const net::ListenOptions& options, const std::string& address_path) {
  auto socket = net::ListenSocket::open(address, options, 1);
  if (!socket.ok()) return absl::Status(socket.status().code(), absl::StrCat("admin.address: ", socket.status().message()));
  socket_ = *std::move(socket);
  acceptor_ = std::make_unique<net::Acceptor>(sources_.loop, socket_->fd(0), socket_->shared(), static_cast<net::AcceptSink&>(*this));
  const std::string text = local().str();
  OUTRIDER_LOG(kInfo, kAdmin, "admin address: %s", text.c_str());
  if (address_path.empty()) return absl::OkStatus();
  FILE* file = std::fopen(address_path.c_str(), "we");
  if (file == nullptr || std::fwrite(text.data(), 1, text.size(), file) != text.size() || std::fclose(file) != 0) {
    return absl::UnavailableError(absl::StrCat("--admin-address-path: '", address_path, "': ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

Answer Endpoint::answer(const Request& request) {
  const auto page = std::find_if(pages_.begin(), pages_.end(), [&](const Page& each) { return each.path == request.path; });
  if (!trusted(request)) return Answer::text("This name is not trusted: use localhost or an IP address.\n", 403);
  if (page == pages_.end()) return Answer::text("invalid path. " + helpText(pages_), 404);
  if (page->mutates) {
    if (request.method != "POST") {
      return Answer::text(absl::StrCat("Method ", request.method, " not allowed, POST required."), 405);
    }
    OUTRIDER_LOG(kInfo, kAdmin, "%s %s", request.method.c_str(), request.path.c_str());
  } else if (sources_.strict && request.method != "GET" && request.method != "HEAD" && request.method != "POST") {
    return Answer::text(absl::StrCat("Method ", request.method, " not allowed."), 405);
  }
  return page->answer(request);
}

// A page of another site cannot reach in through a browser, neither by a form nor by a name that points here.
bool Endpoint::trusted(const Request& request) const {
  if (!sources_.strict || (socket_ != nullptr && local().isUnix())) return true;
  if (request.has_origin && request.method != "GET" && request.method != "HEAD") return false;
  return isProbe(request.path) || isLocalName(request.host);
}

void Endpoint::onAccepted(int fd, const base::Address& remote) {
  makeRoom();
  auto* connection = new Connection(sources_.loop, fd, local(), remote, settings_, *this);
  connections_.pushBack(*connection);
  ++count_;
  stats_.inc(listener::ListenerStat::kCxTotal);
  stats_.inc(listener::ListenerStat::kCxActive);
}

void Endpoint::onAcceptFailed(int) { stats_.inc(listener::ListenerStat::kCxEmfile); }

void Endpoint::makeRoom() {
  if (count_ < kMostConnections) return;
  Connection* oldest = nullptr;
  connections_.forEach([&](Connection& each) {
    if (oldest == nullptr || each.progressAt() < oldest->progressAt()) oldest = &each;
  });
  stats_.inc(listener::ListenerStat::kCxOverflow);
  oldest->cut();
  onGone(*oldest);
}

void Endpoint::onAnswered(uint16_t) {}

void Endpoint::onGone(Connection& connection) {
  base::IntrusiveList<Connection, ConnectionTag>::erase(connection);
  --count_;
  stats_.inc(listener::ListenerStat::kCxDestroy);
  stats_.dec(listener::ListenerStat::kCxActive);
  stats_.record(listener::ListenerStat::kCxLength,
                static_cast<uint64_t>((sources_.loop.now() - connection.socket().startedAt()) / base::kMilli));
  sources_.loop.retire(&connection);
}

}  // namespace outrider::admin
