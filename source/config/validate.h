// Envoy's validation rules (the `validate.rules` options of the API) and the report of fields that are not acted on, in
// one walk over a message. What a type needs is compiled once, when it is first met; parts of the tree without rules
// are not visited. Any's are not entered: whoever unpacks one checks what it unpacked. Thread: any (compiling a type
// takes a lock, walking takes none). Lifetime: the process's.
#pragma once

#include <google/protobuf/message.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "source/config/honored.h"
#include "source/config/problems.h"

namespace outrider::config {

class Checker final {
 public:
  // `honored` may be null (then only the rules are checked); else it outlives this and changes no more.
  // With `reject_unsupported` every field that is not acted on is a problem.
  explicit Checker(const Honored* honored = nullptr, bool reject_unsupported = false);
  ~Checker();
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;

  // Every violation goes to `problems` at its field path. False when one was added.
  bool check(const google::protobuf::Message& message, Problems& problems) const;
  // The same for a message that was just parsed from `bytes`: several times faster while there is nothing to say,
  // because the bytes are looked at first and the message only if they show something.
  bool check(const google::protobuf::Message& message, std::string_view bytes, Problems& problems) const;

  // Rules of a type's fields, and of the types below it, that this class does not know how to check; for tests.
  std::vector<std::string> unknownRules(const google::protobuf::Descriptor& type) const;

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace outrider::config
