#include "source/base/address.h"

#include <gtest/gtest.h>

namespace outrider::base {
namespace {

TEST(Address, PrintsAsItWasWritten) {
  for (const char* text : {"127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:443", "[2001:db8::7]:1"}) {
    const auto address = Address::parseIpPort(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->str(), text);
  }
  EXPECT_EQ(Address::unixPath("/run/x.sock")->str(), "/run/x.sock");
  EXPECT_EQ(Address::unixPath("@abs")->str(), "@abs");
}

TEST(Address, RefusesWhatIsNoAddress) {
  for (const char* text : {"", "1.2.3.4", "1.2.3:80", "1.2.3.4:99999", "::1:80", "host:80", "1.2.3.4:8o", "[::1]"}) {
    EXPECT_FALSE(Address::parseIpPort(text)) << text;
  }
  EXPECT_FALSE(Address::unixPath(std::string(200, 'a')));
}

TEST(CidrRange, ContainsItsAddressesOnly) {
  const auto ten = CidrRange::parse("10.1.2.3", 8);
  EXPECT_TRUE(ten->contains(*Address::parseIp("10.200.0.1", 5)));
  EXPECT_TRUE(ten->contains(*Address::parseIp("::ffff:10.0.0.1", 5)));
  EXPECT_FALSE(ten->contains(*Address::parseIp("11.0.0.1", 5)));
  EXPECT_FALSE(ten->contains(*Address::parseIp("::1", 5)));
  EXPECT_TRUE(CidrRange::parse("0.0.0.0", 0)->contains(*Address::parseIp("9.9.9.9", 1)));
  const auto odd = CidrRange::parse("192.168.0.128", 25);
  EXPECT_TRUE(odd->contains(*Address::parseIp("192.168.0.200", 1)));
  EXPECT_FALSE(odd->contains(*Address::parseIp("192.168.0.100", 1)));
  EXPECT_FALSE(CidrRange::parse("1.2.3.4", 33));
}

TEST(Address, IsSmallAndCopiesOfALongPathShareIt) {
  EXPECT_LE(sizeof(Address), 32u);  // hosts come by the hundred thousand, connections have several
  const std::string path = "/run/" + std::string(80, 'x') + ".sock";
  std::optional<Address> first = Address::unixPath(path);
  ASSERT_TRUE(first.has_value());
  Address copy = *first;
  EXPECT_EQ(copy.sockAddr(), first->sockAddr());
  first.reset();
  EXPECT_EQ(copy.str(), path);
  Address moved = std::move(copy);
  EXPECT_EQ(moved.str(), path);
  EXPECT_FALSE(copy.valid());  // NOLINT: a moved-from address is empty
  copy = *Address::parseIp("10.0.0.1", 80);
  moved = copy;
  EXPECT_EQ(moved.str(), "10.0.0.1:80");
  const Address again = Address::fromSockaddr(Address::unixPath(path)->sockAddr(), Address::unixPath(path)->length());
  EXPECT_EQ(again, *Address::unixPath(path));
  EXPECT_EQ(again.hash(), Address::unixPath(path)->hash());
}

}  // namespace
}  // namespace outrider::base
