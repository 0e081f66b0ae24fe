// What a cluster's spec means for the codecs of its connections. Thread: any. Lifetime: a value, shared by connections.
#pragma once

#include "source/config/cluster_spec.h"
#include "source/http/h1/settings.h"
#include "source/http/h2/settings.h"

namespace outrider::upstream {

struct CodecSettings {
  http::h1::Settings h1;
  http::h2::Settings h2;
};

CodecSettings codecSettingsOf(const config::ClusterSpec& spec);

}  // namespace outrider::upstream
