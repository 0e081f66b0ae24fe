// cluster.v3.Cluster into a spec. Pure; thread: any (the config thread). Problems carry field paths.
//
// Envoy's own rules (validate.rules) are checked before, by Checker; messages inside of Any are checked here. What would change
// who talks to whom, or how safely, and is not supported is a problem; other fields are reported by the checker once
// declareClusters() has told it what is acted on.
#pragma once

#include "source/config/cluster_spec.h"
#include "source/config/honored.h"
#include "source/config/problems.h"

namespace envoy::config::cluster::v3 {
class Cluster;
}

namespace outrider::config {

ClusterSpec parseCluster(const envoy::config::cluster::v3::Cluster& in, Problems& problems);
void declareClusters(Honored& honored);  // and endpoints

}  // namespace outrider::config
