// `outrider control-plane --listen 127.0.0.1:18000 --dir DIR`: serves the resources of DIR's files to any client of xDS.
//
// ADS and the services of the single types, state of the world and delta, over gRPC without TLS. A change of a file is served at
// once; what did not change keeps its version. Every ACK and NACK is a line on stdout.
// Thread: its own loop on the calling thread; gRPC's threads only hand bytes over. Ends on SIGINT and SIGTERM.
#pragma once

namespace outrider::server {

// The words after "control-plane" (argv[0] is skipped). Returns the exit code: 0 ended by a signal, 1 could not start, 2 usage.
int runControlPlane(int argc, char** argv);

}  // namespace outrider::server
