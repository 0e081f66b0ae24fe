#include "source/filter/network/http_connection_manager/local_reply.h"

#include "source/config/body_format.h"

namespace outrider::filter::network::http_connection_manager {

void LocalReplies::shape(const http::RequestHead* request, stream::StreamInfo& info, base::Arena& arena, Reply& reply,
                         http::ResponseHead& head) const {
  const config::BodyFormat* format = format_.get();
  for (const Mapper& mapper : mappers_) {
    if (!mapper.filter.wants({request, &head, nullptr, info})) continue;
    if (mapper.body.has_value()) reply.body = *mapper.body;
    mapper.headers.apply(head.headers, {request, &head, nullptr, info});
    if (mapper.status != 0) {
      reply.status = mapper.status;
      head.status = mapper.status;
      info.response_code = mapper.status;
    }
    if (mapper.format != nullptr) format = mapper.format.get();
    break;
  }
  if (format == nullptr) return;
  format::Input input{request, &head, nullptr, info};
  input.local_reply_body = reply.body;
  reply.body = config::formatBody(*format, input, arena);
  reply.content_type = format->content_type;
  reply.formatted = true;
}

}  // namespace outrider::filter::network::http_connection_manager
