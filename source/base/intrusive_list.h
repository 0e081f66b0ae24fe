// A doubly linked list whose links live in its members: no allocation, O(1) removal, one list a node at a time.
// Thread: the owner's. Lifetime: a node unlinks itself when destroyed, so a list never holds a dead member.
#pragma once

#include <cstddef>

#include "source/base/check.h"

namespace outrider::base {

class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }

  bool linked() const { return next_ != nullptr; }
  void unlink() {
    if (next_ == nullptr) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    next_ = prev_ = nullptr;
  }

 private:
  template <class T, class Tag>
  friend class IntrusiveList;
  ListNode* next_ = nullptr;
  ListNode* prev_ = nullptr;
};

// T derives from TaggedNode<Tag>; the tag lets one object sit in several lists.
template <class Tag>
class TaggedNode : public ListNode {};

template <class T, class Tag>
class IntrusiveList {
 public:
  IntrusiveList() { head_.next_ = head_.prev_ = &head_; }
  ~IntrusiveList() {
    while (!empty()) popFront();
    head_.next_ = head_.prev_ = nullptr;
  }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;

  bool empty() const { return head_.next_ == &head_; }
  T& front() { return *static_cast<T*>(static_cast<TaggedNode<Tag>*>(head_.next_)); }
  T& back() { return *static_cast<T*>(static_cast<TaggedNode<Tag>*>(head_.prev_)); }

  void pushBack(T& item) { insertBefore(head_, node(item)); }
  void pushFront(T& item) { insertBefore(*head_.next_, node(item)); }
  T& popFront() {
    T& item = front();
    node(item).unlink();
    return item;
  }
  static void erase(T& item) { node(item).unlink(); }
  static bool contains(const T& item) { return static_cast<const TaggedNode<Tag>&>(item).linked(); }

  // Moves all members of `other` to the end of this list.
  void splice(IntrusiveList& other) {
    if (other.empty()) return;
    ListNode* first = other.head_.next_;
    ListNode* last = other.head_.prev_;
    other.head_.next_ = other.head_.prev_ = &other.head_;
    first->prev_ = head_.prev_;
    head_.prev_->next_ = first;
    last->next_ = &head_;
    head_.prev_ = last;
  }

  // Calls fn(T&) for each member; fn may unlink the member it is given, and no other.
  template <class Fn>
  void forEach(Fn&& fn) {
    for (ListNode* at = head_.next_; at != &head_;) {
      ListNode* next = at->next_;
      fn(*static_cast<T*>(static_cast<TaggedNode<Tag>*>(at)));
      at = next;
    }
  }

 private:
  static TaggedNode<Tag>& node(T& item) { return static_cast<TaggedNode<Tag>&>(item); }
  static void insertBefore(ListNode& at, ListNode& item) {
    OUTRIDER_DCHECK(!item.linked());
    item.next_ = &at;
    item.prev_ = at.prev_;
    at.prev_->next_ = &item;
    at.prev_ = &item;
  }

  ListNode head_;
};

}  // namespace outrider::base
