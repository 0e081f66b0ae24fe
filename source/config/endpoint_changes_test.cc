// Assignments read from bytes against assignments parsed whole: the same value, the same problems at the same places, whatever the
// version before was.
#include <gtest/gtest.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "source/config/endpoint_parse.h"

namespace outrider::config {
namespace {

namespace pb = envoy::config::endpoint::v3;

class EndpointRead : public testing::Test {
 protected:
  EndpointRead() { declareEndpoints(honored_); }

  static pb::LbEndpoint endpointAt(uint32_t number) {
    pb::LbEndpoint out;
    auto& address = *out.mutable_endpoint()->mutable_address()->mutable_socket_address();
    address.set_address(absl::StrCat("10.0.", number / 256 % 256, ".", number % 256));
    address.set_port_value(80);
    return out;
  }
  static pb::ClusterLoadAssignment listOf(uint32_t count) {
    pb::ClusterLoadAssignment out;
    out.set_cluster_name("a");
    auto& locality = *out.add_endpoints();
    for (uint32_t i = 0; i < count; ++i) *locality.add_lb_endpoints() = endpointAt(i);
    return out;
  }
  static std::shared_ptr<const std::string> bytesOf(const pb::ClusterLoadAssignment& in) {
    return std::make_shared<const std::string>(in.SerializeAsString());
  }

  // Both ways; what they say must be the same.
  std::shared_ptr<const EndpointsSpec> read(const pb::ClusterLoadAssignment& in, const EndpointsSpec* before) {
    const Checker checker(&honored_);
    Problems whole, parts;
    EndpointsSpec expected;
    if (checker.check(in, whole)) expected = parseEndpoints(in, Names::kRefused, whole);
    const auto found = readEndpoints(bytesOf(in), checker, before, parts);
    EXPECT_EQ(whole.empty(), parts.empty()) << whole.str() << "\n" << parts.str();
    // The rules stop the whole message early; each part says all that is wrong with it.
    for (const Problem& problem : whole.list()) {
      EXPECT_NE(parts.str().find(problem.path), std::string::npos) << problem.path << " is not in " << parts.str();
    }
    EXPECT_EQ(whole.unsupportedPaths(), parts.unsupportedPaths());
    EXPECT_EQ(found != nullptr, parts.empty());
    if (found != nullptr) {
      EXPECT_TRUE(*found == expected) << in.DebugString();
    }
    return found;
  }

  Honored honored_;
};

TEST_F(EndpointRead, WhatDidNotChangeIsTakenOver) {
  pb::ClusterLoadAssignment in = listOf(1000);
  for (auto& each : *in.mutable_endpoints(0)->mutable_lb_endpoints()) each.mutable_endpoint()->set_hostname("one");
  const auto first = read(in, nullptr);
  ASSERT_NE(first, nullptr);
  in.mutable_endpoints(0)->mutable_lb_endpoints(500)->mutable_load_balancing_weight()->set_value(7);
  const auto second = read(in, first.get());
  ASSERT_NE(second, nullptr);
  const auto& endpoints = second->localities[0].endpoints;
  EXPECT_EQ(endpoints[500].weight, 7u);
  EXPECT_EQ(endpoints[0].details, first->localities[0].endpoints[0].details);
  EXPECT_EQ(endpoints[999].details, endpoints[0].details);
  EXPECT_NE(endpoints[500].details, endpoints[0].details);  // it was read
}

TEST_F(EndpointRead, EqualDetailsAreOneObject) {
  pb::ClusterLoadAssignment in = listOf(4);
  for (int i = 0; i < 4; ++i) in.mutable_endpoints(0)->mutable_lb_endpoints(i)->mutable_endpoint()->set_hostname(i % 2 == 0 ? "a" : "b");
  const auto spec = read(in, nullptr);
  ASSERT_NE(spec, nullptr);
  const auto& endpoints = spec->localities[0].endpoints;
  EXPECT_EQ(endpoints[0].details, endpoints[2].details);
  EXPECT_EQ(endpoints[1].details, endpoints[3].details);
  EXPECT_NE(endpoints[0].details, endpoints[1].details);
}

TEST_F(EndpointRead, TheMetadataForBalancersIsRead) {
  pb::ClusterLoadAssignment in = listOf(1);
  auto& fields =
      *(*in.mutable_endpoints(0)->mutable_lb_endpoints(0)->mutable_metadata()->mutable_filter_metadata())["envoy.lb"].mutable_fields();
  fields["hash_key"].set_string_value("k");
  fields["canary"].set_bool_value(true);
  const auto spec = read(in, nullptr);
  ASSERT_NE(spec, nullptr);
  EXPECT_EQ(spec->localities[0].endpoints[0].more().hash_key, "k");
  EXPECT_TRUE(spec->localities[0].endpoints[0].more().canary);
}

TEST_F(EndpointRead, ChangesOfEveryKindGiveWhatTheWholeMessageGives) {
  std::mt19937 random(42);
  pb::ClusterLoadAssignment in = listOf(20);
  std::shared_ptr<const EndpointsSpec> before;
  uint32_t next = 1000, refused = 0;
  for (int round = 0; round < 5000; ++round) {
    pb::ClusterLoadAssignment changed = in;
    if (changed.endpoints().empty()) changed.add_endpoints();
    auto& locality = *changed.mutable_endpoints(static_cast<int>(random() % static_cast<uint32_t>(changed.endpoints_size())));
    auto& list = *locality.mutable_lb_endpoints();
    const int at = list.empty() ? 0 : static_cast<int>(random() % static_cast<uint32_t>(list.size()));
    switch (random() % 18) {
      case 0: *list.Add() = endpointAt(next++); break;
      case 1:
        if (!list.empty()) list.DeleteSubrange(at, 1);
        break;
      case 2:
        if (!list.empty()) *list.Mutable(at) = endpointAt(next++);
        break;
      case 3:
        if (list.size() > 1) list.SwapElements(0, at);
        break;
      case 4:
        if (!list.empty()) list.Mutable(at)->mutable_load_balancing_weight()->set_value(1 + random() % 5);
        break;
      case 5:
        if (!list.empty()) list.Mutable(at)->mutable_endpoint()->set_hostname(absl::StrCat("h", random() % 3));
        break;
      case 6: locality.mutable_locality()->set_zone(absl::StrCat("z", random() % 3)); break;
      case 7:
        *changed.add_endpoints() = locality;
        changed.mutable_endpoints(changed.endpoints_size() - 1)->mutable_lb_endpoints()->Clear();
        break;
      case 8:
        changed.mutable_endpoints()->DeleteSubrange(static_cast<int>(random() % static_cast<uint32_t>(changed.endpoints_size())), 1);
        break;
      case 9: changed.mutable_policy()->mutable_overprovisioning_factor()->set_value(100 + random() % 50); break;
      case 10: locality.mutable_load_balancing_weight()->set_value(1 + random() % 3); break;
      case 11:  // a list in the other place
        if (!locality.has_load_balancer_endpoints()) {
          auto& other = *locality.mutable_load_balancer_endpoints();
          for (uint32_t i = 0; i < 3; ++i) *other.add_lb_endpoints() = endpointAt(next++);
          break;
        }
        locality.clear_load_balancer_endpoints();
        break;
      case 12:
        locality.mutable_lb_endpoints()->Add()->mutable_endpoint()->mutable_address()->mutable_socket_address()->set_address("no.ip");
        break;
      case 13: locality.mutable_lb_endpoints()->Add(); break;
      case 14: locality.set_priority(random() % 3); break;
      case 15: locality.mutable_proximity()->set_value(3); break;  // without effect
      case 16:
        if (!list.empty()) list.Mutable(at)->mutable_load_balancing_weight()->set_value(0);
        break;
      case 17: changed.mutable_policy()->add_drop_overloads()->set_category("c"); break;
    }
    const auto found = read(changed, before.get());
    if (found == nullptr) {
      ++refused;
      continue;
    }
    if (HasFailure()) return;
    before = found;
    in = std::move(changed);
    if (in.ByteSizeLong() > 4000) in = listOf(20);  // `before` is of another list then, which is fine, too
  }
  EXPECT_GT(refused, 300u);
  EXPECT_LT(refused, 3000u);
}

TEST_F(EndpointRead, CutBytesAreRefused) {
  const Checker checker(&honored_);
  const std::string whole = listOf(3).SerializeAsString();
  const auto before = readEndpoints(std::make_shared<const std::string>(whole), checker, nullptr, *std::make_unique<Problems>());
  for (size_t size = 0; size < whole.size(); ++size) {
    Problems problems;
    pb::ClusterLoadAssignment message;
    const bool good = message.ParseFromString(whole.substr(0, size));
    const auto found = readEndpoints(std::make_shared<const std::string>(whole.substr(0, size)), checker, before.get(), problems);
    if (!good) {
      EXPECT_EQ(found, nullptr) << size;
    }
    EXPECT_EQ(found == nullptr, !problems.empty()) << size;
  }
}

TEST_F(EndpointRead, BytesAndMessageAreReadAlikeWhateverIsWrongWithThem) {
  const Checker checker(&honored_);
  pb::ClusterLoadAssignment message = listOf(6);
  for (int i = 2; i < 6; ++i) {
    pb::LbEndpoint& each = *message.mutable_endpoints(0)->mutable_lb_endpoints(i);
    each.mutable_endpoint()->set_hostname("h");
    each.mutable_endpoint()->mutable_health_check_config()->set_port_value(81);
    each.mutable_load_balancing_weight()->set_value(3);
    (*(*each.mutable_metadata()->mutable_filter_metadata())["envoy.lb"].mutable_fields())["canary"].set_bool_value(true);
  }
  *message.add_endpoints()->mutable_load_balancer_endpoints()->add_lb_endpoints() = endpointAt(9);
  *message.mutable_endpoints(1)->add_lb_endpoints() = endpointAt(10);  // without effect beside the list, but read
  const std::string whole = message.SerializeAsString();
  Problems none;
  const auto first = readEndpoints(std::make_shared<const std::string>(whole), checker, nullptr, none);
  ASSERT_NE(first, nullptr) << none.str();
  std::mt19937 random(7);
  size_t good = 0, refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = whole;
    for (uint32_t n = random() % 3 + 1; n > 0; --n) bytes[random() % bytes.size()] = static_cast<char>(random());
    Problems problems, said;
    EndpointsSpec expected;
    const bool decoded = message.ParseFromString(bytes);
    if (decoded && checker.check(message, problems)) expected = parseEndpoints(message, Names::kRefused, problems);
    const bool sound = decoded && problems.empty();
    const auto found = readEndpoints(std::make_shared<const std::string>(bytes), checker, i % 2 == 0 ? first.get() : nullptr, said);
    ASSERT_EQ(found != nullptr, sound) << i << ": " << problems.str() << "\n" << said.str();
    ASSERT_EQ(found == nullptr, !said.empty()) << i;
    if (found != nullptr) {
      ASSERT_TRUE(*found == expected) << i << ": " << message.DebugString();
      EXPECT_EQ(said.unsupportedPaths(), problems.unsupportedPaths()) << i;
    }
    ++(sound ? good : refused);
  }
  EXPECT_GT(good, 1000u);
  EXPECT_GT(refused, 1000u);
}

// Parts of a message may come twice, and the later one wins: what follows an address is no common property then.
TEST_F(EndpointRead, AnAddressThatIsSaidTwiceIsTheLaterOne) {
  const Checker checker(&honored_);
  const auto wrap = [](int field, const std::string& bytes) {
    const size_t size = bytes.size();
    return std::string{static_cast<char>(field << 3 | 2), static_cast<char>(size | 128), static_cast<char>(size >> 7)} + bytes;
  };
  pb::LbEndpoint later;
  later.mutable_endpoint()->mutable_address()->mutable_socket_address()->set_port_value(99);
  std::string list;
  for (uint32_t i = 0; i < 3; ++i) list += wrap(2, endpointAt(i).SerializeAsString() + later.SerializeAsString());
  for (uint32_t i = 3; i < 6; ++i) {
    const std::string two = endpointAt(i).endpoint().SerializeAsString() + later.endpoint().SerializeAsString();
    list += wrap(2, wrap(1, two));
  }
  pb::ClusterLoadAssignment head;
  head.set_cluster_name("a");
  Problems problems;
  const auto bytes = std::make_shared<const std::string>(head.SerializeAsString() + wrap(2, list));
  const auto named = readEndpoints(bytes, checker, nullptr, problems);
  ASSERT_NE(named, nullptr) << problems.str();
  ASSERT_EQ(named->localities.at(0).endpoints.size(), 6u);
  for (const EndpointSpec& each : named->localities[0].endpoints) {
    EXPECT_EQ(each.port, 99);
    EXPECT_EQ(each.address.port(), 99);
  }
}

}  // namespace
}  // namespace outrider::config
