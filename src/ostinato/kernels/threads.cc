#include "threads.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <system_error>
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

// A waiting thread spins for some microseconds, longer than the gaps between the layers of a model. A helper without a job
// then yields to whoever needs its processor, up to about a millisecond, the gap between two small models, and sleeps.
constexpr int kSpins = 1000, kYields = 1500;

inline void pause_spinning() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// How the processor rounds and whether it keeps denormal numbers: TensorFlow's threads flush them to zero. Helpers take
// this from the thread they work for, or results would depend on who computed what.
inline uint64_t float_mode() {
#if defined(__x86_64__)
  return __builtin_ia32_stmxcsr();
#elif defined(__aarch64__)
  uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
#else
  return 0;
#endif
}
inline void set_float_mode(uint64_t mode) {
#if defined(__x86_64__)
  __builtin_ia32_ldmxcsr(static_cast<unsigned>(mode));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" : : "r"(mode));
#else
  (void)mode;
#endif
}

thread_local Clock::duration waited;   // by this thread, in its present call, past the first microseconds of each wait
thread_local bool is_helper = false;

// Waits until done() is true, or for about `most`. It spins for a while, then yields to whoever needs the processor.
// Returns whether done() is true. Calls late() once when the wait is longer than `patience`.
template <class Done, class Late>
bool wait_until(const Done& done, Clock::duration most, Clock::duration patience, const Late& late) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (done()) return true;
    pause_spinning();
  }
  const Clock::time_point began = Clock::now();
  bool is_done, told = false;
  Clock::duration past{};
  do {
    std::this_thread::yield();
    is_done = done();
    past = Clock::now() - began;
    if (past > patience && !told) told = true, late();
  } while (!is_done && past < most);
  waited += past;
  return is_done;
}
template <class Done>
void wait_until(const Done& done) {
  wait_until(done, Clock::duration::max(), Clock::duration::max(), [] {});
}

// Calls of one kind, those of about as much work, that are to be run alone for a while. After one that helpers made slower
// the next ones run alone, for 16 times as long as it took; the pause doubles with every one such, and shrinks with every one
// that helpers made faster.
struct Pause {
  std::atomic<Clock::rep> until{0}, length{0};

  bool lasts(Clock::time_point now) const {
    return now.time_since_epoch().count() < until.load(std::memory_order_relaxed);
  }
  void judge(bool slower, Clock::duration took, Clock::time_point now) {
    constexpr Clock::rep longest = Clock::duration(std::chrono::seconds(5)).count();
    Clock::rep next = length.load(std::memory_order_relaxed);
    if (slower) {
      next = std::min(std::max(2 * next, 16 * took.count()), longest);
      until.store(now.time_since_epoch().count() + next, std::memory_order_relaxed);
    } else if (next > 0) {
      next -= next / 16 + 1;
    } else {
      return;
    }
    length.store(next, std::memory_order_relaxed);
  }
};
constexpr int kKinds = 48;
Pause pauses[kKinds];

// A job's number, whether it still takes helpers, and how many are at it: one word, so that a helper can join only a job
// that is still there.
constexpr uint64_t kOneJob = uint64_t{1} << 32, kClosed = uint64_t{1} << 31;
constexpr uint64_t number_of(uint64_t job) { return job / kOneJob; }
constexpr uint64_t helpers_at(uint64_t job) { return job % kClosed; }

struct Pool {
  std::mutex owner;  // held by the team that has the helpers
  std::mutex sleeping;
  std::condition_variable wake;
  std::atomic<uint64_t> job{kClosed};
  std::atomic<int> sleepers{0};
  void (*call)(const void*, int) = nullptr;
  const void* work = nullptr;
  uint64_t mode = 0;
  std::atomic<int> size{1};   // of the team at work, the caller included
  std::atomic<int> next{1};   // index that the next helper gets
  int helpers = 0;

  void grow(int wanted) {
    while (helpers < wanted) {
      const uint64_t seen = number_of(job.load());
      try {
        std::thread([this, seen] { help(seen); }).detach();
      } catch (const std::system_error&) {
        return;  // the system gives no more threads: calls run with those there are
      }
      ++helpers;
    }
  }

  void help(uint64_t seen) {
    is_helper = true;
    const auto nothing_new = [&] { return number_of(job.load(std::memory_order_acquire)) == seen; };
    for (;;) {
      for (int spin = 0; nothing_new() && spin < kSpins; ++spin) pause_spinning();
      for (int turn = 0; nothing_new() && turn < kYields; ++turn) std::this_thread::yield();
      if (nothing_new()) {
        std::unique_lock<std::mutex> lock(sleeping);
        sleepers.fetch_add(1);
        wake.wait(lock, [&] { return !nothing_new(); });
        sleepers.fetch_sub(1);
      }
      uint64_t found = job.load();
      const auto has_room = [&] { return !(found & kClosed) && helpers_at(found) + 1 < static_cast<uint64_t>(size.load()); };
      bool joined = false;
      while (!joined && has_room()) joined = job.compare_exchange_weak(found, found + 1);
      seen = number_of(found);
      if (!joined) continue;
      const int index = next.fetch_add(1);
      if (index < size) {
        set_float_mode(mode);
        call(work, index);
      }
      job.fetch_sub(1, std::memory_order_release);
    }
  }

  void run(void (*its_call)(const void*, int), const void* its_work, int its_size) {
    call = its_call;
    work = its_work;
    mode = float_mode();
    size = its_size;
    next.store(1);
    job.store((number_of(job.load()) + 1) * kOneJob);
    if (sleepers.load() > 0) {
      { std::lock_guard<std::mutex> lock(sleeping); }
      wake.notify_all();
    }
    call(work, 0);
    job.fetch_or(kClosed);
    wait_until([&] { return helpers_at(job.load(std::memory_order_acquire)) == 0; });
  }

  int gather() {
    const auto all = [&] { return helpers_at(job.load(std::memory_order_relaxed)) + 1 == static_cast<uint64_t>(size.load()); };
    wait_until(all, kWakingUp, kWakingUp, [] {});
    return 1 + static_cast<int>(helpers_at(job.fetch_or(kClosed)));
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

void Barrier::wait(Clock::duration patience) {
  const unsigned round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_.load(std::memory_order_relaxed)) {
    // Once: a helper that wakes up late reads it while the caller goes on alone.
    if (!dismissed_ && stalled_.load(std::memory_order_relaxed)) {
      dismissed_ = true;
      count_.store(1, std::memory_order_relaxed);
    }
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
  } else {
    wait_until([&] { return round_.load(std::memory_order_acquire) != round; }, Clock::duration::max(), patience,
               [&] { stalled_.store(true, std::memory_order_relaxed); });
  }
  if (dismissed_ && is_helper) throw Dismissed();
}

Team::Team(int wanted, double work) {
  wanted = std::min(wanted, kMostThreads);
  if (wanted <= 1) return;
  kind_ = std::min(kKinds - 1, std::max(0, std::ilogb(work)));
  began_ = Clock::now();
  if (pauses[kind_].lasts(began_)) return;
  Pool& helpers = the_pool();
  if (!helpers.owner.try_lock()) return;
  helpers.grow(wanted - 1);
  size_ = wanted;
  waited = {};
}

Team::~Team() {
  if (size_ == 1) return;
  the_pool().owner.unlock();
  const Clock::time_point now = Clock::now();
  // What the caller computed would have taken about `size_` times as long alone.
  const Clock::duration took = now - began_, computed = took - waited;
  constexpr int kLittle = 16;  // that part of a call is not worth a pause
  if (!regretted_) {
    pauses[kind_].judge(took > size_ * computed, took, now);
  } else if (kLittle * waited > took) {
    pauses[kind_].judge(true, took, now);
  }
}

void Team::start(void (*call)(const void*, int), const void* work) {
  if (size_ == 1) return call(work, 0);
  the_pool().run(call, work, size_);
}

int Team::gather() {
  if (size_ == 1) return 1;
  const int here = the_pool().gather();
  if (here < size_) regretted_ = true;
  return here;
}

void forget_pauses() {
  for (Pause& pause : pauses) pause.until.store(0), pause.length.store(0);
}

int threads() {
  static const int environment = from_environment();
  static const int machine = std::min(processors(), cgroup_quota());
  const int count = environment > 0 ? environment : told.load() > 0 ? told.load() : machine;
  return std::min(count, kMostThreads);
}

void set_threads(int count) { told.store(count); }

}  // namespace ostinato
