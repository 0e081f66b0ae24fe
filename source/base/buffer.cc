#include "source/base/buffer.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "source/base/free_list.h"

namespace outrider::base {

namespace {

// Rings of these sizes wait for their next buffer; larger ones are the allocator's.
constexpr uint32_t kRing = 8;
template <uint32_t kSlots>
using Rings = FreeList<Buffer, kSlots * sizeof(Slice), 2048 / kSlots>;
using SmallRings = Rings<kRing>;
using MiddleRings = Rings<kRing * 4>;
using LargeRings = Rings<kRing * 16>;

Slice* takeRing(uint32_t slots) {
  void* memory;
  switch (slots) {
    case kRing: memory = SmallRings::take(); break;
    case kRing * 4: memory = MiddleRings::take(); break;
    case kRing * 16: memory = LargeRings::take(); break;
    default: memory = ::operator new(slots * sizeof(Slice)); break;
  }
  auto* ring = static_cast<Slice*>(memory);
  std::uninitialized_default_construct_n(ring, slots);
  return ring;
}

void giveRing(Slice* ring, uint32_t slots) {
  std::destroy_n(ring, slots);
  switch (slots) {
    case kRing: return SmallRings::give(ring);
    case kRing * 4: return MiddleRings::give(ring);
    case kRing * 16: return LargeRings::give(ring);
    default: ::operator delete(ring);
  }
}

}  // namespace

void Buffer::trimThisThread() {
  SmallRings::trimThisThread();
  MiddleRings::trimThisThread();
  LargeRings::trimThisThread();
}

Buffer::~Buffer() {
  clear();
  if (slots_ != &inline_) dropRing();
}

void Buffer::dropRing() {
  giveRing(slots_, mask_ + 1);
  slots_ = &inline_;
  mask_ = 0;
  first_ = 0;
}

void Buffer::clear() {
  while (count_ > 0) popFront();
  size_ = 0;
  if (slots_ != &inline_) dropRing();
  if (reserved_ != nullptr) {
    reserved_->unref();
    reserved_ = nullptr;
  }
}

void Buffer::grow() {
  const uint32_t capacity = mask_ == 0 ? kRing : (mask_ + 1) * 4;
  Slice* slots = takeRing(capacity);
  for (uint32_t i = 0; i < count_; ++i) slots[i] = std::move(slots_[(first_ + i) & mask_]);
  if (slots_ != &inline_) dropRing();
  slots_ = slots;
  mask_ = capacity - 1;
  first_ = 0;
}

void Buffer::pushBack(Slice&& slice) {
  if (count_ == mask_ + 1) grow();
  slots_[(first_ + count_) & mask_] = std::move(slice);
  ++count_;
}

void Buffer::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const Room room = reserve(1);
    const size_t n = std::min(room.size, bytes.size());
    std::memcpy(room.data, bytes.data(), n);
    commit(n);
    bytes.remove_prefix(n);
  }
}

void Buffer::append(Slice slice) {
  if (slice.size() == 0) return;
  if (count_ > 0) {
    // Bytes that continue the tail in the same block just lengthen it.
    Slice& tail = back();
    if (slice.block() != nullptr && tail.block() == slice.block() && tail.data() + tail.size() == slice.data()) {
      size_ += slice.size();
      tail.extend(slice.size());
      return;
    }
  }
  size_ += slice.size();
  pushBack(std::move(slice));
}

Buffer::Room Buffer::reserve(size_t at_least) {
  OUTRIDER_DCHECK(at_least <= kBlockSize);
  if (reserved_ != nullptr) {
    if (reserved_->room() >= at_least) return {reserved_->data() + reserved_->used, reserved_->room()};
    reserved_->unref();
    reserved_ = nullptr;
  }
  if (count_ > 0) {
    Slice& tail = back();
    Block* block = tail.block();
    if (block != nullptr && tail.data() + tail.size() == block->data() + block->used && block->room() >= at_least) {
      return {block->data() + block->used, block->room()};
    }
  }
  reserved_ = Block::take();
  return {reserved_->data(), kBlockSize};
}

void Buffer::commit(size_t n) {
  if (reserved_ != nullptr) {
    Block* block = reserved_;
    reserved_ = nullptr;
    if (n == 0) {
      block->unref();
      return;
    }
    const char* at = block->data() + block->used;
    block->used += static_cast<uint32_t>(n);
    size_ += n;
    pushBack(Slice::ofBlock(block, at, n));
    return;
  }
  if (n == 0) return;
  Slice& tail = back();
  tail.block()->used += static_cast<uint32_t>(n);
  tail.extend(n);
  size_ += n;
}

void Buffer::move(Buffer& from) { move(from, from.size_); }

void Buffer::move(Buffer& from, size_t n) {
  OUTRIDER_DCHECK(n <= from.size_);
  while (n > 0) {
    Slice& head = from.slots_[from.first_];
    if (head.size() <= n) {
      const size_t size = head.size();
      if (size < kCopyBelow && count_ > 0 && head.block() != nullptr) {
        append(head.view());
      } else {
        append(std::move(head));
      }
      from.popFront();
      from.size_ -= size;
      n -= size;
    } else {
      if (n < kCopyBelow && count_ > 0) {
        append(head.view().substr(0, n));
      } else {
        append(head.prefix(n));
      }
      head.removePrefix(n);
      from.size_ -= n;
      n = 0;
    }
  }
  if (from.count_ == 0 && from.slots_ != &from.inline_) from.dropRing();
}

void Buffer::share(const Buffer& from) {
  for (size_t i = 0; i < from.count_; ++i) {
    const Slice& piece = from.slice(i);
    if (piece.size() < kCopyBelow && piece.block() != nullptr) {
      append(piece.view());
    } else {
      append(piece);
    }
  }
}

void Buffer::drain(size_t n) {
  OUTRIDER_DCHECK(n <= size_);
  size_ -= n;
  while (n > 0) {
    Slice& head = slots_[first_];
    if (head.size() > n) {
      head.removePrefix(n);
      return;
    }
    n -= head.size();
    popFront();
  }
  if (count_ == 0 && slots_ != &inline_) dropRing();
}

int Buffer::iovecs(iovec* out, int most) const {
  int n = 0;
  for (; n < most && n < static_cast<int>(count_); ++n) {
    const Slice& piece = slice(n);
    out[n].iov_base = const_cast<char*>(piece.data());
    out[n].iov_len = piece.size();
  }
  return n;
}

void Buffer::copyOut(size_t n, char* to) const {
  for (size_t i = 0; n > 0; ++i) {
    const Slice& piece = slice(i);
    const size_t part = std::min(n, piece.size());
    std::memcpy(to, piece.data(), part);
    to += part;
    n -= part;
  }
}

std::string_view Buffer::linear(size_t n) {
  OUTRIDER_DCHECK(n <= size_ && n <= kBlockSize);
  if (n == 0) return {};
  if (slots_[first_].size() >= n) return {slots_[first_].data(), n};
  Block* block = Block::take();
  copyOut(n, block->data());
  block->used = static_cast<uint32_t>(n);
  drain(n);
  size_ += n;
  if (count_ == mask_ + 1) grow();
  first_ = (first_ + mask_) & mask_;
  ++count_;
  slots_[first_] = Slice::ofBlock(block, block->data(), n);
  return slots_[first_].view();
}

std::string Buffer::str() const {
  std::string out(size_, '\0');
  copyOut(size_, out.data());
  return out;
}

void Buffer::swap(Buffer& other) noexcept {
  if (this == &other) return;
  const bool mine_inline = slots_ == &inline_;
  const bool theirs_inline = other.slots_ == &other.inline_;
  std::swap(inline_, other.inline_);
  std::swap(slots_, other.slots_);
  if (theirs_inline) slots_ = &inline_;
  if (mine_inline) other.slots_ = &other.inline_;
  std::swap(mask_, other.mask_);
  std::swap(first_, other.first_);
  std::swap(count_, other.count_);
  std::swap(size_, other.size_);
  std::swap(reserved_, other.reserved_);
}

}  // namespace outrider::base
