// The menu: every extension of Envoy's API that this proxy knows, by type, with its posture. One line an extension.
#pragma once

#include "source/filter/registry.h"

namespace outrider::server {

// Fills the tables; called once at start.
void fillCatalog(filter::Registry& registry);

}  // namespace outrider::server
