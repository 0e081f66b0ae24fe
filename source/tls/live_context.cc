#include "source/tls/live_context.h"

#include <algorithm>

namespace outrider::tls {
namespace {

std::vector<config::SdsRef> referencesOf(const config::CommonTlsSpec& spec) {
  std::vector<config::SdsRef> out = spec.certificate_sds;
  if (spec.validation_sds) out.push_back(*spec.validation_sds);
  return out;
}

}  // namespace

// ---- Server ----

LiveServerContext::LiveServerContext(config::DownstreamTlsSpec spec, std::shared_ptr<ContextCache> cache, SslStatsRef stats)
    : spec_(std::move(spec)), cache_(std::move(cache)), stats_(std::move(stats)), wants_(referencesOf(spec_.common)) {
  if (spec_.ticket_keys_sds) wants_.push_back(*spec_.ticket_keys_sds);
  // Not ready until commit(); so it never serves a context that nobody checked.
  now_ = std::make_shared<const ServerContext>(nullptr, Verifier(), std::string());
}

ServerContextRef LiveServerContext::context() const {
  const std::lock_guard lock(mutex_);
  return now_;
}

std::unique_ptr<net::Transport> LiveServerContext::makeTransport() const { return makeServerTransport(context(), stats_); }

bool LiveServerContext::prepare(const SecretLookup& secrets, config::Problems& problems) {
  next_.reset();
  config::DownstreamTlsSpec whole = spec_;
  // What served once goes on with the old secrets when one of them is withdrawn.
  if (!resolve(whole, secrets) && ready()) return true;
  next_ = cache_->server(whole, problems);
  return next_ != nullptr;
}

void LiveServerContext::commit() {
  if (next_ == nullptr) return;
  if (!wants_.empty() && next_->ready()) stats_->factory.inc(SslFactoryStat::kContextUpdateBySds);
  const std::lock_guard lock(mutex_);
  now_ = std::move(next_);
}

// ---- Client ----

LiveClientContext::LiveClientContext(config::UpstreamTlsSpec spec, std::shared_ptr<ContextCache> cache, SslStatsRef stats)
    : spec_(std::move(spec)), cache_(std::move(cache)), stats_(std::move(stats)), wants_(referencesOf(spec_.common)) {
  now_ = std::make_shared<const ClientContext>(nullptr, Verifier(), config::UpstreamTlsSpec());
}

ClientContextRef LiveClientContext::context() const {
  const std::lock_guard lock(mutex_);
  return now_;
}

std::unique_ptr<net::Transport> LiveClientContext::makeTransport(const ClientArgs& args) const {
  auto out = makeClientTransport(context(), stats_, args);
  if (out == nullptr) stats_->factory.inc(SslFactoryStat::kUpstreamSecretsNotReady);
  return out;
}

bool LiveClientContext::prepare(const SecretLookup& secrets, config::Problems& problems) {
  next_.reset();
  config::UpstreamTlsSpec whole = spec_;
  if (!resolve(whole, secrets) && ready()) return true;
  next_ = cache_->client(whole, problems);
  return next_ != nullptr;
}

void LiveClientContext::commit() {
  if (next_ == nullptr) return;
  if (!wants_.empty() && next_->ready()) stats_->factory.inc(SslFactoryStat::kContextUpdateBySds);
  const std::lock_guard lock(mutex_);
  now_ = std::move(next_);
}

// ---- Secrets ----

std::string Secrets::keyOf(const config::SdsRef& ref) {
  std::string out = ref.name;
  out += '\0';
  out += static_cast<char>('0' + static_cast<int>(ref.from));
  out += ref.from == config::SdsRef::From::kPath ? ref.path : ref.from == config::SdsRef::From::kApi ? ref.source : std::string();
  return out;
}

bool Secrets::prepare(SecretUser& user, const std::string& changed, const config::SecretSpec* value, config::Problems& problems) const {
  return user.prepare(
      [&](const config::SdsRef& ref) -> const config::SecretSpec* {
        const std::string key = keyOf(ref);
        if (value != nullptr && key == changed) return value;
        const auto at = values_.find(key);
        return at == values_.end() ? nullptr : at->second.get();
      },
      problems);
}

bool Secrets::adopt(const std::shared_ptr<SecretUser>& user, config::Problems& problems) {
  const std::lock_guard lock(mutex_);
  if (!prepare(*user, {}, nullptr, problems)) {
    // Values that came before do not fit together with it: they are no reason to forget the reference.
    user->discard();
    return false;
  }
  user->commit();
  if (user->wants().empty()) return true;
  std::erase_if(users_, [](const auto& weak) { return weak.expired(); });
  users_.push_back(user);
  return true;
}

bool Secrets::set(const std::string& key, config::SecretSpec secret, config::Problems& problems) {
  const size_t before = problems.size();
  checkSecret(secret, problems);
  if (problems.size() != before) return false;
  const std::lock_guard lock(mutex_);
  const auto old = values_.find(key);
  if (old != values_.end() && *old->second == secret) return true;
  std::vector<std::shared_ptr<SecretUser>> changed;
  for (const auto& weak : users_) {
    auto user = weak.lock();
    if (user == nullptr) continue;
    const auto& wants = user->wants();
    if (std::any_of(wants.begin(), wants.end(), [&](const config::SdsRef& ref) { return keyOf(ref) == key; })) {
      changed.push_back(std::move(user));
    }
  }
  bool good = true;
  for (const auto& user : changed) good = prepare(*user, key, &secret, problems) && good;
  if (!good) {
    for (const auto& user : changed) user->discard();
    return false;
  }
  for (const auto& user : changed) user->commit();
  values_[key] = std::make_shared<const config::SecretSpec>(std::move(secret));
  return true;
}

bool Secrets::has(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  return values_.contains(key);
}

void Secrets::forget(const std::string& key) {
  const std::lock_guard lock(mutex_);
  values_.erase(key);
}

}  // namespace outrider::tls
