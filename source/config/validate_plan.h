// What Checker compiled of one message type. Only validate*.cc include this.
// Thread: immutable once published. Lifetime: the Checker's.
#pragma once

#include <google/protobuf/descriptor.h>

#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "source/config/honored.h"
#include "source/match/regex.h"
#include "validate/validate.pb.h"

namespace outrider::config {

// Limits of one value. Numbers of every width fit a long double exactly; durations are seconds in it.
struct ValueRule {
  enum class Text : uint8_t { kAny, kHeaderName, kHeaderValue };
  std::optional<long double> gt, gte, lt, lte;
  std::optional<bool> constant;
  uint64_t least_chars = 0, most_chars = UINT64_MAX, least_bytes = 0, most_bytes = UINT64_MAX;
  std::string prefix, suffix;
  std::vector<std::string> in;
  std::shared_ptr<const match::Regex> pattern;
  Text text = Text::kAny;
  bool strict = true;
  bool ignore_empty = false;
  bool outside = false;  // one bound is enough
  bool defined_only = false;
  std::vector<int> enum_not_in;
};

struct MessagePlan;

struct FieldPlan {
  const google::protobuf::FieldDescriptor* field = nullptr;
  const google::protobuf::FieldDescriptor* inner = nullptr;  // a wrapper's value
  Honored::State state = Honored::State::kHonored;
  bool required = false;
  bool unique = false;
  uint64_t least_items = 0;
  uint64_t most_items = UINT64_MAX;
  std::unique_ptr<ValueRule> value;  // of the field, of each item, or of each map value
  std::unique_ptr<ValueRule> key;    // of a map
  const MessagePlan* below = nullptr;
  bool by_default = false;  // an unset number or string is its default, which the rules refuse
  bool whenUnset() const { return required || least_items > 0 || by_default; }
  bool slotted() const { return least_items > 0 || most_items != UINT64_MAX; }
  bool itself() const {
    return state != Honored::State::kHonored || required || unique || least_items > 0 || most_items != UINT64_MAX || value || key;
  }
};

// How a field number is met in serialized bytes.
struct WireField {
  const FieldPlan* plan = nullptr;  // null: nothing to check
  uint8_t bit = kNone;              // the field's index; kNone: no such field
  uint8_t slot = kNone;             // where its elements are counted; kNone: they need not be
  uint8_t wire = kNone;             // the wire type of its value
  bool packable = false;            // its values may also come together, as bytes
  static constexpr uint8_t kNone = 255;
};

struct WirePlan {
  static constexpr size_t kMostFields = 128;
  static constexpr size_t kMostNumber = 255;
  static constexpr size_t kMostSlots = 8;
  using Bits = std::bitset<kMostFields>;
  bool usable = false;
  std::vector<WireField> by_number;
  Bits must;                 // fields that have to be there
  std::vector<Bits> one_of;  // of each of these at least one
  std::vector<const FieldPlan*> slots;
};

struct MessagePlan {
  std::vector<FieldPlan> fields;
  std::vector<const FieldPlan*> by_index;    // of the type's fields; null: nothing to check
  std::vector<const FieldPlan*> when_unset;  // to be looked at although they are not set
  std::vector<const google::protobuf::OneofDescriptor*> required_oneofs;
  WirePlan wire;
  bool needed = false;  // there is anything to check in it or below
};

// The options of a field, also where the descriptor comes from another pool than the compiled one.
validate::FieldRules fieldRules(const google::protobuf::FieldDescriptor& field);
// Fills a plan's own part. Names of rules that are not known go to `unknown`.
void compileRules(const google::protobuf::FieldDescriptor& field, FieldPlan& out, bool& skip, std::vector<std::string>& unknown);
bool oneofRequired(const google::protobuf::OneofDescriptor& oneof);

}  // namespace outrider::config
