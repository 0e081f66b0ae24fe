// What is known of one resource that a control plane sent, for dumps: whoever receives resources shows them, whoever prints them
// knows no source. Thread: main. Lifetime: the pointers live for the call that hands them out; bytes are shared.
#pragma once

#include <memory>
#include <string>

#include "source/base/clock.h"

namespace outrider::config {

struct ResourceView {
  struct Version {
    std::shared_ptr<const std::string> bytes;  // the serialized message: a Cluster, not the Any
    std::string version;
    base::Nanos at = 0;  // wall clock
  };
  // Null: there is none.
  const std::string& name;
  const Version* accepted;
  const Version* replaced;  // the accepted one before, which may serve while `accepted` warms
  const Version* refused;   // a later update that was not accepted, and why
  const std::string* error;
};

}  // namespace outrider::config
