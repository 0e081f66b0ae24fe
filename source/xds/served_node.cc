#include "source/xds/served_node.h"

#include <algorithm>
#include <utility>

#include "source/xds/types.h"

namespace outrider::xds {

ServedNode::ServedNode(event::Loop& loop, std::string id, ServedSnapshot resources, std::function<void(const std::string&)> say)
    : id_(std::move(id)),
      say_(std::move(say)),
      before_(resources),
      after_(std::move(resources)),
      patience_(event::Timer::to<&ServedNode::onLate>(loop.timers(), this)) {}

void ServedNode::leave(ServedClient& stream) {
  streams_.erase(&stream);
  advance();
}

bool ServedNode::onRequest(ServedClient& stream, const std::string& bytes) {
  if (!stream.onRequest(bytes, view())) return false;
  advance();
  return true;
}

void ServedNode::onResources(ServedSnapshot resources) {
  if (step_ != ServedStep::kRest) {
    next_ = std::move(resources);
    return;
  }
  after_ = std::move(resources);
  enter(ServedStep::kMake);
  advance();
}

void ServedNode::enter(ServedStep step) {
  step_ = step;
  news_ = view().news();
  for (ServedClient* const stream : streams_) stream->onResources(view());
  patience_.armIn(kPatience);
}

bool ServedNode::waiting() const {
  for (const ServedClient* const stream : streams_) {
    if (!stream->settled()) return true;
  }
  const auto any = [&](const auto& predicate) { return std::any_of(streams_.begin(), streams_.end(), predicate); };
  const ServedView now = view();
  return std::any_of(news_.begin(), news_.end(), [&](const ServedView::News& news) {
    const ServedNeed& need = news.need;
    if (!any([&](const ServedClient* stream) { return stream->asksFor(news.type_url, news.name); })) return false;
    // Of a response that was refused nobody knows what was taken: then only what was asked for by now is waited for.
    if (any([&](const ServedClient* stream) { return stream->refused(news.type_url); }) &&
        !any([&](const ServedClient* stream) { return stream->asksFor(need.type_url, need.name); })) {
      return false;
    }
    const ServedResource* const resource = now.find(need.type_url, need.name);
    return resource != nullptr &&
           !any([&](const ServedClient* stream) { return stream->has(need.type_url, need.name, resource->version); });
  });
}

void ServedNode::advance(bool late) {
  for (; step_ != ServedStep::kRest && (late || !waiting()); late = false) {
    if (step_ == ServedStep::kMake) {
      enter(ServedStep::kSwitch);
      continue;
    }
    enter(ServedStep::kRest);
    patience_.cancel();
    before_ = after_;
    if (next_ != nullptr) {
      after_ = std::exchange(next_, nullptr);
      enter(ServedStep::kMake);
    }
  }
}

void ServedNode::onLate() {
  std::set<std::string> open;
  for (const ServedClient* const stream : streams_) (void)stream->settled(&open);
  std::string line = "LATE " + id_ + ":";
  for (const std::string& type : open) line += " " + type;
  say_(line + (open.empty() ? " did not ask for what a new resource needs" : " not answered") + " within 5 s; the change goes on");
  advance(true);
}

}  // namespace outrider::xds
