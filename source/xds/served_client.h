// One client's stream as the control plane sees it: what it asked for, what it was sent, what it answered.
// Thread: the control plane's. It knows no gRPC: requests come in and responses leave as bytes.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "envoy/service/discovery/v3/discovery.pb.h"
#include "source/xds/served_view.h"

namespace outrider::xds {

class ServedClient final {
 public:
  // `only_type` empty: ADS. `say` gets one line for each ACK and NACK.
  ServedClient(bool delta, std::string only_type, std::function<void(std::string bytes)> send,
               std::function<void(const std::string& line)> say)
      : delta_(delta), only_type_(std::move(only_type)), send_(std::move(send)), say_(std::move(say)) {}

  // The node's id in a stream's first request; empty if there is none.
  static std::string nodeOf(bool delta, const std::string& bytes);

  // False: the bytes are no request.
  bool onRequest(const std::string& bytes, const ServedView& view);
  // Sends what is news to this client, clusters before endpoints before listeners before routes.
  void onResources(const ServedView& view);

  // Every response was acknowledged or refused; else `open`, if given, gets the types that were not.
  bool settled(std::set<std::string>* open = nullptr) const;
  bool refused(const std::string& type_url) const;  // the last response was
  bool asksFor(const std::string& type_url, const std::string& name) const;
  bool has(const std::string& type_url, const std::string& name, const std::string& version) const;  // it was sent

 private:
  struct Type {
    bool started = false;
    bool wildcard = false;
    bool named = false;  // a request named resources, so an empty list is no wildcard any more
    std::set<std::string, std::less<>> names;
    std::string nonce;                        // of the last response
    std::string answered;                     // the last nonce that was acknowledged or refused
    bool refused = false;                     // by that answer
    std::string version;                      // of the last response
    std::map<std::string, std::string> sent;  // name -> version that the client has (delta: or says that it has)
  };

  void onSotw(const envoy::service::discovery::v3::DiscoveryRequest& request, const ServedView& view);
  void onDelta(const envoy::service::discovery::v3::DeltaDiscoveryRequest& request, const ServedView& view);
  void sendSotw(const std::string& type_url, Type& type, const ServedView& view, bool anyway);
  void sendDelta(const std::string& type_url, Type& type, const ServedView& view, const std::set<std::string>& fresh, bool anyway);
  void told(const std::string& type_url, Type& type, const std::string& nonce, const google::rpc::Status* error);
  static bool wants(const Type& type, const std::string& name) { return type.wildcard || type.names.contains(name); }

  const bool delta_;
  const std::string only_type_;
  const std::function<void(std::string)> send_;
  const std::function<void(const std::string&)> say_;
  std::string node_ = "?";
  std::map<std::string, Type> types_;
  uint64_t responses_ = 0;
};

}  // namespace outrider::xds
