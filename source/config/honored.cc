#include "source/config/honored.h"

#include <google/protobuf/descriptor.pb.h>

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "source/base/check.h"

namespace outrider::config {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

namespace {

void mark(std::vector<Honored::State>& states, const Descriptor& type, std::initializer_list<std::string_view> names,
          Honored::State state) {
  if (states.empty()) states.assign(static_cast<size_t>(type.field_count()), Honored::State::kReported);
  for (const std::string_view name : names) {
    const FieldDescriptor* field = type.FindFieldByName(std::string(name));
    OUTRIDER_CHECK(field != nullptr);
    states[static_cast<size_t>(field->index())] = state;
  }
}

}  // namespace

void Honored::fields(const Descriptor& type, std::initializer_list<std::string_view> names) {
  mark(types_[&type], type, names, State::kHonored);
}

void Honored::refuse(const Descriptor& type, std::initializer_list<std::string_view> names) {
  mark(types_[&type], type, names, State::kRefused);
}

void Honored::all(const Descriptor& type) { types_[&type].assign(static_cast<size_t>(type.field_count()), State::kHonored); }

Honored::State Honored::of(const FieldDescriptor& field) const {
  const auto found = types_.find(field.containing_type());
  return found == types_.end() ? State::kHonored : found->second[static_cast<size_t>(field.index())];
}

std::vector<std::string> Honored::undeclared(const Descriptor& root) const {
  std::vector<std::string> out;
  std::vector<const Descriptor*> todo{&root};
  absl::flat_hash_set<const Descriptor*> seen{&root};
  while (!todo.empty()) {
    const Descriptor& type = *todo.back();
    todo.pop_back();
    if (type.file()->package() == "google.protobuf") continue;
    const bool entry = type.options().map_entry();
    if (!entry && !declared(type)) out.push_back(type.full_name());
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& field = *type.field(i);
      if (field.message_type() != nullptr && of(field) == State::kHonored && seen.insert(field.message_type()).second) {
        todo.push_back(field.message_type());
      }
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace outrider::config
