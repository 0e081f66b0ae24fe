// A discovery response, read: decoded, its resources named and hashed, what is wrong with it as a whole found.
// Pure functions; thread: any, so that a response of megabytes is read on the config thread. Source: service/discovery/v3/discovery.proto.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "source/base/clock.h"

namespace outrider::xds {

uint64_t hashBytes(std::string_view bytes);

// What a response brings, whichever way it came.
struct Incoming {
  struct Item {
    std::string name;
    std::string version;
    std::shared_ptr<const std::string> bytes;  // the inner message
    uint64_t hash = 0;                         // of the bytes
    base::Nanos ttl = 0;                       // 0: for ever
    bool heartbeat = false;                    // no bytes: what is held lives on
    void take(std::string&& from) {
      hash = hashBytes(from);
      bytes = std::make_shared<const std::string>(std::move(from));
    }
  };
  std::string version;
  bool full = false;
  std::vector<Item> items;
  std::vector<std::string> removed;
};

struct ReadResponse {
  bool readable = false;  // false: these bytes are no response at all, and the rest is empty
  std::string type_url, nonce;
  std::string identifier;  // of the control plane
  std::string error;       // the response as a whole is refused
  Incoming in;
};

ReadResponse readSotw(const std::string& bytes);
ReadResponse readDelta(const std::string& bytes);

std::string duplicateText(std::string_view type_url, const std::string& name, bool delta);

}  // namespace outrider::xds
