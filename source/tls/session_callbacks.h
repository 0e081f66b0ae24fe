// OpenSSL's callbacks, installed on a context once; each finds its session through SSL_get_app_data.
// Only files of this folder include it.
#pragma once

struct ssl_ctx_st;

namespace outrider::tls {

struct Callbacks {
  bool server = false;
  bool choose_certificate = false;  // more than one, or rules about OCSP
  bool staple = false;
  bool tickets = false;  // sealed with the context's own keys
  bool kept = false;     // sessions in the context's SessionCache
};
void installCallbacks(ssl_ctx_st* ctx, const Callbacks& wanted);

}  // namespace outrider::tls
