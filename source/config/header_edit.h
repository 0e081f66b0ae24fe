// Headers to add and remove, compiled: names bound to ids, values ready to print.
// Thread: immutable, any; the head belongs to the caller's worker. Added bytes live in the head's arena.
// Order inside one edit, as Envoy: remove; then every value is made from what is there; then overwrite; then add.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "source/config/route_spec.h"
#include "source/format/format.h"
#include "source/http/field_name.h"

namespace outrider::config {

class HeaderEdit final {
 public:
  static absl::StatusOr<HeaderEdit> compile(const HeaderEditSpec& spec);
  void apply(http::HeaderMap& headers, const format::Input& input) const;
  bool empty() const { return add_.empty() && remove_.empty(); }

 private:
  struct Add {
    http::FieldName name;
    HeaderAddSpec::Action action;
    bool keep_empty;
    format::Format value;
  };
  std::vector<Add> add_;
  std::vector<http::FieldName> remove_;
};

}  // namespace outrider::config
