// What this build calls itself.
#pragma once

#include <cstdint>
#include <string_view>

namespace outrider::server {

inline constexpr std::string_view kName = "outrider";
// The version of Envoy's API that is spoken: control planes compare it with their own minimum.
inline constexpr uint32_t kMajor = 1;
inline constexpr uint32_t kMinor = 37;
inline constexpr uint32_t kPatch = 0;
inline constexpr std::string_view kVersion = "1.37.0";

#ifndef OUTRIDER_REVISION
#define OUTRIDER_REVISION "0000000000000000000000000000000000000000"
#endif
inline constexpr std::string_view kRevision = OUTRIDER_REVISION;
#ifdef NDEBUG
inline constexpr std::string_view kBuildType = "RELEASE";
#else
inline constexpr std::string_view kBuildType = "DEBUG";
#endif

}  // namespace outrider::server
