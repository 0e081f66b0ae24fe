#include "source/xds/read_response.h"

#include <gtest/gtest.h>

#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/service/discovery/v3/discovery.pb.h"

namespace outrider::xds {
namespace {

namespace discovery = envoy::service::discovery::v3;

const std::string kCluster = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const std::string kListener = "type.googleapis.com/envoy.config.listener.v3.Listener";

std::string clusterBytes(const std::string& name) {
  envoy::config::cluster::v3::Cluster cluster;
  cluster.set_name(name);
  return cluster.SerializeAsString();
}

discovery::DiscoveryResponse sotw(std::initializer_list<std::string> names) {
  discovery::DiscoveryResponse out;
  out.set_type_url(kCluster);
  out.set_version_info("7");
  out.set_nonce("n");
  out.mutable_control_plane()->set_identifier("cp");
  for (const std::string& name : names) {
    auto& any = *out.add_resources();
    any.set_type_url(kCluster);
    any.set_value(clusterBytes(name));
  }
  return out;
}

discovery::DeltaDiscoveryResponse delta(std::initializer_list<std::string> names) {
  discovery::DeltaDiscoveryResponse out;
  out.set_type_url(kCluster);
  out.set_system_version_info("7");
  for (const std::string& name : names) {
    auto& resource = *out.add_resources();
    resource.set_name(name);
    resource.set_version("v-" + name);
    resource.mutable_resource()->set_type_url(kCluster);
    resource.mutable_resource()->set_value(clusterBytes(name));
  }
  return out;
}

TEST(ReadResponse, NamesAndHashesEachResource) {
  const ReadResponse all = readSotw(sotw({"a", "b"}).SerializeAsString());
  ASSERT_TRUE(all.readable);
  EXPECT_EQ(all.error, "");
  EXPECT_EQ(all.type_url + " " + all.nonce + " " + all.identifier, kCluster + " n cp");
  EXPECT_TRUE(all.in.full);
  ASSERT_EQ(all.in.items.size(), 2u);
  EXPECT_EQ(all.in.items[1].name, "b");
  EXPECT_EQ(all.in.items[1].version, "7");
  EXPECT_EQ(*all.in.items[1].bytes, clusterBytes("b"));

  auto message = delta({"a", "b"});
  message.add_removed_resources("gone");
  const ReadResponse some = readDelta(message.SerializeAsString());
  EXPECT_EQ(some.error, "");
  EXPECT_FALSE(some.in.full);
  ASSERT_EQ(some.in.items.size(), 2u);
  EXPECT_EQ(some.in.items[0].version, "v-a");
  EXPECT_EQ(some.in.items[1].hash, all.in.items[1].hash);  // the same bytes, whichever way they came
  EXPECT_NE(some.in.items[0].hash, some.in.items[1].hash);
  EXPECT_EQ(some.in.removed, std::vector<std::string>{"gone"});
}

TEST(ReadResponse, AWrappedResourceBringsItsLifeAndAHeartbeatNoBytes) {
  auto message = delta({"a"});
  message.mutable_resources(0)->mutable_ttl()->set_seconds(3);
  auto& beat = *message.add_resources();
  beat.set_name("b");
  beat.mutable_ttl()->set_nanos(5);
  const ReadResponse read = readDelta(message.SerializeAsString());
  EXPECT_EQ(read.error, "");
  ASSERT_EQ(read.in.items.size(), 2u);
  EXPECT_EQ(read.in.items[0].ttl, 3 * base::kSecond);
  EXPECT_FALSE(read.in.items[0].heartbeat);
  EXPECT_TRUE(read.in.items[1].heartbeat);
  EXPECT_EQ(read.in.items[1].ttl, 5);
  EXPECT_EQ(read.in.items[1].bytes, nullptr);

  auto wrapped = sotw({});
  auto& any = *wrapped.add_resources();
  any.set_type_url("type.googleapis.com/envoy.service.discovery.v3.Resource");
  any.set_value(message.resources(0).SerializeAsString());
  const ReadResponse of_sotw = readSotw(wrapped.SerializeAsString());
  EXPECT_EQ(of_sotw.error, "");
  ASSERT_EQ(of_sotw.in.items.size(), 1u);
  EXPECT_EQ(of_sotw.in.items[0].name + of_sotw.in.items[0].version, "av-a");
}

TEST(ReadResponse, WhatIsWrongWithAResponseAsAWholeIsSaid) {
  EXPECT_FALSE(readSotw("\xff\xff").readable);
  EXPECT_FALSE(readDelta("\xff\xff").readable);

  EXPECT_EQ(readSotw(sotw({"a", "a"}).SerializeAsString()).error, "duplicate cluster a found");
  EXPECT_EQ(readDelta(delta({"a", "a"}).SerializeAsString()).error, "duplicate name a found among added/updated resources");

  auto both = delta({"a"});
  both.add_removed_resources("a");
  EXPECT_EQ(readDelta(both.SerializeAsString()).error, "duplicate name a found in the union of added+removed resources");

  const std::string other = "type URL " + kListener + " embedded in an individual Any does not match the message-wide type URL " +
                            kCluster + " in DiscoveryResponse";
  auto mixed = sotw({"a"});
  mixed.mutable_resources(0)->set_type_url(kListener);
  EXPECT_EQ(readSotw(mixed.SerializeAsString()).error, other);
  auto mixed_delta = delta({"a"});
  mixed_delta.mutable_resources(0)->mutable_resource()->set_type_url(kListener);
  EXPECT_EQ(readDelta(mixed_delta.SerializeAsString()).error, other);

  auto torn = sotw({"a"});
  torn.mutable_resources(0)->set_value(
      "\x0a\x05"
      "a");  // a name of five bytes, of which one is here
  EXPECT_EQ(readSotw(torn.SerializeAsString()).error, "a resource is not a readable " + kCluster);
}

}  // namespace
}  // namespace outrider::xds
