// An address as Envoy's API writes it. Thread: any.
#pragma once

#include "envoy/config/core/v3/address.pb.h"
#include "source/base/address.h"

namespace outrider::admin {

inline void printAddress(const base::Address& address, envoy::config::core::v3::Address& out) {
  if (address.isUnix()) {
    out.mutable_pipe()->set_path(address.str());
    return;
  }
  out.mutable_socket_address()->set_address(address.ip());
  out.mutable_socket_address()->set_port_value(address.port());
}

}  // namespace outrider::admin
