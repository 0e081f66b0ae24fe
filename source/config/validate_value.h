// One value against the limits that a ValueRule has. Only validate*.cc include this.
// Thread: one at a time. Costs nothing while the value is fine.
#pragma once

#include <google/protobuf/descriptor.h>

#include <string_view>

#include "source/config/problems.h"
#include "source/config/validate_plan.h"

namespace outrider::config {

class ValueCheck final {
 public:
  // Violations go to `problems` at its current path.
  ValueCheck(const ValueRule& rule, Problems& problems) : rule_(rule), problems_(problems) {}
  void number(long double value, std::string_view unit = {});
  void boolean(bool value);
  void enumeration(int value, const google::protobuf::FieldDescriptor& field);
  void text(std::string_view value, bool is_bytes);

 private:
  const ValueRule& rule_;
  Problems& problems_;
};

}  // namespace outrider::config
