#include "source/stats/print.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace outrider::stats {
namespace {

// Prefixes of parts of a cluster or listener: what stands before them is the cluster's or listener's own name, dots and all.
constexpr std::string_view kParts[] = {
    "circuit_breakers.default.",  "circuit_breakers.high.",     "health_check.", "outlier_detection.", "retry.", "ssl.",
    "server_ssl_socket_factory.", "client_ssl_socket_factory.",
};

bool takeSuffix(std::string_view& text, std::string_view suffix) {
  if (text.size() < suffix.size() || text.substr(text.size() - suffix.size()) != suffix) return false;
  text.remove_suffix(suffix.size());
  return true;
}

bool takePrefix(std::string_view& text, std::string_view prefix) {
  if (text.substr(0, prefix.size()) != prefix) return false;
  text.remove_prefix(prefix.size());
  return true;
}

std::string sanitized(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (!plain) c = '_';
  }
  return out;
}

// "a." -> "a": the name of what a prefix belongs to.
std::string_view withoutDot(std::string_view text) {
  if (!text.empty() && text.back() == '.') text.remove_suffix(1);
  return text;
}

}  // namespace

void appendLabel(std::string& labels, std::string_view name, std::string_view value) {
  if (!labels.empty()) labels += ',';
  labels.append(name).append("=\"");
  for (const char c : value) {
    if (c == '\\' || c == '"') labels += '\\';
    if (c == '\n') {
      labels += "\\n";
    } else {
      labels += c;
    }
  }
  labels += '"';
}

double quantile(const Histogram::Sample& sample, double q) {
  if (sample.count == 0) return std::numeric_limits<double>::quiet_NaN();
  // The values of a bin are taken to be spread evenly in it.
  const uint64_t rank = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(q * static_cast<double>(sample.count))));
  uint64_t below = 0;
  for (const auto& [bin, count] : sample.bins) {
    if (below + count >= rank) {
      return Histogram::binLow(bin) + Histogram::binWidth(bin) * static_cast<double>(rank - below) / static_cast<double>(count + 1);
    }
    below += count;
  }
  return sample.bins.empty() ? 0 : Histogram::binLow(sample.bins.rbegin()->first);
}

std::array<double, kQuantiles.size()> quantiles(const Histogram::Sample& sample) {
  std::array<double, kQuantiles.size()> out;
  for (size_t i = 0; i < out.size(); ++i) out[i] = quantile(sample, kQuantiles[i]);
  return out;
}

std::array<uint64_t, kBuckets.size()> cumulative(const Histogram::Sample& sample) {
  std::array<uint64_t, kBuckets.size()> out{};
  auto bin = sample.bins.begin();
  uint64_t below = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    // Values are whole numbers: a bin of width under 1 holds its lower bound only.
    for (; bin != sample.bins.end(); ++bin) {
      const double width = Histogram::binWidth(bin->first);
      const double highest = Histogram::binLow(bin->first) + (width > 1 ? width - 1 : 0);
      if (highest > kBuckets[i]) break;
      below += bin->second;
    }
    out[i] = below;
  }
  return out;
}

std::string numberText(double value) {
  if (std::isnan(value)) return "nan";
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value);
  return std::string(text, end.ptr);
}

PrefixTags prefixTags(std::string_view prefix) {
  PrefixTags out;
  std::string_view rest = prefix;
  const auto partOf = [](std::string_view& text) -> std::string_view {
    for (const std::string_view part : kParts) {
      if (text.size() > part.size() && takeSuffix(text, part)) return part;
    }
    return {};
  };
  if (takePrefix(rest, "cluster.")) {
    const std::string_view part = partOf(rest);
    appendLabel(out.labels, "envoy_cluster_name", withoutDot(rest));
    out.metric = "cluster_" + sanitized(part);
  } else if (takePrefix(rest, "http.")) {
    const size_t rds = rest.find(".rds.");
    if (rds != std::string_view::npos) {
      appendLabel(out.labels, "envoy_rds_route_config", withoutDot(rest.substr(rds + 5)));
      rest = rest.substr(0, rds + 1);
      out.metric = "http_rds_";
    } else {
      out.metric = "http_";
    }
    appendLabel(out.labels, "envoy_http_conn_manager_prefix", withoutDot(rest));
  } else if (takePrefix(rest, "listener.")) {
    const size_t http = rest.find(".http.");
    std::string part;
    if (http != std::string_view::npos) {
      appendLabel(out.labels, "envoy_http_conn_manager_prefix", withoutDot(rest.substr(http + 6)));
      rest = rest.substr(0, http + 1);
      part = "http_";
    } else {
      part = sanitized(partOf(rest));
    }
    if (rest == "admin.") {
      out.metric = "listener_admin_" + part;
    } else {
      out.metric = "listener_" + part;
      appendLabel(out.labels, "envoy_listener_address", withoutDot(rest));
    }
  } else if (takePrefix(rest, "tcp.")) {
    out.metric = "tcp_";
    appendLabel(out.labels, "envoy_tcp_prefix", withoutDot(rest));
  } else if (takePrefix(rest, "listener_manager.worker_")) {
    const size_t dot = rest.find('.');
    appendLabel(out.labels, "envoy_worker_id", rest.substr(0, dot));
    out.metric = "listener_manager_worker_" + (dot == std::string_view::npos ? std::string() : sanitized(rest.substr(dot + 1)));
  } else {
    out.metric = sanitized(prefix);
  }
  return out;
}

NameTags nameTags(std::string_view name) {
  NameTags out;
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const size_t at = name.rfind("_rq_");
  if (at != std::string_view::npos && name.size() == at + 7 && digit(name[at + 4])) {
    const std::string_view code = name.substr(at + 4);
    if (code.substr(1) == "xx") {
      out.metric = sanitized(name.substr(0, at)) + "_rq_xx";
      appendLabel(out.labels, "envoy_response_code_class", code.substr(0, 1));
      return out;
    }
    if (digit(code[1]) && digit(code[2])) {
      out.metric = sanitized(name.substr(0, at)) + "_rq";
      appendLabel(out.labels, "envoy_response_code", code);
      return out;
    }
  }
  struct Kind {
    std::string_view prefix, label;
  };
  constexpr Kind kKinds[] = {{"ciphers.", "envoy_ssl_cipher"},
                             {"versions.", "envoy_ssl_version"},
                             {"curves.", "envoy_ssl_curve"},
                             {"sigalgs.", "envoy_ssl_sigalg"},
                             {"outrider_reason.", "outrider_reason"}};
  for (const Kind& kind : kKinds) {
    if (name.substr(0, kind.prefix.size()) != kind.prefix) continue;
    out.metric = std::string(kind.prefix.substr(0, kind.prefix.size() - 1));
    appendLabel(out.labels, kind.label, name.substr(kind.prefix.size()));
    return out;
  }
  out.metric = sanitized(name);
  return out;
}

}  // namespace outrider::stats
