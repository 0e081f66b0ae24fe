#include "source/http/header_map.h"

namespace outrider::http {

void HeaderMap::grow() {
  const uint32_t capacity = capacity_ == 0 ? kInitial : capacity_ * 2;
  auto* entries = arena_.array<Header>(capacity);
  if (size_ > 0) std::memcpy(static_cast<void*>(entries), entries_, size_ * sizeof(Header));
  entries_ = entries;
  capacity_ = capacity;
}

void HeaderMap::push(HeaderId id, std::string_view name, std::string_view value) {
  if (size_ == capacity_) grow();
  Header& header = entries_[size_++];
  header.name_data = name.data();
  header.name_size = static_cast<uint16_t>(name.size());
  // A null view is a legal empty value; a null name stands for a hole, so names are never null.
  header.value_data = value.data() == nullptr ? "" : value.data();
  header.value_size = static_cast<uint32_t>(value.size());
  header.id = id;
  header.next = 0;
  if (id != HeaderId::kUnknown) {
    uint8_t& first = first_[static_cast<size_t>(id)];
    if (first == 0) first = static_cast<uint8_t>(size_ < 255 ? size_ : 255);
  }
  ++live_;
  bytes_ += name.size() + value.size();
}

Header* HeaderMap::findPresent(HeaderId id) {
  const uint8_t first = first_[static_cast<size_t>(id)];
  uint32_t i = first == 255 ? 254 : first - 1u;
  for (; i < size_; ++i) {
    if (entries_[i].id == id && entries_[i].name_data != nullptr) return &entries_[i];
  }
  return nullptr;
}

Header* HeaderMap::find(std::string_view name) {
  const HeaderId id = headerId(name);
  if (id != HeaderId::kUnknown) return find(id);
  for (uint32_t i = 0; i < size_; ++i) {
    Header& header = entries_[i];
    if (header.name_data != nullptr && header.name_size == name.size() && std::memcmp(header.name_data, name.data(), name.size()) == 0) {
      return &header;
    }
  }
  return nullptr;
}

void HeaderMap::erase(uint32_t index) {
  Header& header = entries_[index];
  bytes_ -= header.name_size + header.value_size;
  --live_;
  header.name_data = nullptr;
  if (header.id == HeaderId::kUnknown) return;
  uint8_t& first = first_[static_cast<size_t>(header.id)];
  if (first != 255 && first != index + 1) return;
  first = 0;
  for (uint32_t i = index + 1; i < size_; ++i) {
    if (entries_[i].id == header.id && entries_[i].name_data != nullptr) {
      first = static_cast<uint8_t>(i + 1 < 255 ? i + 1 : 255);
      return;
    }
  }
}

size_t HeaderMap::removePresent(HeaderId id) {
  return removeIf([id](const Header& header) { return header.id == id; });
}

size_t HeaderMap::remove(std::string_view name) {
  const HeaderId id = headerId(name);
  if (id != HeaderId::kUnknown) return remove(id);
  return removeIf([name](const Header& header) { return header.name() == name; });
}

void HeaderMap::set(HeaderId id, std::string_view value) {
  Header* header = find(id);
  if (header == nullptr) {
    add(id, value);
    return;
  }
  replaceValue(*header, value);
  removeIf([&](const Header& each) { return each.id == id && &each != header; });
}

void HeaderMap::set(std::string_view name, std::string_view value) {
  const HeaderId id = headerId(name);
  if (id != HeaderId::kUnknown) return set(id, value);
  Header* header = find(name);
  if (header == nullptr) {
    push(id, name, value);
    return;
  }
  replaceValue(*header, value);
  removeIf([&](const Header& each) { return &each != header && each.name() == name; });
}

void HeaderMap::addCopy(std::string_view name, std::string_view value) {
  char* lower = arena_.bytes(name.size());
  for (size_t i = 0; i < name.size(); ++i) lower[i] = lowerAscii(name[i]);
  const std::string_view copied(lower, name.size());
  push(headerId(copied), copied, arena_.copy(value));
}

void HeaderMap::setCopy(std::string_view name, std::string_view value) {
  char* lower = arena_.bytes(name.size());
  for (size_t i = 0; i < name.size(); ++i) lower[i] = lowerAscii(name[i]);
  set(std::string_view(lower, name.size()), arena_.copy(value));
}

void HeaderMap::appendValue(HeaderId id, std::string_view value) {
  Header* header = find(id);
  if (header == nullptr) {
    add(id, value);
    return;
  }
  if (header->value_size == 0) {
    replaceValue(*header, value);
    return;
  }
  replaceValue(*header, arena_.concat(header->value(), ",", value));
}

std::string_view HeaderMap::getAll(std::string_view name, bool& present) const {
  std::string_view joined;
  size_t found = 0;
  const HeaderId id = headerId(name);
  if (id != HeaderId::kUnknown && !has(id)) {
    present = false;
    return {};
  }
  for (uint32_t i = 0; i < size_; ++i) {
    const Header& header = entries_[i];
    if (header.name_data == nullptr || header.name() != name) continue;
    joined = found++ == 0 ? header.value() : arena_.concat(joined, ",", header.value());
  }
  present = found > 0;
  return joined;
}

void HeaderMap::clear() {
  size_ = live_ = 0;
  bytes_ = 0;
  std::memset(first_, 0, sizeof first_);
}

void HeaderMap::copyFrom(const HeaderMap& other) {
  other.forEach([&](const Header& header) {
    push(header.id, header.id == HeaderId::kUnknown ? arena_.copy(header.name()) : headerName(header.id), arena_.copy(header.value()));
  });
}

bool equalsIgnoreCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (lowerAscii(a[i]) != lowerAscii(b[i])) return false;
  }
  return true;
}

bool hasToken(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    std::string_view part = list.substr(0, comma);
    while (!part.empty() && (part.front() == ' ' || part.front() == '\t')) part.remove_prefix(1);
    while (!part.empty() && (part.back() == ' ' || part.back() == '\t')) part.remove_suffix(1);
    if (equalsIgnoreCase(part, token)) return true;
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return false;
}

}  // namespace outrider::http
