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
  explicit FieldName(std::string_view name);   // any case; ":path", "host" and ":authority" are understood
  const std::string& name() const { return name_; }

  HeaderId id() const { return id_; }

  // All values, joined with ','; nullopt: absent.
  std::optional<std::string_view> in(const RequestHead& head) const;
  std::optional<std::string_view> in(const ResponseHead& head) const;   // :status, printed into the arena
  std::optional<std::string_view> in(const HeaderMap& headers) const;
  // The first value only.
  std::optional<std::string_view> firstIn(const RequestHead& head) const;
  std::optional<std::string_view> firstIn(const ResponseHead& head) const;
  std::optional<std::string_view> firstIn(const HeaderMap& headers) const;
  bool operator==(const FieldName&) const = default;

 private:
  std::optional<std::optional<std::string_view>> pseudo(const RequestHead& head) const;
  enum class Kind : uint8_t { kField, kMethod, kScheme, kAuthority, kPath, kStatus, kProtocol, kUpgrade, kConnection };
  std::string name_;   // lower case
  HeaderId id_ = HeaderId::kUnknown;
  Kind kind_ = Kind::kField;
};

}  // namespace outrider::http
