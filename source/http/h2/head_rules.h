// Rules for what stands in a head beyond those that nghttp2 keeps (field syntax, order of pseudo fields, content-length).
// Source: RFC 9113 8.3, RFC 9110 7.2, RFC 3986 3.2. Thread: any.
#pragma once

#include <string_view>

namespace outrider::http::h2 {

// host [":" port]: a name, an IPv4 address or an IPv6 address in brackets. No user, no space, not empty.
bool validAuthority(std::string_view authority);
// No space, no control; bytes from 0x80 on only if allowed.
bool validPath(std::string_view path, bool allow_high);
// A value that never comes back (a query, an id) is not worth a place in the peer's table.
bool worthIndexing(std::string_view path);

}  // namespace outrider::http::h2
