// A field's name looked up once, when config is built; and its value in a head, pseudo-headers among them.
// Thread: immutable, any; the head belongs to the caller's worker. Source: how Envoy's matchers and formats name fields.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "source/http/head.h"

namespace outrider::http {

// A field's name, looked up once.
class FieldName final {
 public:
  FieldName() = default;
  explicit FieldName(std::string_view name);  // any case; ":path", "host" and ":authority" are understood
  const std::string& name() const { return name_; }

  HeaderId id() const { return id_; }

  // All values, joined with ','; nullopt: absent.
  std::optional<std::string_view> in(const RequestHead& head) const;
  std::optional<std::string_view> in(const ResponseHead& head) const;  // :status, printed into the arena
  std::optional<std::string_view> in(const HeaderMap& headers) const;
  // The first value only.
  std::optional<std::string_view> firstIn(const RequestHead& head) const;
  std::optional<std::string_view> firstIn(const ResponseHead& head) const;
  std::optional<std::string_view> firstIn(const HeaderMap& headers) const;
  // Does test(value) hold for one of the values? `present`: there is a field of that name.
  template <class Test>
  bool any(const HeaderMap& headers, Test&& test, bool& present) const {
    present = false;
    bool found = false;
    headers.forEach([&](const Header& header) {
      if (found || !is(header)) return;
      present = true;
      found = test(header.value());
    });
    return found;
  }
  template <class Test>
  bool any(const RequestHead& head, Test&& test, bool& present) const {
    if (const auto beside = pseudo(head)) {
      present = beside->has_value();
      return present && test(**beside);
    }
    return any(head.headers, test, present);
  }
  template <class Test>
  bool any(const ResponseHead& head, Test&& test, bool& present) const {
    if (kind_ != Kind::kStatus) return any(head.headers, test, present);
    present = true;
    return test(*firstIn(head));
  }
  bool operator==(const FieldName&) const = default;

 private:
  bool is(const Header& header) const {
    return id_ != HeaderId::kUnknown ? header.id == id_ : header.name_size == name_.size() && header.name() == name_;
  }
  std::optional<std::optional<std::string_view>> pseudo(const RequestHead& head) const;
  enum class Kind : uint8_t { kField, kMethod, kScheme, kAuthority, kPath, kStatus, kProtocol, kUpgrade, kConnection };
  std::string name_;  // lower case
  HeaderId id_ = HeaderId::kUnknown;
  Kind kind_ = Kind::kField;
};

}  // namespace outrider::http
