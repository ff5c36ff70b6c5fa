// The engine's own threads: a few that spin for a moment and then sleep, and a barrier for those that work together.
#pragma once

#include <atomic>
#include <chrono>

namespace ostinato {

constexpr int kMostThreads = 64;

using Clock = std::chrono::steady_clock;

// How long a caller waits for helpers to come: about as long as one that sleeps takes to wake up.
constexpr Clock::duration kWakingUp = std::chrono::microseconds(200);

// Threads that meet at wait(); all of them must call it equally often. A thread that waits for longer than its patience has
// met one without a processor: as soon as all are together again, the helpers are dismissed, and the caller goes on alone.
class Barrier {
 public:
  struct Dismissed {};  // what wait() throws in a helper

  explicit Barrier(int count) : count_(count) {}
  // Sets how many threads meet. Only a thread that has not arrived yet may call it.
  void expect(int count) { count_.store(count, std::memory_order_relaxed); }
  void wait(Clock::duration patience = Clock::duration::max());
  bool dismissed() const { return dismissed_; }

 private:
  std::atomic<int> count_;
  std::atomic<bool> stalled_{false};
  bool dismissed_ = false;  // written between the last arrival and the next round
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

// The threads that run one call of the engine: the caller and up to `wanted - 1` helpers. While another caller has the
// helpers, the team is the caller alone: its work then takes longer, but nobody waits. The caller is also alone for a
// while after a call of about as much `work` that would have ended sooner without helpers, or that waited for them in vain.
class Team {
 public:
  Team(int wanted, double work);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }

  // f(0) on this thread, and f(index) on helpers that come before it returns, with indices from 1 on; returns when all have.
  template <class F>
  void run(const F& f) {
    start([](const void* work, int index) { (*static_cast<const F*>(work))(index); }, &f);
  }
  // For f(0), where no helper returns before this: how many threads there are. Waits for those that still wake up, but not
  // for one whose processor is taken; none comes later.
  int gather();
  // The helpers were dismissed: the call was as good as alone.
  void regret() { regretted_ = true; }

 private:
  void start(void (*call)(const void*, int), const void* work);
  int size_ = 1, kind_ = 0;
  bool regretted_ = false;
  Clock::time_point began_;
};

// Lets the next call of every kind have helpers again.
void forget_pauses();

}  // namespace ostinato
