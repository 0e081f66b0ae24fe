// The fields of one message, in order, in the stream's arena: flat array plus an index by known name.
// Thread: its worker. Lifetime: an arena object; names and values are views on the arena or on static bytes, and live as
// long as the arena. Names are lower case. A removed entry is a hole that iteration skips. Units: bytes.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "source/base/arena.h"
#include "source/http/header_id.h"

namespace outrider::http {

struct Header {
  const char* name_data;  // null: removed
  const char* value_data;
  uint32_t value_size;
  uint16_t name_size;
  HeaderId id;
  uint8_t next;  // index + 1 of the next entry with the same known id, 0 at the end, 255: look onward by scan

  std::string_view name() const { return {name_data, name_size}; }
  std::string_view value() const { return {value_data, value_size}; }
};

// How the sender spelled names, where that matters (h1/header_case.h).
struct Spelling {
  const std::string_view* names = nullptr;
  uint32_t count = 0;
  bool proper = false;  // names that are not among them are capitalised
};

class HeaderMap final {
 public:
  explicit HeaderMap(base::Arena& arena) : arena_(arena) { std::memset(first_, 0, sizeof first_); }
  HeaderMap(const HeaderMap&) = delete;
  HeaderMap& operator=(const HeaderMap&) = delete;

  base::Arena& arena() const { return arena_; }
  size_t count() const { return live_; }
  bool empty() const { return live_ == 0; }
  size_t bytes() const { return bytes_; }  // names and values, without separators

  // Appends; the bytes must live in the arena or be static.
  void add(HeaderId id, std::string_view value) { push(id, headerName(id), value); }
  void add(std::string_view lower_name, std::string_view value) { push(headerId(lower_name), lower_name, value); }
  void add(HeaderId id, std::string_view lower_name, std::string_view value) { push(id, lower_name, value); }
  // Appends copies made in the arena; the name is lower-cased on the way.
  void addCopy(std::string_view name, std::string_view value);
  void addCopy(HeaderId id, std::string_view value) { push(id, headerName(id), arena_.copy(value)); }

  // Replaces every entry of that name by one.
  void set(HeaderId id, std::string_view value);
  void set(std::string_view lower_name, std::string_view value);
  void setCopy(HeaderId id, std::string_view value) { set(id, arena_.copy(value)); }
  void setCopy(std::string_view name, std::string_view value);
  // Appends to the first entry's value with a comma between, or adds.
  void appendValue(HeaderId id, std::string_view value);

  // The first entry, or null.
  Header* find(HeaderId id) { return has(id) ? findPresent(id) : nullptr; }
  const Header* find(HeaderId id) const { return const_cast<HeaderMap*>(this)->find(id); }
  Header* find(std::string_view lower_name);
  const Header* find(std::string_view lower_name) const { return const_cast<HeaderMap*>(this)->find(lower_name); }
  bool has(HeaderId id) const { return first_[static_cast<size_t>(id)] != 0; }
  std::string_view get(HeaderId id) const {
    const Header* header = find(id);
    return header == nullptr ? std::string_view() : header->value();
  }
  std::string_view get(std::string_view lower_name) const {
    const Header* header = find(lower_name);
    return header == nullptr ? std::string_view() : header->value();
  }
  // All values of a name joined with ',' (as Envoy's matchers see them); a copy only when there are several.
  std::string_view getAll(std::string_view lower_name, bool& present) const;
  std::string_view getAll(HeaderId id, bool& present) const {
    present = has(id);
    return present ? getAll(headerName(id), present) : std::string_view();
  }

  size_t remove(HeaderId id) { return has(id) ? removePresent(id) : 0; }  // returns how many went
  size_t remove(std::string_view lower_name);
  // Removes each entry for which drop(const Header&) says true.
  template <class Fn>
  size_t removeIf(Fn&& drop) {
    size_t gone = 0;
    for (uint32_t i = 0; i < size_; ++i) {
      if (entries_[i].name_data != nullptr && drop(static_cast<const Header&>(entries_[i]))) {
        erase(i);
        ++gone;
      }
    }
    return gone;
  }

  // In order: fn(const Header&).
  template <class Fn>
  void forEach(Fn&& fn) const {
    for (uint32_t i = 0; i < size_; ++i) {
      if (entries_[i].name_data != nullptr) fn(entries_[i]);
    }
  }
  // Replaces the value of an entry found before.
  void replaceValue(Header& header, std::string_view value) {
    bytes_ = bytes_ - header.value_size + value.size();
    header.value_data = value.data();
    header.value_size = static_cast<uint32_t>(value.size());
  }
  void clear();
  // Names as they go out over HTTP/1 where somebody asked for it; null: lower case.
  const Spelling* spelling() const { return spelling_; }
  void setSpelling(const Spelling* in_arena) { spelling_ = in_arena; }
  // Appends every entry of `other`, copying bytes into this arena.
  void copyFrom(const HeaderMap& other);

 private:
  static constexpr uint32_t kInitial = 24;
  void push(HeaderId id, std::string_view name, std::string_view value);
  // Most fields that are asked for are not there: has() answers without a call.
  Header* findPresent(HeaderId id);
  size_t removePresent(HeaderId id);
  void erase(uint32_t index);
  void grow();

  base::Arena& arena_;
  Header* entries_ = nullptr;
  uint32_t size_ = 0;  // with holes
  uint32_t capacity_ = 0;
  uint32_t live_ = 0;
  size_t bytes_ = 0;
  const Spelling* spelling_ = nullptr;
  uint8_t first_[kHeaderIds + 1];  // by id: index + 1 of the first entry; 255: further than that, scan
};

// Lower-case copies and comparisons without locale.
inline char lowerAscii(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }
bool equalsIgnoreCase(std::string_view a, std::string_view b);
// Does a comma-separated list hold this token (case-insensitive)?
bool hasToken(std::string_view list, std::string_view lower_token);

}  // namespace outrider::http
