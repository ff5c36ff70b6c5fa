#include "threads.h"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#endif

#include "engine.h"

namespace ostinato {
namespace {

constexpr int kMostThreads = 64;
constexpr int kSpins = 4000;  // some microseconds: longer than the gaps between the layers of a model

inline void pause_spinning() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until done() is true: a while spinning, then yielding to whoever needs the processor.
template <class Done>
void wait_until(const Done& done) {
  for (int spin = 0; !done(); ++spin) {
    if (spin < kSpins)
      pause_spinning();
    else
      std::this_thread::yield();
  }
}

struct Pool {
  std::mutex owner;  // held by the team that has the helpers
  std::mutex sleeping;
  std::condition_variable wake;
  std::atomic<unsigned> job{0};
  std::atomic<int> sleepers{0};
  std::atomic<int> unfinished{0};
  void (*call)(const void*, int) = nullptr;
  const void* work = nullptr;
  std::atomic<int> members{0};  // of the team at work, the caller included
  int helpers = 0;

  void grow(int wanted) {
    while (helpers < wanted) {
      const unsigned seen = job.load();
      const int index = ++helpers;
      std::thread([this, index, seen] { help(index, seen); }).detach();
    }
  }

  void help(int index, unsigned seen) {
    for (;;) {
      for (int spin = 0; job.load(std::memory_order_acquire) == seen && spin < kSpins; ++spin) pause_spinning();
      if (job.load(std::memory_order_acquire) == seen) {
        std::unique_lock<std::mutex> lock(sleeping);
        sleepers.fetch_add(1);
        wake.wait(lock, [&] { return job.load() != seen; });
        sleepers.fetch_sub(1);
      }
      seen = job.load(std::memory_order_acquire);
      // A job ends only when each helper, called upon or not, has seen it: none can miss one or take one twice.
      if (index < members.load()) call(work, index);
      unfinished.fetch_sub(1, std::memory_order_release);
    }
  }
};

Pool* pool = nullptr;
std::mutex making_pool;

// A child of fork has none of its parent's threads: it gets a new pool, and the old one is left alone.
void forget_pool() {
  pool = nullptr;
  new (&making_pool) std::mutex();
}

Pool& the_pool() {
  std::lock_guard<std::mutex> lock(making_pool);
  if (pool == nullptr) {
    pool = new Pool();  // never deleted: its threads outlive every static
#if defined(__linux__)
    static const int registered = pthread_atfork(nullptr, nullptr, forget_pool);
    (void)registered;
#endif
  }
  return *pool;
}

int from_environment() {
  const char* text = std::getenv("OSTINATO_THREADS");
  return text == nullptr ? 0 : std::atoi(text);
}

int cgroup_quota() {
  long long quota = 0, period = 0;
  if (FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    if (std::fscanf(file, "%lld %lld", &quota, &period) != 2) quota = 0;
    std::fclose(file);
  } else if (FILE* v1 = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r")) {
    if (std::fscanf(v1, "%lld", &quota) != 1) quota = 0;
    std::fclose(v1);
    if (FILE* p = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r")) {
      if (std::fscanf(p, "%lld", &period) != 1) period = 0;
      std::fclose(p);
    }
  }
  return quota > 0 && period > 0 ? static_cast<int>(std::max(1LL, (quota + period - 1) / period)) : kMostThreads;
}

int processors() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

std::atomic<int> told{0};

}  // namespace

void Barrier::wait() {
  const unsigned round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
  } else {
    wait_until([&] { return round_.load(std::memory_order_acquire) != round; });
  }
}

Team::Team(int wanted) {
  wanted = std::min(wanted, kMostThreads);
  if (wanted <= 1) return;
  Pool& helpers = the_pool();
  if (!helpers.owner.try_lock()) return;
  owns_helpers_ = true;
  helpers.grow(wanted - 1);
  size_ = wanted;
}

Team::~Team() {
  if (owns_helpers_) the_pool().owner.unlock();
}

void Team::start(void (*call)(const void*, int), const void* work) {
  if (size_ == 1) return call(work, 0);
  Pool& helpers = the_pool();
  helpers.call = call;
  helpers.work = work;
  helpers.members.store(size_);
  helpers.unfinished.store(helpers.helpers);
  helpers.job.fetch_add(1);
  if (helpers.sleepers.load() > 0) {
    { std::lock_guard<std::mutex> lock(helpers.sleeping); }
    helpers.wake.notify_all();
  }
  call(work, 0);
  wait_until([&] { return helpers.unfinished.load(std::memory_order_acquire) == 0; });
}

int threads() {
  static const int environment = from_environment();
  static const int machine = std::min(processors(), cgroup_quota());
  const int count = environment > 0 ? environment : told.load() > 0 ? told.load() : machine;
  return std::min(count, kMostThreads);
}

void set_threads(int count) { told.store(count); }

}  // namespace ostinato
