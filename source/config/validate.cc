#include "source/config/validate.h"

#include <google/protobuf/duration.pb.h>

#include <algorithm>
#include <deque>
#include <mutex>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "source/config/field_value.h"
#include "source/config/validate_plan.h"
#include "source/config/validate_value.h"
#include "source/config/validate_wire.h"

namespace outrider::config {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

namespace {

// `at` < 0: the field itself; else the element.
void checkValue(const Message& in, const FieldPlan& plan, const FieldDescriptor& field, const ValueRule& rule, int at, Problems& problems) {
  visitValue(in, field, at, [&]<class T>(const T& value) {
    ValueCheck check(rule, problems);
    if constexpr (std::is_same_v<T, bool>) {
      check.boolean(value);
    } else if constexpr (std::is_arithmetic_v<T>) {
      check.number(static_cast<long double>(value));
    } else if constexpr (std::is_same_v<T, EnumNumber>) {
      check.enumeration(value.number, field);
    } else if constexpr (std::is_same_v<T, std::string>) {
      check.text(value, field.type() == FieldDescriptor::TYPE_BYTES);
    } else if (plan.inner != nullptr) {
      checkValue(value, plan, *plan.inner, rule, -1, problems);
    } else if (const Descriptor& type = *value.GetDescriptor(); type.well_known_type() == Descriptor::WELLKNOWNTYPE_DURATION) {
      const Reflection& r = *value.GetReflection();
      check.number(static_cast<long double>(r.GetInt64(value, type.FindFieldByNumber(1))) +
                       static_cast<long double>(r.GetInt32(value, type.FindFieldByNumber(2))) / 1e9L,
                   "s");
    }
  });
}

class Walk final {
 public:
  Walk(bool reject, Problems& problems) : reject_(reject), problems_(problems) {}

  void message(const Message& in, const MessagePlan& plan) {
    const Reflection& r = *in.GetReflection();
    for (const FieldPlan* one : plan.when_unset) unset(in, r, *one);
    if (depth_ == set_.size()) set_.emplace_back();
    std::vector<const FieldDescriptor*>& set = set_[depth_++];
    r.ListFields(in, &set);
    for (const FieldDescriptor* field : set) {
      const FieldPlan* one = plan.by_index[static_cast<size_t>(field->index())];
      if (one == nullptr) continue;
      if (field->is_repeated()) {
        repeated(in, r, *one);
      } else {
        single(in, r, *one);
      }
    }
    --depth_;
    for (const auto* oneof : plan.required_oneofs) {
      if (r.HasOneof(in, oneof)) continue;
      std::string names;
      for (int i = 0; i < oneof->field_count(); ++i) absl::StrAppend(&names, i == 0 ? "give one of " : ", ", oneof->field(i)->name());
      problems_.addAt(oneof->name(), {}, "one of its fields must be set", names);
    }
  }

 private:
  // Reports a field that has no effect once; below it only the rules count.
  class Quiet final {
   public:
    Quiet(Walk& walk, const FieldPlan& plan) : walk_(walk), on_(plan.state != Honored::State::kHonored) {
      if (!on_) return;
      if (walk_.quiet_ == 0) walk_.unsupported(plan);
      ++walk_.quiet_;
    }
    ~Quiet() {
      if (on_) --walk_.quiet_;
    }
    Quiet(const Quiet&) = delete;
    Quiet& operator=(const Quiet&) = delete;

   private:
    Walk& walk_;
    const bool on_;
  };

  void unset(const Message& in, const Reflection& r, const FieldPlan& plan) {
    const FieldDescriptor& field = *plan.field;
    if (field.is_repeated()) {
      if (r.FieldSize(in, &field) == 0) problems_.addAt(field.name(), {}, "must not be empty", absl::StrCat("at least ", plan.least_items));
      return;
    }
    if (r.HasField(in, &field)) return;
    if (plan.required) return problems_.addAt(field.name(), {}, "must be set");
    const auto scope = problems_.field(field.name());
    checkValue(in, plan, field, *plan.value, -1, problems_);
  }

  void single(const Message& in, const Reflection& r, const FieldPlan& plan) {
    const FieldDescriptor& field = *plan.field;
    const Quiet quiet(*this, plan);
    if (plan.value == nullptr && plan.below == nullptr) return;
    const auto scope = problems_.field(field.name());
    if (plan.value != nullptr) checkValue(in, plan, field, *plan.value, -1, problems_);
    if (plan.below != nullptr) message(r.GetMessage(in, &field), *plan.below);
  }

  void repeated(const Message& in, const Reflection& r, const FieldPlan& plan) {
    const FieldDescriptor& field = *plan.field;
    const int size = r.FieldSize(in, &field);
    if (static_cast<uint64_t>(size) < plan.least_items) {
      problems_.addAt(field.name(), std::to_string(size), "has too few elements", absl::StrCat("at least ", plan.least_items));
    } else if (static_cast<uint64_t>(size) > plan.most_items) {
      problems_.addAt(field.name(), std::to_string(size), "has too many elements", absl::StrCat("at most ", plan.most_items));
    }
    const Quiet quiet(*this, plan);
    if (plan.unique) unique(in, r, field, size);
    if (plan.value == nullptr && plan.key == nullptr && plan.below == nullptr) return;
    if (field.is_map()) {
      const auto scope = problems_.field(field.name());
      for (int i = 0; i < size; ++i) pair(r.GetRepeatedMessage(in, &field, i), plan);
      return;
    }
    for (int i = 0; i < size; ++i) {
      const auto scope = problems_.element(field.name(), static_cast<size_t>(i));
      if (plan.value != nullptr) checkValue(in, plan, field, *plan.value, i, problems_);
      if (plan.below != nullptr) message(r.GetRepeatedMessage(in, &field, i), *plan.below);
    }
  }

  void pair(const Message& entry, const FieldPlan& plan) {
    const FieldDescriptor& key = *entry.GetDescriptor()->map_key();
    const FieldDescriptor& value = *entry.GetDescriptor()->map_value();
    const Reflection& r = *entry.GetReflection();
    std::string scratch;
    const std::string name =
        key.cpp_type() == FieldDescriptor::CPPTYPE_STRING ? r.GetStringReference(entry, &key, &scratch) : std::string("?");
    const auto scope = problems_.key(name);
    if (plan.key != nullptr) checkValue(entry, plan, key, *plan.key, -1, problems_);
    if (plan.value != nullptr) checkValue(entry, plan, value, *plan.value, -1, problems_);
    if (plan.below != nullptr && value.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) message(r.GetMessage(entry, &value), *plan.below);
  }

  void unique(const Message& in, const Reflection& r, const FieldDescriptor& field, int size) {
    absl::flat_hash_set<std::string> seen;
    for (int i = 0; i < size; ++i) {
      std::string value;
      switch (field.cpp_type()) {
        case FieldDescriptor::CPPTYPE_STRING: value = r.GetRepeatedString(in, &field, i); break;
        case FieldDescriptor::CPPTYPE_ENUM: value = std::to_string(r.GetRepeatedEnumValue(in, &field, i)); break;
        case FieldDescriptor::CPPTYPE_UINT32: value = std::to_string(r.GetRepeatedUInt32(in, &field, i)); break;
        case FieldDescriptor::CPPTYPE_MESSAGE: value = r.GetRepeatedMessage(in, &field, i).SerializePartialAsString(); break;
        default: return;
      }
      if (seen.insert(value).second) continue;
      const auto scope = problems_.element(field.name(), static_cast<size_t>(i));
      problems_.add(field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE ? std::string() : value, "given twice");
    }
  }

  void unsupported(const FieldPlan& plan) {
    const std::string& name = plan.field->name();
    if (plan.state == Honored::State::kRefused) {
      problems_.addAt(name, {}, "is not implemented, and ignoring it would weaken security");
    } else if (reject_) {
      problems_.addAt(name, {}, "is not implemented", "remove it, or do not give --reject-unsupported");
    } else {
      problems_.unsupported(name);
    }
  }

  const bool reject_;
  Problems& problems_;
  std::deque<std::vector<const FieldDescriptor*>> set_;  // by depth; reused, never moved
  size_t depth_ = 0;
  int quiet_ = 0;  // levels of fields without effect
};

}  // namespace

struct Checker::State {
  const Honored* honored;
  bool reject;
  std::mutex mutex;
  std::deque<MessagePlan> plans;                                 // never moved
  absl::flat_hash_map<const Descriptor*, MessagePlan*> by_type;  // complete: all that a listed type leads to is listed
  std::vector<std::string> unknown;

  const MessagePlan* find(const Descriptor& type) {
    const std::lock_guard lock(mutex);
    const auto found = by_type.find(&type);
    return found != by_type.end() ? found->second : compile(type);
  }

  // Compiles the type and all below it that is new, then drops what no check needs.
  MessagePlan* compile(const Descriptor& root) {
    std::vector<std::pair<const Descriptor*, MessagePlan*>> fresh;
    const auto open = [&](const Descriptor& type) {
      const auto [at, is_new] = by_type.try_emplace(&type, nullptr);
      if (is_new) {
        at->second = &plans.emplace_back();
        fresh.emplace_back(&type, at->second);
      }
      return at->second;
    };
    MessagePlan* out = open(root);
    for (size_t i = 0; i < fresh.size(); ++i) {
      const Descriptor& type = *fresh[i].first;
      MessagePlan& plan = *fresh[i].second;
      if (type.file()->package() == "google.protobuf") continue;
      for (int k = 0; k < type.field_count(); ++k) {
        FieldPlan field;
        bool skip = false;
        compileRules(*type.field(k), field, skip, unknown);
        if (honored != nullptr) field.state = honored->of(*type.field(k));
        const FieldDescriptor& value = type.field(k)->is_map() ? *type.field(k)->message_type()->map_value() : *type.field(k);
        if (value.message_type() != nullptr && !skip) field.below = open(*value.message_type());
        plan.fields.push_back(std::move(field));
      }
      for (int k = 0; k < type.real_oneof_decl_count(); ++k) {
        if (oneofRequired(*type.oneof_decl(k))) plan.required_oneofs.push_back(type.oneof_decl(k));
      }
      plan.needed = !plan.required_oneofs.empty() ||
                    std::any_of(plan.fields.begin(), plan.fields.end(), [](const FieldPlan& f) { return f.itself(); });
    }
    for (bool changed = true; changed;) {
      changed = false;
      for (auto& [type, plan] : fresh) {
        if (plan->needed) continue;
        plan->needed =
            std::any_of(plan->fields.begin(), plan->fields.end(), [](const FieldPlan& f) { return f.below != nullptr && f.below->needed; });
        changed = changed || plan->needed;
      }
    }
    for (auto& [type, plan] : fresh) {
      for (FieldPlan& field : plan->fields) {
        if (field.below != nullptr && !field.below->needed) field.below = nullptr;
      }
      std::erase_if(plan->fields, [](const FieldPlan& f) { return !f.itself() && f.below == nullptr; });
      plan->by_index.assign(static_cast<size_t>(type->field_count()), nullptr);
      for (const FieldPlan& field : plan->fields) {
        plan->by_index[static_cast<size_t>(field.field->index())] = &field;
        if (field.whenUnset()) plan->when_unset.push_back(&field);
      }
      compileWire(*type, *plan);
    }
    return out;
  }
};

Checker::Checker(const Honored* honored, bool reject_unsupported) : state_(std::make_unique<State>()) {
  state_->honored = honored;
  state_->reject = reject_unsupported;
}
Checker::~Checker() = default;

bool Checker::check(const Message& message, Problems& problems) const {
  const MessagePlan* plan = state_->find(*message.GetDescriptor());
  if (!plan->needed) return true;
  const size_t before = problems.size();
  Walk(state_->reject, problems).message(message, *plan);
  return problems.size() == before;
}

bool Checker::check(const Message& message, std::string_view bytes, Problems& problems) const {
  const MessagePlan* plan = state_->find(*message.GetDescriptor());
  return !plan->needed || isClean(bytes, *plan) || check(message, problems);
}

std::vector<std::string> Checker::unknownRules(const Descriptor& type) const {
  state_->find(type);
  const std::lock_guard lock(state_->mutex);
  return state_->unknown;
}

}  // namespace outrider::config
