// What the benches of HTTP/1 read and write: a request as a browser or a mesh client sends it, and its answer.
#pragma once

#include <string>

namespace outrider::http::h1 {

// 450 bytes, ten fields, as a browser or a mesh client sends.
inline const std::string kRequest =
    "GET /api/v1/items/42?fields=name,price HTTP/1.1\r\n"
    "Host: shop.example.test:8080\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-GB,en;q=0.5\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"
    "X-Request-Id: 6a2f1c0e-7b1d-4a51-9c40-1d7c0c6f2a10\r\n"
    "X-Forwarded-For: 10.1.2.3\r\n"
    "Cache-Control: no-cache\r\n"
    "X-Tenant: blue\r\n"
    "\r\n";
inline const std::string kResponse =
    "HTTP/1.1 200 OK\r\n"
    "Server: nginx/1.22.1\r\n"
    "Date: Wed, 25 Nov 2026 20:00:00 GMT\r\n"
    "Content-Type: application/json\r\n"
    "Content-Length: 1024\r\n"
    "Last-Modified: Wed, 25 Nov 2026 19:00:00 GMT\r\n"
    "ETag: \"6565f0a0-400\"\r\n"
    "Cache-Control: max-age=60\r\n"
    "Vary: Accept-Encoding\r\n"
    "\r\n";

}  // namespace outrider::http::h1
