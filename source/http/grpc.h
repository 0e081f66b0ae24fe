// What a proxy knows of gRPC over HTTP/2: which requests are of it, and how they say how long they may take.
// Thread: any. Source: the gRPC protocol description ("Timeout").
#pragma once

#include <string_view>

#include "source/base/clock.h"
#include "source/http/head.h"

namespace outrider::http {

bool isGrpc(const RequestHead& head);
// "5S", "100m": a number of at most eight digits and a unit; 0: none or malformed.
base::Nanos readGrpcTimeout(std::string_view text);
// In milliseconds, or in the next larger unit whose number has at most eight digits.
std::string_view printGrpcTimeout(base::Arena& arena, base::Nanos timeout);

}  // namespace outrider::http
