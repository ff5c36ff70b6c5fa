// The engine's own threads: a few that spin for a moment and then sleep, and a barrier for those that work together.
#pragma once

#include <atomic>

namespace ostinato {

constexpr int kMostThreads = 64;

// Threads that meet at wait(); all of them must call it equally often.
class Barrier {
 public:
  explicit Barrier(int count) : count_(count) {}
  void wait();

 private:
  const int count_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

// The threads that run one call of the engine: the caller and up to `wanted - 1` helpers. While another caller has the
// helpers, the team is the caller alone: its work then takes longer, but nobody waits.
class Team {
 public:
  explicit Team(int wanted);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }

  // Calls f(index) for index 0 to size() - 1, each on a thread of its own, and returns when all have.
  template <class F>
  void run(const F& f) {
    start([](const void* work, int index) { (*static_cast<const F*>(work))(index); }, &f, true);
  }
  // The same for work that any number of threads can do: f(0) on this thread, and f(index) on helpers that come before
  // it returns. Nobody waits for a helper to wake up.
  template <class F>
  void run_some(const F& f) {
    start([](const void* work, int index) { (*static_cast<const F*>(work))(index); }, &f, false);
  }

 private:
  void start(void (*call)(const void*, int), const void* work, bool all);
  int size_ = 1;
  bool owns_helpers_ = false;
};

}  // namespace ostinato
