#include "source/accesslog/file_log.h"

namespace outrider::accesslog {

void FileLog::log(const Entry& entry) const {
  if (filter_.has_value() && !filter_->wants(entry)) return;
  thread_local format::Text text;
  text.clear();
  format::Input input{entry.request, entry.response, entry.response_trailers, entry.info};
  input.log_type = logTypeOf(entry).name;
  line_.print(input, text);
  file_->append(text.view());
}

}  // namespace outrider::accesslog
