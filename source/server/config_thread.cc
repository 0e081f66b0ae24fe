#include "source/server/config_thread.h"

#include <pthread.h>

namespace outrider::server {

ConfigThread::ConfigThread() : thread_([this] { run(); }) {}

ConfigThread::~ConfigThread() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void ConfigThread::post(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void ConfigThread::run() {
  ::pthread_setname_np(::pthread_self(), "config");
  while (true) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace outrider::server
