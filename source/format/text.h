// A growing run of characters that keeps its memory: print, use, clear. Thread: its owner's. Units: bytes.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "source/base/check.h"

namespace outrider::format {

class Text final {
 public:
  Text() = default;
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;
  ~Text() { std::free(data_); }

  std::string_view view() const { return {data_, size_}; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  char* data() { return data_; }
  void clear() { size_ = 0; }
  void truncate(size_t size) {
    if (size < size_) size_ = size;
  }

  // Free room for `n` bytes; write there, then commit().
  char* room(size_t n) {
    if (size_ + n > capacity_) grow(n);
    return data_ + size_;
  }
  void commit(size_t n) { size_ += n; }
  void add(char c) {
    *room(1) = c;
    ++size_;
  }
  void add(std::string_view bytes) {
    if (bytes.empty()) return;
    std::memcpy(room(bytes.size()), bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  void addNumber(uint64_t number) {
    char* at = room(20);
    size_ += static_cast<size_t>(std::to_chars(at, at + 20, number).ptr - at);
  }
  void addSigned(int64_t number) {
    char* at = room(20);
    size_ += static_cast<size_t>(std::to_chars(at, at + 20, number).ptr - at);
  }
  // With leading zeros.
  void addPadded(uint64_t number, int digits) {
    char* at = room(static_cast<size_t>(digits));
    for (int i = digits - 1; i >= 0; --i, number /= 10) at[i] = static_cast<char>('0' + number % 10);
    size_ += static_cast<size_t>(digits);
  }

 private:
  void grow(size_t n) {
    capacity_ = capacity_ * 2 > size_ + n ? capacity_ * 2 : size_ + n + 256;
    data_ = static_cast<char*>(std::realloc(data_, capacity_));
    OUTRIDER_CHECK(data_ != nullptr);
  }
  char* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace outrider::format
