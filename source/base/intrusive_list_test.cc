#include "source/base/intrusive_list.h"

#include <vector>

#include <gtest/gtest.h>

namespace outrider::base {
namespace {

struct ByAge;
struct ByName;
struct Item : TaggedNode<ByAge>, TaggedNode<ByName> {
  explicit Item(int v) : value(v) {}
  int value;
};

TEST(IntrusiveList, KeepsOrderAndLetsMembersLeave) {
  IntrusiveList<Item, ByAge> list;
  Item a(1), b(2), c(3);
  list.pushBack(a);
  list.pushBack(b);
  list.pushFront(c);
  std::vector<int> seen;
  list.forEach([&](Item& item) {
    seen.push_back(item.value);
    if (item.value == 1) list.erase(item);
  });
  EXPECT_EQ(seen, (std::vector<int>{3, 1, 2}));
  EXPECT_FALSE((IntrusiveList<Item, ByAge>::contains(a)));
  EXPECT_EQ(list.popFront().value, 3);
  EXPECT_EQ(list.back().value, 2);
}

TEST(IntrusiveList, AMemberThatDiesLeavesItsLists) {
  IntrusiveList<Item, ByAge> ages;
  IntrusiveList<Item, ByName> names;
  {
    Item item(7);
    ages.pushBack(item);
    names.pushBack(item);
  }
  EXPECT_TRUE(ages.empty());
  EXPECT_TRUE(names.empty());
}

TEST(IntrusiveList, SpliceMovesAll) {
  IntrusiveList<Item, ByAge> from, to;
  Item a(1), b(2), c(3);
  to.pushBack(a);
  from.pushBack(b);
  from.pushBack(c);
  to.splice(from);
  EXPECT_TRUE(from.empty());
  EXPECT_EQ(to.popFront().value, 1);
  EXPECT_EQ(to.popFront().value, 2);
  EXPECT_EQ(to.popFront().value, 3);
}

}  // namespace
}  // namespace outrider::base
