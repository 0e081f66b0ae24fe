// The number that a request is balanced by: what the hash policies of its route make of it. Envoy's, bit by bit, so that both
// send it to the same host.
// Thread: immutable, any; the head belongs to the caller's worker. Source: config.route.v3.RouteAction.HashPolicy.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "source/base/address.h"
#include "source/config/route_spec.h"
#include "source/http/field_name.h"
#include "source/match/regex.h"

namespace outrider::config {

class RequestHash final {
 public:
  struct Client {
    const base::Address& remote;  // as the proxy believes
    const base::Address& local;   // where it connected to
  };
  struct Result {
    std::optional<uint64_t> hash;  // none: no policy found what it looks for
    std::string_view set_cookie;   // in the head's arena; not empty: the answer carries it
  };

  bool empty() const { return steps_.empty(); }
  void add(const HashSpec& spec, std::shared_ptr<const match::Regex> rewrite) {
    steps_.push_back({&spec, http::FieldName(spec.name), std::move(rewrite)});
  }
  Result of(const http::RequestHead& head, const Client& client) const;

 private:
  struct Step {
    const HashSpec* spec;  // outlives this
    http::FieldName header;
    std::shared_ptr<const match::Regex> rewrite;
  };
  std::vector<Step> steps_;
};

}  // namespace outrider::config
