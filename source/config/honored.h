// Which fields of the API this proxy acts on. Each parser declares its own; any other field that a config sets is
// reported, so that nothing is ignored silently (the walk itself is validate.h's). Thread: filled at start by one
// thread, then read only. Lifetime: the process's.
#pragma once

#include <google/protobuf/descriptor.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace outrider::config {

class Honored final {
 public:
  enum class State : uint8_t {
    kHonored,   // acted on
    kReported,  // set without effect: Problems::unsupported
    kRefused,   // ignoring it would weaken security: a Problem
  };

  // Adds to the fields that are acted on; names as the API spells them. A name that the type does not have ends the
  // process: it is a mistake in the parser. A type that nobody declared is taken to be honoured whole (undeclared()
  // lists these for tests).
  void fields(const google::protobuf::Descriptor& type, std::initializer_list<std::string_view> names);
  void all(const google::protobuf::Descriptor& type);
  // Not acted on, and refused when set: authentication, authorization, TLS verification, rate limits.
  void refuse(const google::protobuf::Descriptor& type, std::initializer_list<std::string_view> names);

  template <class M>
  void fields(std::initializer_list<std::string_view> names) {
    fields(*M::descriptor(), names);
  }
  template <class M>
  void all() {
    all(*M::descriptor());
  }
  template <class M>
  void refuse(std::initializer_list<std::string_view> names) {
    refuse(*M::descriptor(), names);
  }

  State of(const google::protobuf::FieldDescriptor& field) const;
  bool declared(const google::protobuf::Descriptor& type) const { return types_.contains(&type); }
  // Full names of the types that honoured fields lead to from `root` and that nobody declared; google.protobuf's are
  // left out.
  std::vector<std::string> undeclared(const google::protobuf::Descriptor& root) const;

 private:
  absl::flat_hash_map<const google::protobuf::Descriptor*, std::vector<State>> types_;  // by the field's index
};

}  // namespace outrider::config
