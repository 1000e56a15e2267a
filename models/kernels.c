/* Attention inside texts and add + LayerNorm, the two things that torch does slowly for short texts; next: kernels.py.

   Plain C without torch or Python headers, called through ctypes: one build serves every version of both. The general
   part is compiled once for each LEVEL (this file includes itself) and chosen by the processor at run time; what needs
   AVX512-BF16 is written out at the end. Numbers are float32 or bfloat16; sums, softmax and statistics are always
   float32. Nothing here starts a thread: callers split the texts. One file, though long, so that building it needs no
   more than a compiler. */

#ifndef LEVEL

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1
#define MAX_HIDDEN 4096
#define TOGETHER 4 /* rows normalised at once, so that their sums do not wait for each other */

/* Of one call: `qkv` [rows, 3, heads, size], `out` [rows, heads, size]; text n is rows starts[n] to starts[n + 1]. */
typedef struct {
    const void *qkv;
    void *out;
    const int32_t *starts;
    int first, beyond, heads, longest;
} texts;

/* Of one call: out[r] = norm(x[x_at[r]] + y[y_at[r]]), all of width `hidden`; a missing index means r itself. */
typedef struct {
    const void *x, *y;
    const int32_t *x_at, *y_at;
    const float *weight, *bias;
    void *out;
    int64_t first, beyond;
    int hidden;
    float eps;
} rows;

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(a) JOIN(a, LEVEL)
#define INLINE static inline __attribute__((always_inline)) TARGET
#define KEYS 16 /* keys are padded to a multiple of this */

static inline int64_t padded(int64_t keys) { return (keys + KEYS - 1) / KEYS * KEYS; }

static void *scratch(size_t bytes) { return aligned_alloc(64, (bytes + 63) / 64 * 64); }

#define TARGET
#define LEVEL plain
#define LANES 4
#define QUERIES 8
#include "kernels.c"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma")))
#define LEVEL avx2
#define LANES 8
#define QUERIES 8
#include "kernels.c"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#define LEVEL avx512
#define LANES 16
#define QUERIES 8
#include "kernels.c"

/* ---- AVX512-BF16: products of pairs, so keys lie in pairs of columns and values in pairs of rows. ---- */

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")))
#define QUERIES 8

/* 16 rows of 16 pairs become 16 columns: to[p] holds pair p of every row. */
INLINE void transposed(const __m512i *from, __m512i *to) {
    __m512i a[16], b[16];
    for (int n = 0; n < 8; n++) {
        a[2 * n] = _mm512_unpacklo_epi32(from[2 * n], from[2 * n + 1]);
        a[2 * n + 1] = _mm512_unpackhi_epi32(from[2 * n], from[2 * n + 1]);
    }
    for (int n = 0; n < 4; n++) {
        b[4 * n] = _mm512_unpacklo_epi64(a[4 * n], a[4 * n + 2]);
        b[4 * n + 1] = _mm512_unpackhi_epi64(a[4 * n], a[4 * n + 2]);
        b[4 * n + 2] = _mm512_unpacklo_epi64(a[4 * n + 1], a[4 * n + 3]);
        b[4 * n + 3] = _mm512_unpackhi_epi64(a[4 * n + 1], a[4 * n + 3]);
    }
    for (int n = 0; n < 4; n++) { /* b[4 m + n] holds, of rows 4 m .. 4 m + 3, pairs n, 4 + n, 8 + n, 12 + n */
        __m512i low = _mm512_shuffle_i32x4(b[n], b[4 + n], 0x88), high = _mm512_shuffle_i32x4(b[n], b[4 + n], 0xdd);
        __m512i low2 = _mm512_shuffle_i32x4(b[8 + n], b[12 + n], 0x88);
        __m512i high2 = _mm512_shuffle_i32x4(b[8 + n], b[12 + n], 0xdd);
        to[n] = _mm512_shuffle_i32x4(low, low2, 0x88);
        to[8 + n] = _mm512_shuffle_i32x4(low, low2, 0xdd);
        to[4 + n] = _mm512_shuffle_i32x4(high, high2, 0x88);
        to[12 + n] = _mm512_shuffle_i32x4(high, high2, 0xdd);
    }
}

INLINE __m512bh pair_of(const uint16_t *at) {
    int32_t pair;
    memcpy(&pair, at, 4);
    return (__m512bh)_mm512_set1_epi32(pair);
}

INLINE void products(const uint16_t *const *q, const int32_t *keys, int64_t count, int size, int blocks, float *scores) {
    __m512 sum[QUERIES][2];
    for (int n = 0; n < QUERIES; n++) sum[n][0] = sum[n][1] = _mm512_setzero_ps();
    for (int p = 0; p < size / 2; p++) {
        __m512bh one = (__m512bh)_mm512_load_si512(keys + p * count), two = one;
        if (blocks == 2) two = (__m512bh)_mm512_load_si512(keys + p * count + KEYS);
#pragma GCC unroll 8
        for (int n = 0; n < QUERIES; n++) {
            __m512bh query = pair_of(q[n] + 2 * p);
            sum[n][0] = _mm512_dpbf16_ps(sum[n][0], query, one);
            if (blocks == 2) sum[n][1] = _mm512_dpbf16_ps(sum[n][1], query, two);
        }
    }
    for (int n = 0; n < QUERIES; n++)
        for (int b = 0; b < blocks; b++) _mm512_store_ps(scores + n * count + b * KEYS, sum[n][b]);
}

INLINE void attend_one_bf16(const texts *in, int text, int head, int size, void *space) {
    const int64_t start = in->starts[text], length = in->starts[text + 1] - start, count = padded(length);
    const int64_t width = (int64_t)in->heads * size, stride = 3 * width;
    const uint16_t *q = (const uint16_t *)in->qkv + start * stride + head * size, *k = q + width, *v = k + width;
    uint16_t *out = (uint16_t *)in->out + start * width + head * size;
    int32_t *keys = space, *values = keys + size / 2 * count;
    float *scores = (float *)(values + size / 2 * count);
    uint16_t *chances = (uint16_t *)(scores + QUERIES * count);

    for (int64_t j = 0; j < count; j += KEYS)
        for (int half = 0; half < size / 32; half++) {
            __m512i from[16], to[16];
#pragma GCC unroll 16
            for (int n = 0; n < 16; n++)
                from[n] = j + n < length ? _mm512_loadu_si512(k + (j + n) * stride + half * 32) : _mm512_setzero_si512();
            transposed(from, to);
            for (int p = 0; p < 16; p++) _mm512_store_si512(keys + (half * 16 + p) * count + j, to[p]);
        }
    const __m512i low = _mm512_set_epi32(0x2f000f, 0x2e000e, 0x2d000d, 0x2c000c, 0x2b000b, 0x2a000a, 0x290009, 0x280008,
                                         0x270007, 0x260006, 0x250005, 0x240004, 0x230003, 0x220002, 0x210001, 0x200000);
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    for (int64_t j = 0; j < count; j += 2)
        for (int half = 0; half < size / 32; half++) {
            const uint16_t *at = v + j * stride + half * 32;
            __m512i a = j < length ? _mm512_loadu_si512(at) : _mm512_setzero_si512();
            __m512i b = j + 1 < length ? _mm512_loadu_si512(at + stride) : _mm512_setzero_si512();
            int32_t *to = values + (j / 2) * size + half * 32;
            _mm512_store_si512(to, _mm512_permutex2var_epi16(a, low, b));
            _mm512_store_si512(to + 16, _mm512_permutex2var_epi16(a, high, b));
        }

    const float scale = 1.44269504f / sqrtf((float)size);
    for (int64_t i = 0; i < length; i += QUERIES) {
        const uint16_t *query[QUERIES];
        for (int n = 0; n < QUERIES; n++) query[n] = q + (i + n < length ? i + n : length - 1) * stride;
        int64_t j = 0;
        for (; j + KEYS < count; j += 2 * KEYS) products(query, keys + j, count, size, 2, scores + j);
        if (j < count) products(query, keys + j, count, size, 1, scores + j);
        const __mmask16 last = (__mmask16)(0xffff >> (count - length));
        float total[QUERIES];
        for (int n = 0; n < QUERIES; n++) {
            float *row = scores + n * count;
            __m512 most = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), last, _mm512_load_ps(row + count - KEYS));
            for (j = 0; j + KEYS < count; j += KEYS) most = _mm512_max_ps(most, _mm512_load_ps(row + j));
            const float top = _mm512_reduce_max_ps(most);
            __m512 sum = _mm512_setzero_ps();
            for (j = 0; j < count; j += KEYS) {
                __m512 e = (__m512)exp2_avx512((*(floats_avx512 *)(row + j) - top) * scale);
                if (j + KEYS == count) e = _mm512_maskz_mov_ps(last, e);
                sum = _mm512_add_ps(sum, e);
                _mm256_store_si256((__m256i *)(chances + n * count + j), (__m256i)_mm512_cvtneps_pbh(e));
            }
            total[n] = _mm512_reduce_add_ps(sum);
        }
        for (int part = 0; part < size / 32; part++) {
            __m512 sum[QUERIES][2];
            for (int n = 0; n < QUERIES; n++) sum[n][0] = sum[n][1] = _mm512_setzero_ps();
            for (j = 0; j < length; j += 2) {
                const int32_t *at = values + (j / 2) * size + part * 32;
                const __m512bh one = (__m512bh)_mm512_load_si512(at), two = (__m512bh)_mm512_load_si512(at + 16);
#pragma GCC unroll 8
                for (int n = 0; n < QUERIES; n++) {
                    const __m512bh chance = pair_of(chances + n * count + j);
                    sum[n][0] = _mm512_dpbf16_ps(sum[n][0], chance, one);
                    sum[n][1] = _mm512_dpbf16_ps(sum[n][1], chance, two);
                }
            }
            for (int n = 0; n < QUERIES && i + n < length; n++) {
                const __m512 share = _mm512_set1_ps(1 / total[n]);
                const __m512bh both =
                    _mm512_cvtne2ps_pbh(_mm512_mul_ps(sum[n][1], share), _mm512_mul_ps(sum[n][0], share));
                _mm512_storeu_si512(out + (i + n) * width + part * 32, (__m512i)both);
            }
        }
    }
}

TARGET static void attend_avx512bf16(const texts *in, int size, void *space) {
    for (int text = in->first; text < in->beyond; text++)
        for (int head = 0; head < in->heads; head++)
            if (size == 32) attend_one_bf16(in, text, head, 32, space);
            else attend_one_bf16(in, text, head, 64, space);
}
#undef TARGET
#undef QUERIES
#endif

enum { PLAIN, AVX2, AVX512, AVX512BF16 };

int groundswell_version(void) { return VERSION; }

/* The best level that this processor runs. */
int groundswell_level(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (avx512 && __builtin_cpu_supports("avx512bf16")) return AVX512BF16;
    if (avx512) return AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return AVX2;
#endif
    return PLAIN;
}

/* 0, or 1 when the size of a head is neither 32 nor 64, or 2 when there is no memory. */
int groundswell_attend(int level, int bf16, const void *qkv, void *out, const int32_t *starts, int first, int beyond,
                       int heads, int size) {
    if (size != 32 && size != 64) return 1;
    texts in = {qkv, out, starts, first, beyond, heads, 0};
    for (int n = first; n < beyond; n++)
        if (starts[n + 1] - starts[n] > in.longest) in.longest = starts[n + 1] - starts[n];
    /* Keys, values, and for each of at most 8 queries its own numbers, its scores and its chances. */
    void *space = scratch(sizeof(float) * (size_t)((2 * size + 16) * padded(in.longest) + 8 * size));
    if (!space) return 2;
#if defined(__x86_64__)
    if (level == AVX512BF16 && bf16) attend_avx512bf16(&in, size, space);
    else if (level >= AVX512) attend_avx512(&in, bf16, size, space);
    else if (level == AVX2) attend_avx2(&in, bf16, size, space);
    else
#endif
        attend_plain(&in, bf16, size, space);
    free(space);
    return 0;
}

/* 0, or 1 when `hidden` is not a multiple of 16 up to MAX_HIDDEN. */
int groundswell_add_norm(int level, int bf16, const void *x, const int32_t *x_at, const void *y, const int32_t *y_at,
                         const float *weight, const float *bias, void *out, int64_t first, int64_t beyond, int hidden,
                         float eps) {
    if (hidden % 16 || hidden > MAX_HIDDEN) return 1;
    const rows in = {x, y, x_at, y_at, weight, bias, out, first, beyond, hidden, eps};
#if defined(__x86_64__)
    if (level >= AVX512) add_norm_avx512(&in, bf16);
    else if (level == AVX2) add_norm_avx2(&in, bf16);
    else
#endif
        add_norm_plain(&in, bf16);
    return 0;
}

#else /* LEVEL: what follows is compiled for each, with vectors as wide as its registers */

#define floats NAME(floats)
#define ints NAME(ints)
#define words NAME(words)
#define halves NAME(halves)
typedef float floats __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * LANES), may_alias));
typedef uint32_t words __attribute__((vector_size(4 * LANES), may_alias));
typedef uint16_t halves __attribute__((vector_size(2 * LANES), may_alias));

INLINE floats NAME(load)(const void *from, int64_t at, int bf16) {
    floats x;
    if (bf16) {
        halves h;
        memcpy(&h, (const uint16_t *)from + at, sizeof h);
        return (floats)(__builtin_convertvector(h, words) << 16);
    }
    memcpy(&x, (const float *)from + at, sizeof x);
    return x;
}

INLINE void NAME(store)(void *to, int64_t at, floats x, int bf16) {
    if (bf16) { /* round to the nearest, ties to even */
        const words bits = (words)x;
        const halves h = __builtin_convertvector((bits + 0x7fff + ((bits >> 16) & 1)) >> 16, halves);
        memcpy((uint16_t *)to + at, &h, sizeof h);
    } else {
        memcpy((float *)to + at, &x, sizeof x);
    }
}

INLINE float NAME(sum_of)(floats x) {
    float part[LANES];
    memcpy(part, &x, sizeof x);
    for (int half = LANES / 2; half; half /= 2)
        for (int n = 0; n < half; n++) part[n] += part[n + half];
    return part[0];
}

INLINE floats NAME(larger)(floats a, floats b) {
    const ints which = a > b;
    return (floats)(((ints)a & which) | ((ints)b & ~which));
}

/* 2^x for x <= 0; 2^round(x) by its exponent, the rest by a polynomial (relative error 2e-7). */
INLINE floats NAME(exp2)(floats x) {
    const floats round = (floats){} + 12582912.0f; /* 1.5 x 2^23 */
    x = NAME(larger)(x, (floats){} - 126.0f);
    const floats moved = x + round, f = x - (moved - round);
    floats y = (floats){} + 1.3333558e-3f;
    y = y * f + 9.6181291e-3f;
    y = y * f + 5.5504109e-2f;
    y = y * f + 0.24022651f;
    y = y * f + 0.69314718f;
    y = y * f + 1.0f;
    return (floats)((ints)y + ((ints)moved << 23));
}

INLINE void NAME(attend_one)(const texts *in, int bf16, int text, int head, int size, float *space) {
    const int64_t start = in->starts[text], length = in->starts[text + 1] - start, count = padded(length);
    const int64_t width = (int64_t)in->heads * size, stride = 3 * width;
    const int64_t q = start * stride + head * size, k = q + width, v = k + width, out = start * width + head * size;
    float *keys = space, *values = keys + size * count, *query = values + size * count;
    float *scores = query + QUERIES * size;
    const float scale = 1.44269504f / sqrtf((float)size);

    /* Keys as columns, so that one row of `keys` is one number of 16 keys. */
    for (int64_t j = 0; j < count; j++)
        for (int c = 0; c < size; c += LANES) {
            const floats x = j < length ? NAME(load)(in->qkv, k + j * stride + c, bf16) : (floats){};
            for (int n = 0; n < LANES; n++) keys[(c + n) * count + j] = x[n];
            if (j < length) *(floats *)(values + j * size + c) = NAME(load)(in->qkv, v + j * stride + c, bf16);
        }
    for (int64_t i = 0; i < length; i += QUERIES) {
        for (int n = 0; n < QUERIES; n++)
            for (int c = 0; c < size; c += LANES) {
                const int64_t row = i + n < length ? i + n : length - 1;
                *(floats *)(query + n * size + c) = NAME(load)(in->qkv, q + row * stride + c, bf16) * scale;
            }
        for (int64_t j = 0; j < count; j += LANES) {
            floats sum[QUERIES];
            for (int n = 0; n < QUERIES; n++) sum[n] = (floats){};
            for (int c = 0; c < size; c++) {
                const floats key = *(floats *)(keys + c * count + j);
#pragma GCC unroll 8
                for (int n = 0; n < QUERIES; n++) sum[n] += query[n * size + c] * key;
            }
            for (int n = 0; n < QUERIES; n++) *(floats *)(scores + n * count + j) = sum[n];
        }
        float total[QUERIES];
        for (int n = 0; n < QUERIES; n++) {
            float *row = scores + n * count;
            for (int64_t j = length; j < count; j++) row[j] = -INFINITY;
            floats most = *(floats *)row, sum = {};
            for (int64_t j = LANES; j < count; j += LANES) most = NAME(larger)(most, *(floats *)(row + j));
            float top = most[0];
            for (int m = 1; m < LANES; m++) top = most[m] > top ? most[m] : top;
            for (int64_t j = 0; j < count; j += LANES)
                sum += *(floats *)(row + j) = NAME(exp2)(*(floats *)(row + j) - top);
            total[n] = NAME(sum_of)(sum);
        }
        for (int c = 0; c < size; c += LANES) {
            floats sum[QUERIES];
            for (int n = 0; n < QUERIES; n++) sum[n] = (floats){};
            for (int64_t j = 0; j < length; j++) {
                const floats value = *(floats *)(values + j * size + c);
#pragma GCC unroll 8
                for (int n = 0; n < QUERIES; n++) sum[n] += scores[n * count + j] * value;
            }
            for (int n = 0; n < QUERIES && i + n < length; n++)
                NAME(store)(in->out, out + (i + n) * width + c, sum[n] * (1 / total[n]), bf16);
        }
    }
}

TARGET static void NAME(attend)(const texts *in, int bf16, int size, void *space) {
    for (int text = in->first; text < in->beyond; text++)
        for (int head = 0; head < in->heads; head++) {
            if (size == 32) {
                if (bf16) NAME(attend_one)(in, 1, text, head, 32, space);
                else NAME(attend_one)(in, 0, text, head, 32, space);
            } else {
                if (bf16) NAME(attend_one)(in, 1, text, head, 64, space);
                else NAME(attend_one)(in, 0, text, head, 64, space);
            }
        }
}

INLINE void NAME(norm_some)(const rows *in, int bf16, int64_t row, int count, float *kept) {
    const int64_t hidden = in->hidden;
    int64_t x[TOGETHER], y[TOGETHER];
    floats sum[TOGETHER], squares[TOGETHER];
    float mean[TOGETHER], by[TOGETHER];
    for (int n = 0; n < count; n++) {
        x[n] = (in->x_at ? in->x_at[row + n] : row + n) * hidden;
        y[n] = (in->y_at ? in->y_at[row + n] : row + n) * hidden;
        sum[n] = squares[n] = (floats){};
    }
    for (int64_t c = 0; c < hidden; c += LANES)
        for (int n = 0; n < count; n++)
            sum[n] += *(floats *)(kept + n * hidden + c) =
                NAME(load)(in->x, x[n] + c, bf16) + NAME(load)(in->y, y[n] + c, bf16);
    for (int n = 0; n < count; n++) mean[n] = NAME(sum_of)(sum[n]) / (float)hidden;
    for (int64_t c = 0; c < hidden; c += LANES)
        for (int n = 0; n < count; n++) {
            const floats apart = *(floats *)(kept + n * hidden + c) - mean[n];
            squares[n] += apart * apart;
        }
    for (int n = 0; n < count; n++) by[n] = 1 / sqrtf(NAME(sum_of)(squares[n]) / (float)hidden + in->eps);
    for (int64_t c = 0; c < hidden; c += LANES) {
        const floats weight = NAME(load)(in->weight, c, 0), bias = NAME(load)(in->bias, c, 0);
        for (int n = 0; n < count; n++)
            NAME(store)(in->out, (row + n) * hidden + c,
                        (*(floats *)(kept + n * hidden + c) - mean[n]) * by[n] * weight + bias, bf16);
    }
}

INLINE void NAME(norm_all)(const rows *in, int bf16, float *kept) {
    int64_t row = in->first;
    for (; row + TOGETHER <= in->beyond; row += TOGETHER) NAME(norm_some)(in, bf16, row, TOGETHER, kept);
    for (; row < in->beyond; row++) NAME(norm_some)(in, bf16, row, 1, kept);
}

TARGET static void NAME(add_norm)(const rows *in, int bf16) {
    float kept[TOGETHER * MAX_HIDDEN] __attribute__((aligned(64)));
    if (bf16) NAME(norm_all)(in, 1, kept);
    else NAME(norm_all)(in, 0, kept);
}

#undef TARGET
#undef LEVEL
#undef LANES
#undef QUERIES
#undef floats
#undef ints
#undef words
#undef halves
#endif
