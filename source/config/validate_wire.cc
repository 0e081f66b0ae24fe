#include "source/config/validate_wire.h"

#include <bit>
#include <cstring>

#include "source/config/problems.h"
#include "source/config/validate_value.h"

namespace outrider::config {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

namespace {

constexpr int kMostDepth = 100;  // as protobuf's own

enum Wire : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// Of a value that is not packed. What the API does not have (sint32, fixed64, groups) never matches and is left to the message.
Wire wireOf(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_DOUBLE: return kFixed64;
    case FieldDescriptor::CPPTYPE_FLOAT: return kFixed32;
    case FieldDescriptor::CPPTYPE_STRING:
    case FieldDescriptor::CPPTYPE_MESSAGE: return kBytes;
    default: return kVarint;
  }
}

}  // namespace

void compileWire(const Descriptor& type, MessagePlan& plan) {
  WirePlan& wire = plan.wire;
  const auto fields = static_cast<size_t>(type.field_count());
  if (fields > WirePlan::kMostFields) return;
  size_t most = 0;
  for (int i = 0; i < type.field_count(); ++i) most = std::max(most, static_cast<size_t>(type.field(i)->number()));
  if (most > WirePlan::kMostNumber) return;
  wire.by_number.resize(most + 1);
  for (int i = 0; i < type.field_count(); ++i) {
    WireField& field = wire.by_number[static_cast<size_t>(type.field(i)->number())];
    field.bit = static_cast<uint8_t>(i);
    field.wire = wireOf(*type.field(i));
    field.packable = type.field(i)->is_packable();
    field.plan = plan.by_index[static_cast<size_t>(i)];
    if (field.plan == nullptr) continue;
    if (field.plan->whenUnset()) wire.must.set(static_cast<size_t>(i));
    if (field.plan->least_items > 1 || field.plan->most_items != UINT64_MAX) {
      if (wire.slots.size() == WirePlan::kMostSlots) return;
      field.slot = static_cast<uint8_t>(wire.slots.size());
      wire.slots.push_back(field.plan);
    }
  }
  for (const auto* oneof : plan.required_oneofs) {
    WirePlan::Bits bits;
    for (int i = 0; i < oneof->field_count(); ++i) bits.set(static_cast<size_t>(oneof->field(i)->index()));
    wire.one_of.push_back(bits);
  }
  wire.usable = true;
}

namespace {

struct Piece {
  uint32_t number = 0;
  uint32_t wire = 0;
  uint64_t value = 0;      // kVarint, kFixed64, kFixed32
  std::string_view bytes;  // kBytes
};

// The fields of a message one by one.
class Reader final {
 public:
  explicit Reader(std::string_view bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}
  bool done() const { return at_ == end_; }
  bool next(Piece& out) {
    uint64_t tag = 0;
    if (!varint(tag) || tag >> 35 != 0) return false;
    out.number = static_cast<uint32_t>(tag >> 3);
    out.wire = static_cast<uint32_t>(tag & 7);
    switch (out.wire) {
      case kVarint: return varint(out.value);
      case kFixed64: return fixed(out.value, 8);
      case kFixed32: return fixed(out.value, 4);
      case kBytes: {
        uint64_t length = 0;
        if (!varint(length) || length > static_cast<uint64_t>(end_ - at_)) return false;
        out.bytes = {at_, static_cast<size_t>(length)};
        at_ += length;
        return true;
      }
      default: return false;  // groups
    }
  }

 private:
  bool varint(uint64_t& out) {
    out = 0;
    for (int shift = 0; shift < 70 && at_ != end_; shift += 7) {
      const auto byte = static_cast<unsigned char>(*at_++);
      out |= shift < 64 ? static_cast<uint64_t>(byte & 0x7F) << shift : 0;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool fixed(uint64_t& out, size_t size) {
    if (static_cast<size_t>(end_ - at_) < size) return false;
    out = 0;
    std::memcpy(&out, at_, size);
    at_ += size;
    return true;
  }

  const char* at_;
  const char* end_;
};
static_assert(std::endian::native == std::endian::little);  // fixed() reads as the wire has it

class Clean final {
 public:
  bool message(std::string_view bytes, const MessagePlan& plan, int depth) {
    if (depth > kMostDepth || !plan.wire.usable) return false;
    const WirePlan& wire = plan.wire;
    WirePlan::Bits seen;
    uint64_t counts[WirePlan::kMostSlots] = {};
    Reader reader(bytes);
    Piece piece;
    while (!reader.done()) {
      if (!reader.next(piece)) return false;
      if (piece.number >= wire.by_number.size()) continue;  // of a newer API
      const WireField& field = wire.by_number[piece.number];
      if (field.bit == WireField::kNone) continue;
      // Not packed, and not the field's type: to protobuf that is an unknown field, and the known one may be missing.
      if (piece.wire != field.wire && !(field.packable && piece.wire == kBytes)) return false;
      const bool again = seen.test(field.bit);
      seen.set(field.bit);
      if (field.plan == nullptr) continue;
      // Parts of one message given twice are merged, which this does not follow.
      if (again && !field.plan->field->is_repeated() && field.plan->field->message_type() != nullptr) return false;
      if (field.slot != WireField::kNone) ++counts[field.slot];
      if (!one(piece, *field.plan, depth)) return false;
    }
    if ((seen & wire.must) != wire.must) return false;
    for (const WirePlan::Bits& bits : wire.one_of) {
      if ((seen & bits).none()) return false;
    }
    for (size_t i = 0; i < wire.slots.size(); ++i) {
      if (counts[i] < wire.slots[i]->least_items || counts[i] > wire.slots[i]->most_items) return false;
    }
    return true;
  }

 private:
  bool one(const Piece& piece, const FieldPlan& plan, int depth) {
    if (plan.state != Honored::State::kHonored || plan.unique) return false;
    const FieldDescriptor& field = *plan.field;
    if (field.is_map()) return piece.wire == kBytes && pair(piece.bytes, plan, depth);
    // Packed numbers come as bytes; the few rules on them are left to the message.
    if (plan.value != nullptr && !value(piece, plan, field)) return false;
    if (plan.slotted() && field.is_packable()) return false;
    return plan.below == nullptr || (piece.wire == kBytes && message(piece.bytes, *plan.below, depth + 1));
  }

  bool pair(std::string_view bytes, const FieldPlan& plan, int depth) {
    if (plan.value != nullptr) return false;
    Reader reader(bytes);
    Piece piece;
    std::string_view key;
    std::string_view mapped;
    while (!reader.done()) {
      if (!reader.next(piece)) return false;
      if (piece.wire != kBytes) return plan.key == nullptr && plan.below == nullptr;
      (piece.number == 1 ? key : mapped) = piece.bytes;
    }
    if (plan.key != nullptr) {
      ValueCheck(*plan.key, scratch_).text(key, false);
      if (!scratch_.empty()) return false;
    }
    return plan.below == nullptr || message(mapped, *plan.below, depth + 1);
  }

  bool value(const Piece& piece, const FieldPlan& plan, const FieldDescriptor& field) {
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) return scalar(piece, *plan.value, field);
    if (piece.wire != kBytes) return false;
    if (plan.inner != nullptr) return wrapper(piece.bytes, plan);
    if (field.message_type()->well_known_type() == Descriptor::WELLKNOWNTYPE_DURATION) return duration(piece.bytes, *plan.value);
    return false;
  }

  bool wrapper(std::string_view bytes, const FieldPlan& plan) {
    Piece inner;
    inner.wire = wireOf(*plan.inner);  // absent: its default
    Reader reader(bytes);
    while (!reader.done()) {
      if (!reader.next(inner) || inner.number != 1) return false;
    }
    return scalar(inner, *plan.value, *plan.inner);
  }

  bool duration(std::string_view bytes, const ValueRule& rule) {
    int64_t seconds = 0;
    int32_t nanos = 0;
    Reader reader(bytes);
    Piece piece;
    while (!reader.done()) {
      if (!reader.next(piece) || piece.wire != kVarint || piece.number == 0 || piece.number > 2) return false;
      if (piece.number == 1) seconds = static_cast<int64_t>(piece.value);
      if (piece.number == 2) nanos = static_cast<int32_t>(piece.value);
    }
    ValueCheck(rule, scratch_).number(static_cast<long double>(seconds) + static_cast<long double>(nanos) / 1e9L, "s");
    return scratch_.empty();
  }

  bool scalar(const Piece& piece, const ValueRule& rule, const FieldDescriptor& field) {
    if (piece.wire != wireOf(field)) return false;
    ValueCheck check(rule, scratch_);
    switch (field.type()) {
      case FieldDescriptor::TYPE_INT32: check.number(static_cast<int32_t>(piece.value)); break;
      case FieldDescriptor::TYPE_INT64: check.number(static_cast<long double>(static_cast<int64_t>(piece.value))); break;
      case FieldDescriptor::TYPE_UINT32: check.number(static_cast<uint32_t>(piece.value)); break;
      case FieldDescriptor::TYPE_UINT64: check.number(static_cast<long double>(piece.value)); break;
      case FieldDescriptor::TYPE_DOUBLE: check.number(std::bit_cast<double>(piece.value)); break;
      case FieldDescriptor::TYPE_FLOAT: check.number(std::bit_cast<float>(static_cast<uint32_t>(piece.value))); break;
      case FieldDescriptor::TYPE_BOOL: check.boolean(piece.value != 0); break;
      case FieldDescriptor::TYPE_ENUM: check.enumeration(static_cast<int>(piece.value), field); break;
      case FieldDescriptor::TYPE_STRING: check.text(piece.bytes, false); break;
      case FieldDescriptor::TYPE_BYTES: check.text(piece.bytes, true); break;
      default: return false;  // sint and fixed: the API has none
    }
    return scratch_.empty();
  }

  Problems scratch_;
};

}  // namespace

bool isClean(std::string_view bytes, const MessagePlan& plan) { return Clean().message(bytes, plan, 0); }

}  // namespace outrider::config
