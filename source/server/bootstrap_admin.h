// What the admin pages see of the server. Thread: main. Lifetime: the server outlives what is made here.
#pragma once

#include "source/admin/sources.h"
#include "source/server/flags.h"

namespace envoy::admin::v3 {
class ServerInfo;
}

namespace outrider::server {

class Server;

admin::Sources adminSources(Server& server);
// Version, state and command line as /server_info prints them.
void printServerInfo(const Server& server, envoy::admin::v3::ServerInfo& out);

}  // namespace outrider::server
