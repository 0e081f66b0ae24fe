// The thread on which configuration is parsed and compiled: pure work, never on a worker, never on main for long.
// Thread: post() from any; jobs run one after the other on its own. Lifetime: the server's; the destructor finishes the queue.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace outrider::server {

class ConfigThread final {
 public:
  ConfigThread();
  ~ConfigThread();
  void post(std::function<void()> job);

 private:
  void run();
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace outrider::server
