// local_reply_config: what becomes of the answers that the proxy makes itself, before a filter or the client sees them.
// Thread: immutable, any worker. Lifetime: config value. Source: hcm.v3.LocalReplyConfig, hcm.v3.ResponseMapper.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "source/accesslog/log_filter.h"
#include "source/config/header_edit.h"
#include "source/config/route_spec.h"
#include "source/filter/http_filter.h"

namespace outrider::filter::network::http_connection_manager {

class LocalReplies final {
 public:
  // The first mapper whose filter takes the exchange changes it.
  struct Mapper {
    accesslog::LogFilter filter;
    uint16_t status = 0;  // 0: stays
    std::optional<std::string> body;
    config::HeaderEdit headers;
    std::shared_ptr<const config::BodyFormat> format;  // null: that of all
  };
  LocalReplies(std::vector<Mapper> mappers, std::shared_ptr<const config::BodyFormat> format)
      : mappers_(std::move(mappers)), format_(std::move(format)) {}

  // `request` may be null: it was never read. info.response_code and head.status say what `reply` does.
  void shape(const http::RequestHead* request, stream::StreamInfo& info, base::Arena& arena, Reply& reply, http::ResponseHead& head) const;

 private:
  std::vector<Mapper> mappers_;
  std::shared_ptr<const config::BodyFormat> format_;  // null: the body as it is
};

}  // namespace outrider::filter::network::http_connection_manager
