// The parts of /config_dump but for the bootstrap, in Envoy's order: lists of elements that are made one by one, as they are printed.
// Thread: main. Lifetime: one answer's; nothing is a snapshot, what goes away meanwhile is left out. Source: envoy.admin.v3.ConfigDump.
#pragma once

#include <google/protobuf/message.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "source/admin/sorted_names.h"
#include "source/admin/sources.h"
#include "source/base/clock.h"

namespace outrider::match {
class Regex;
}
namespace outrider::admin {

// What a dump may print, without what nobody may see.
std::string printDump(const google::protobuf::Message& message);
std::string quotedDump(std::string_view text);

template <class Time>
void setTime(base::Nanos at, Time* out) {
  out->set_seconds(at / base::kSecond);
  out->set_nanos(static_cast<int32_t>(at % base::kSecond / base::kMilli * base::kMilli));  // Envoy tells milliseconds
}

using Made = std::vector<std::unique_ptr<google::protobuf::Message>>;

// A list of a part: step i of count() makes no element, one, or some.
struct DumpList {
  std::string_view name;  // "static_clusters"
  std::function<size_t()> count;
  std::function<Made(size_t)> make;
};

struct DumpPart {
  using Names = std::shared_ptr<SortedNames>;
  std::string_view type;     // "envoy.admin.v3.ClustersConfigDump"
  std::string version;       // printed when not empty
  std::vector<Names> names;  // what the lists go through
  std::vector<DumpList> lists;

  // True: work goes on. False: the names are in order.
  bool sort(const Slice& slice) const;
};

class DumpParts final {
 public:
  // `names`: what the elements' names match as a whole; null: any. `endpoints`: that part too.
  DumpParts(const Sources& sources, std::shared_ptr<const match::Regex> names, bool endpoints)
      : sources_(sources), names_(std::move(names)), endpoints_(endpoints) {}

  static constexpr size_t kParts = 6;
  // Null: it is not wanted. What is made of it refers to this.
  std::optional<DumpPart> part(size_t index) const;
  static std::string_view typeOf(size_t index);

 private:
  class Builder;
  const Sources& sources_;
  const std::shared_ptr<const match::Regex> names_;
  const bool endpoints_;
};

}  // namespace outrider::admin
