// One client with all its streams, and the steps in which a change reaches it: make, switch, break (see served_view.h). The next step
// begins when every stream has acknowledged or refused what the last one sent and has fetched what follows from it (the endpoints of a
// new cluster, say), or after kPatience. A change that comes meanwhile waits, the last one for all, so that a step is never repeated.
// Thread: the loop's. Streams belong to one client if they name the same node.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "source/event/loop.h"
#include "source/xds/served_client.h"

namespace outrider::xds {

class ServedNode final {
 public:
  static constexpr base::Nanos kPatience = 5 * base::kSecond;  // for each step

  // `say` gets a line when a step was not answered in time.
  ServedNode(event::Loop& loop, std::string id, ServedSnapshot resources, std::function<void(const std::string& line)> say);
  ServedNode(const ServedNode&) = delete;
  ServedNode& operator=(const ServedNode&) = delete;

  void join(ServedClient& stream) { streams_.insert(&stream); }
  void leave(ServedClient& stream);
  bool deserted() const { return streams_.empty(); }

  // False: the bytes are no request.
  bool onRequest(ServedClient& stream, const std::string& bytes);
  void onResources(ServedSnapshot resources);

 private:
  ServedView view() const { return {*before_, *after_, step_}; }
  void enter(ServedStep step);
  bool waiting() const;
  void advance(bool late = false);
  void onLate();

  const std::string id_;
  const std::function<void(const std::string&)> say_;
  std::set<ServedClient*> streams_;
  ServedStep step_ = ServedStep::kRest;
  ServedSnapshot before_;
  ServedSnapshot after_;  // at rest: the same
  ServedSnapshot next_;   // null: no change came meanwhile
  std::vector<ServedView::News> news_;
  event::Timer patience_;
};

}  // namespace outrider::xds
