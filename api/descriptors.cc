#include "api/descriptors.h"

extern "C" {
extern const char outrider_api_descriptors_begin[];
extern const char outrider_api_descriptors_end[];
}

namespace outrider::api {

std::string_view descriptorSet() {
  return {outrider_api_descriptors_begin, static_cast<size_t>(outrider_api_descriptors_end - outrider_api_descriptors_begin)};
}

}  // namespace outrider::api
