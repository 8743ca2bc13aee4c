// What a machine can do at most: fused multiplications and additions of float32, and reading, on some threads.
//
// Each function has a version for each instruction set, so that the compiler's own flags and the
// target of a model don't matter.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

constexpr int kRounds = 5;
// Enough for the latency of a multiply-add in all pipelines, without leaving the registers: 32 with
// NEON, where CPUs have four pipelines, and 16 with AVX2.
#if defined(__aarch64__)
constexpr int kChains = 24;
#else
constexpr int kChains = 12;
#endif

// Each chain of multiply-adds depends on itself only, and stays a normal number. NEON adds to its
// chain, as a product of matrices does: another destination would take a move. All loops over chains
// are unrolled, or the chains would be in memory.
#define TVMTUNE_EACH_CHAIN _Pragma("GCC unroll 24") for (int j = 0; j < kChains; ++j)
#define TVMTUNE_MULTIPLY_ADDS(VECTOR, SET, FMA, FIRST)       \
  VECTOR x = SET(0.5f), y = SET(0.5f), chains[kChains];      \
  TVMTUNE_EACH_CHAIN chains[j] = SET(1.0f + j);              \
  for (long i = 0; i < count; ++i) {                         \
    TVMTUNE_EACH_CHAIN chains[j] = FMA;                      \
  }                                                          \
  float sum = 0;                                             \
  TVMTUNE_EACH_CHAIN sum += FIRST(chains[j]);                \
  return sum;

#define TVMTUNE_READS(VECTOR, LANES, ZERO, LOAD, ADD, FIRST)                   \
  VECTOR sums[8];                                                              \
  for (int j = 0; j < 8; ++j) sums[j] = ZERO;                                  \
  for (size_t i = 0; i + 8 * LANES <= size; i += 8 * LANES) {                  \
    _Pragma("GCC unroll 8") for (int j = 0; j < 8; ++j)                        \
      sums[j] = ADD(sums[j], LOAD(data + i + j * LANES));                      \
  }                                                                            \
  float sum = 0;                                                               \
  for (int j = 0; j < 8; ++j) sum += FIRST(sums[j]);                           \
  return sum;

#if defined(__x86_64__)
__attribute__((target("avx512f"))) float FmaAvx512(long count) {
  TVMTUNE_MULTIPLY_ADDS(__m512, _mm512_set1_ps, _mm512_fmadd_ps(chains[j], x, y), _mm512_cvtss_f32)
}
__attribute__((target("avx2,fma"))) float FmaAvx2(long count) {
  TVMTUNE_MULTIPLY_ADDS(__m256, _mm256_set1_ps, _mm256_fmadd_ps(chains[j], x, y), _mm256_cvtss_f32)
}
float FmaPlain(long count) {
  TVMTUNE_MULTIPLY_ADDS(__m128, _mm_set1_ps, _mm_add_ps(_mm_mul_ps(chains[j], x), y), _mm_cvtss_f32)
}
__attribute__((target("avx512f"))) float ReadAvx512(const float* data, size_t size) {
  TVMTUNE_READS(__m512, 16, _mm512_setzero_ps(), _mm512_load_ps, _mm512_add_ps, _mm512_cvtss_f32)
}
__attribute__((target("avx2,fma"))) float ReadAvx2(const float* data, size_t size) {
  TVMTUNE_READS(__m256, 8, _mm256_setzero_ps(), _mm256_load_ps, _mm256_add_ps, _mm256_cvtss_f32)
}
float ReadPlain(const float* data, size_t size) {
  TVMTUNE_READS(__m128, 4, _mm_setzero_ps(), _mm_load_ps, _mm_add_ps, _mm_cvtss_f32)
}
#elif defined(__aarch64__)
#define TVMTUNE_FIRST(vector) vgetq_lane_f32(vector, 0)
float FmaPlain(long count) {
  TVMTUNE_MULTIPLY_ADDS(float32x4_t, vdupq_n_f32, vfmaq_f32(chains[j], x, y), TVMTUNE_FIRST)
}
float ReadPlain(const float* data, size_t size) {
  TVMTUNE_READS(float32x4_t, 4, vdupq_n_f32(0), vld1q_f32, vaddq_f32, TVMTUNE_FIRST)
}
#else
#define TVMTUNE_SAME(value) (value)
#define TVMTUNE_ADD(one, other) ((one) + (other))
#define TVMTUNE_LOAD(address) (*(address))
float FmaPlain(long count) {
  TVMTUNE_MULTIPLY_ADDS(float, TVMTUNE_SAME, chains[j] * x + y, TVMTUNE_SAME)
}
float ReadPlain(const float* data, size_t size) {
  TVMTUNE_READS(float, 1, 0.0f, TVMTUNE_LOAD, TVMTUNE_ADD, TVMTUNE_SAME)
}
#endif

struct Instructions {
  const char* name;
  int lanes;
  float (*fma)(long);
  float (*read)(const float*, size_t);
};

Instructions Best() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return {"AVX-512", 16, FmaAvx512, ReadAvx512};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {"AVX2 and FMA", 8, FmaAvx2, ReadAvx2};
  return {"SSE2", 4, FmaPlain, ReadPlain};
#elif defined(__aarch64__)
  return {"NEON", 4, FmaPlain, ReadPlain};
#else
  return {"no vectors", 1, FmaPlain, ReadPlain};
#endif
}

volatile float sink;

// Seconds that the slowest of the threads takes, all of them at once; the least of some rounds.
double Seconds(int threads, const std::function<float(int)>& work) {
  double least = 1e30;
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<int> waiting{threads};
    std::vector<double> spent(threads);
    auto run = [&](int index) {
      --waiting;
      while (waiting.load() > 0) {
      }
      auto began = std::chrono::steady_clock::now();
      sink = work(index);
      spent[index] = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    };
    std::vector<std::thread> others;
    for (int index = 1; index < threads; ++index) others.emplace_back(run, index);
    run(0);
    for (auto& other : others) other.join();
    least = std::min(least, *std::max_element(spent.begin(), spent.end()));
  }
  return least;
}

// The rate of work whose amount grows until it takes so long.
double Rate(int threads, double amount_of_one, double seconds,
            const std::function<float(int, long)>& work) {
  for (long count = 1;; count *= 4) {
    double spent = Seconds(threads, [&](int index) { return work(index, count); });
    if (spent >= seconds || count > (1L << 40)) return threads * amount_of_one * count / spent;
  }
}

}  // namespace

extern "C" const char* tvmtune_instructions() { return Best().name; }

// Floating-point operations a second: a multiply-add is two.
extern "C" double tvmtune_flop_per_s(int threads, double seconds) {
  Instructions best = Best();
  double amount = 2.0 * kChains * best.lanes;
  return Rate(threads, amount, seconds, [&](int, long count) { return best.fma(count); });
}

// Bytes a second, of threads that each read their own memory again and again; -1 without memory.
extern "C" double tvmtune_bytes_per_s(int threads, size_t bytes_of_each, double seconds) {
  Instructions best = Best();
  size_t size = bytes_of_each / 512 * 512;
  std::vector<float*> memory;
  for (int index = 0; index < threads; ++index) {
    void* block = nullptr;
    if (posix_memalign(&block, 4096, size) != 0) {
      for (float* one : memory) std::free(one);
      return -1;
    }
    std::memset(block, 0, size);
    memory.push_back(static_cast<float*>(block));
  }
  double rate = Rate(threads, static_cast<double>(size), seconds, [&](int index, long count) {
    float sum = 0;
    for (long i = 0; i < count; ++i) {
      sum += best.read(memory[index], size / sizeof(float));
      // Or all rounds but one would be left out.
      asm volatile("" ::: "memory");
    }
    return sum;
  });
  for (float* one : memory) std::free(one);
  return rate;
}
