// TLS contexts that follow their secrets: a listener's or a cluster's transport socket holds one, and every new
// connection takes the context as it is at that moment. Sessions keep the one they were made with; without its secrets
// a server refuses each handshake (and counts it) and a client makes no transport. Thread: makeTransport() and ready()
// from any; the rest, and Secrets, from main or the config thread (a lock, never held while connections are served for
// longer than a pointer's copy). Lifetime: shared. Source: Envoy docs "configuration/security/secret".
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "source/tls/context.h"
#include "source/tls/session.h"

namespace outrider::tls {

// What Secrets gives news to. Two phases, so that a secret which one of its users cannot take changes nobody.
class SecretUser {
 public:
  virtual ~SecretUser() = default;
  virtual const std::vector<config::SdsRef>& wants() const = 0;
  // Makes the next context; the present one stays. False: problems were added.
  virtual bool prepare(const SecretLookup& secrets, config::Problems& problems) = 0;
  virtual void commit() = 0;  // the prepared context serves from now on
  virtual void discard() = 0;
};

class LiveServerContext final : public SecretUser {
 public:
  LiveServerContext(config::DownstreamTlsSpec spec, std::shared_ptr<ContextCache> cache, SslStatsRef stats);
  std::unique_ptr<net::Transport> makeTransport() const;
  bool ready() const { return context()->ready(); }
  ServerContextRef context() const;
  const config::DownstreamTlsSpec& spec() const { return spec_; }

  const std::vector<config::SdsRef>& wants() const override { return wants_; }
  bool prepare(const SecretLookup& secrets, config::Problems& problems) override;
  void commit() override;
  void discard() override { next_.reset(); }

 private:
  const config::DownstreamTlsSpec spec_;  // with its references
  const std::shared_ptr<ContextCache> cache_;
  const SslStatsRef stats_;
  std::vector<config::SdsRef> wants_;
  ServerContextRef next_;
  mutable std::mutex mutex_;
  ServerContextRef now_;  // under the lock
};

class LiveClientContext final : public SecretUser {
 public:
  LiveClientContext(config::UpstreamTlsSpec spec, std::shared_ptr<ContextCache> cache, SslStatsRef stats);
  // Null: a secret has not come (counted).
  std::unique_ptr<net::Transport> makeTransport(const ClientArgs& args) const;
  bool ready() const { return context()->ready(); }
  ClientContextRef context() const;
  const config::UpstreamTlsSpec& spec() const { return spec_; }

  const std::vector<config::SdsRef>& wants() const override { return wants_; }
  bool prepare(const SecretLookup& secrets, config::Problems& problems) override;
  void commit() override;
  void discard() override { next_.reset(); }

 private:
  const config::UpstreamTlsSpec spec_;
  const std::shared_ptr<ContextCache> cache_;
  const SslStatsRef stats_;
  std::vector<config::SdsRef> wants_;
  ClientContextRef next_;
  mutable std::mutex mutex_;
  ClientContextRef now_;
};

// Every secret by where it comes from, and who uses it.
class Secrets final {
 public:
  // The same for references to the same secret. Bootstrap's static secrets: keyOf({.name = ...}).
  static std::string keyOf(const config::SdsRef& ref);

  // Gives the user what is there now, and what comes later for as long as it lives. False after problems: it was not
  // taken.
  bool adopt(const std::shared_ptr<SecretUser>& user, config::Problems& problems);
  // A first or a new value: checked, then given to every user. False after problems: the old value stays everywhere.
  bool set(const std::string& key, config::SecretSpec secret, config::Problems& problems);
  bool has(const std::string& key) const;
  void forget(const std::string& key);  // nobody wants it: its key material goes

 private:
  bool prepare(SecretUser& user, const std::string& changed, const config::SecretSpec* value, config::Problems& problems) const;

  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const config::SecretSpec>, std::less<>> values_;
  std::vector<std::weak_ptr<SecretUser>> users_;
};

}  // namespace outrider::tls
