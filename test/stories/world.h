// The first tier of tests: the real server object without threads, on a clock that moves when told, between peers that the test
// scripts byte by byte over loopback sockets. Everything with time in it is told here.
// Thread: one, the test's. A wait spins on the real clock with a bound, for the kernel owes loopback bytes no exact moment.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "source/base/clock.h"
#include "source/server/server.h"

namespace outrider::test {

// One end of a connection in the hands of the test.
class Wire {
 public:
  explicit Wire(int fd) : fd_(fd) {}
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  void send(std::string_view bytes);
  size_t trySend(std::string_view bytes);  // as much as the socket takes now
  void stall(bool on) { stalled_ = on; }   // reads nothing meanwhile
  void finish();                           // FIN
  void reset();                            // RST
  void pump();                             // takes what has come
  const std::string& received() const { return received_; }
  std::string take();  // what has come so far; it is then forgotten
  bool ended() const { return ended_; }
  bool wasReset() const { return reset_; }
  bool open() const { return fd_ >= 0; }

 private:
  int fd_;
  std::string received_;
  bool ended_ = false, reset_ = false, stalled_ = false;
};

// A backend: listens, and the test speaks for it.
class Backend {
 public:
  Backend();
  ~Backend();
  uint16_t port() const { return port_; }
  void pump();
  size_t connections() const { return wires_.size(); }
  Wire& at(size_t i) { return *wires_.at(i); }
  Wire& last() { return *wires_.back(); }
  void stopListening();

 private:
  int fd_;
  uint16_t port_ = 0;
  std::vector<std::unique_ptr<Wire>> wires_;
};

class World {
 public:
  // `yaml` as a bootstrap. Expects it to load and to serve.
  explicit World(const std::string& yaml, uint32_t workers = 1);
  ~World();

  // Turns the server and the peers until `done` says so; false after two real seconds.
  template <class Fn>
  bool until(Fn&& done) {
    const base::Nanos limit = realNow() + 2 * base::kSecond;
    while (true) {
      step();
      if (done()) return true;
      if (realNow() > limit) return false;
    }
  }
  // Everything that can happen without time passing has happened.
  void settle();
  void advance(base::Nanos by);
  Wire& connect(std::string_view listener);
  Backend& watch(Backend& backend);  // pumped with the rest; outlives the world
  uint64_t counter(std::string_view name) const;
  server::Server& server() { return *server_; }

 private:
  void step();
  static base::Nanos realNow();

  base::FakeClock clock_;
  std::unique_ptr<server::Server> server_;
  std::vector<std::unique_ptr<Wire>> clients_;
  std::vector<Backend*> backends_;
};

// ---- configurations ----

// A bootstrap of one listener "in" whose connection manager has `manager` (YAML lines of its own, at no indentation) and sends
// all to the cluster "backend" by a route with the fields `route`; `cluster` are lines of the cluster.
struct Edge {
  std::string manager;
  std::string route;
  std::string cluster;
  std::string hosts;  // "port port": endpoints on 127.0.0.1
};
std::string edge(const Edge& edge);
std::string indent(std::string_view lines, size_t by);

}  // namespace outrider::test
