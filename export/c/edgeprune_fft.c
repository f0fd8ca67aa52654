/* Strengths of the bins of a real FFT of N = EP_FFT samples: a complex FFT of N / 2 over pairs of samples, then a step
 * that parts the spectra of even and odd samples and joins them to the real one. Three ways, chosen at compile time:
 * powers of two in place, other even sizes (EP_FFT_MIXED) between two buffers, or CMSIS-DSP. */
#include <math.h>
#include <string.h>

#include "edgeprune_frontend_tables.h"

/* sqrtf brings errno along, which with newlib costs a kilobyte of RAM. So the processor's instruction is used where it has
 * one, and else a square root of our own. */
#if defined(__GNUC__) && defined(__arm__) && defined(__ARM_FP)
#define HAS_VSQRT (__ARM_FP & 4)
#else
#define HAS_VSQRT 0
#endif
#ifndef EP_SOFT_ROOT
#if (defined(__arm__) && !HAS_VSQRT) || (defined(__riscv) && !defined(__riscv_flen))
#define EP_SOFT_ROOT 1
#else
#define EP_SOFT_ROOT 0
#endif
#endif

#if !EP_POWER
/* Square root of what is not negative. */
static float root_of(float square)
{
#if EP_SOFT_ROOT
    uint32_t bits;
    memcpy(&bits, &square, sizeof bits);
    if (bits < 0x00800000u)
        return 0.0f; /* below 1.2e-38 */
    if (bits >= 0x7F800000u)
        return square; /* infinite, or not a number */
    /* square = rest x 2^(2 half), with 24 or 25 bits before the point's place; the root's bits come one by one */
    const uint32_t exponent = bits >> 23, odd = (exponent + 1) & 1u;
    uint32_t rest = ((bits & 0x007FFFFFu) | 0x00800000u) << (1 + odd), root = 0, twice = 0;
    for (uint32_t bit = 1u << 24; bit > 0; bit >>= 1) {
        if (twice + bit <= rest) {
            rest -= twice + bit;
            twice += 2 * bit;
            root += bit;
        }
        rest <<= 1;
    }
    root = (root + (rest > 0 ? root & 1u : 0)) >> 1;
    bits = root + (((exponent + 127 - odd) / 2 - 1) << 23);
    memcpy(&square, &bits, sizeof square);
    return square;
#elif HAS_VSQRT
    float root;
    __asm__("vsqrt.f32 %0, %1" : "=t"(root) : "t"(square));
    return root;
#else
    return sqrtf(square);
#endif
}
#endif

/* Magnitude or power, of a power. */
static float strength(float square)
{
#if EP_POWER
    return square;
#else
    return root_of(square);
#endif
}

#ifdef EP_USE_CMSIS_DSP

void ep_spectrum(ep_frontend *state)
{
    /* writes N floats: the real first and last bin, then real and imaginary parts of those between */
    arm_rfft_fast_f32(&state->fft, state->work, state->spare, 0);
    state->work[0] = strength(state->spare[0] * state->spare[0]);
    state->work[EP_FFT] = strength(state->spare[1] * state->spare[1]);
    for (uint32_t k = 2; k < EP_FFT; k += 2) {
        const float real = state->spare[k], imaginary = state->spare[k + 1];
        state->work[k] = strength(real * real + imaginary * imaginary);
    }
}

#else

#define POINTS (EP_FFT / 2)

/* cos and sin of 2 pi j / N. */
typedef struct {
    float cosine, sine;
} turn;

#if EP_FFT_MIXED

/* j of 0 to N - 1. */
static turn turn_of(uint32_t j)
{
    const float *value = ep_turns + 2 * (j < POINTS ? j : j - POINTS);
    const turn result = {j < POINTS ? value[0] : -value[0], j < POINTS ? value[1] : -value[1]};
    return result;
}

/* One Stockham step: `groups` transforms of `length` points each, of which this step does a factor. It reads `from` and
 * writes `to`, in an order that has put itself right when all factors are done. */
static void step(const float *from, float *to, uint32_t length, uint32_t groups, uint32_t factor)
{
    const uint32_t part = length / factor;
    for (uint32_t p = 0; p < part; ++p) {
        for (uint32_t out = 0; out < factor; ++out) {
            const turn whole = turn_of(2 * groups * p * out);
            for (uint32_t q = 0; q < groups; ++q) {
                const float *value = from + 2 * (q + groups * p);
                float real = value[0], imaginary = value[1];
                for (uint32_t in = 1; in < factor; ++in) {
                    const turn t = turn_of(EP_FFT / factor * (in * out % factor));
                    value += 2 * groups * part;
                    real += value[0] * t.cosine + value[1] * t.sine;
                    imaginary += value[1] * t.cosine - value[0] * t.sine;
                }
                float *result = to + 2 * (q + groups * (factor * p + out));
                result[0] = real * whole.cosine + imaginary * whole.sine;
                result[1] = imaginary * whole.cosine - real * whole.sine;
            }
        }
    }
}

/* Where the complex spectrum of the pairs in `work` lies afterwards. */
static const float *transform(ep_frontend *state)
{
    float *from = state->work, *to = state->spare;
    uint32_t length = POINTS;
    for (uint32_t i = 0; i < EP_FACTORS; ++i) {
        step(from, to, length, POINTS / length, ep_factors[i]);
        length /= ep_factors[i];
        float *const swap = from;
        from = to;
        to = swap;
    }
    return from;
}

#else

#define QUARTER (EP_FFT / 4)

/* j of 0 to 3 N / 4. */
static turn turn_of(uint32_t j)
{
    turn result;
    if (j <= QUARTER) {
        result.cosine = ep_sine[QUARTER - j];
        result.sine = ep_sine[j];
    } else if (j <= 2 * QUARTER) {
        result.cosine = -ep_sine[j - QUARTER];
        result.sine = ep_sine[2 * QUARTER - j];
    } else {
        result.cosine = -ep_sine[3 * QUARTER - j];
        result.sine = -ep_sine[j - 2 * QUARTER];
    }
    return result;
}

/* Swap the points whose indices are each other's bits backwards. */
static void reverse_bits(float *points)
{
    uint32_t reversed = 0;
    for (uint32_t i = 1; i < POINTS; ++i) {
        uint32_t bit = POINTS / 2;
        while (reversed & bit) { /* count up by one from the highest bit down */
            reversed ^= bit;
            bit >>= 1;
        }
        reversed |= bit;
        if (i < reversed) {
            float *const a = points + 2 * i, *const b = points + 2 * reversed;
            const float real = a[0], imaginary = a[1];
            a[0] = b[0];
            a[1] = b[1];
            b[0] = real;
            b[1] = imaginary;
        }
    }
}

/* Two stages of two at once: the points at 0 and `span`, 2 `span` and 3 `span` (in floats). */
static inline void butterfly(float *a, uint32_t span, float r1, float i1, float r2, float i2, float r3, float i3)
{
    float *const b = a + span, *const c = b + span, *const d = c + span;
    const float sum_r = a[0] + r1, sum_i = a[1] + i1, less_r = a[0] - r1, less_i = a[1] - i1;
    const float other_r = r2 + r3, other_i = i2 + i3, turned_r = i2 - i3, turned_i = r3 - r2;
    a[0] = sum_r + other_r;
    a[1] = sum_i + other_i;
    b[0] = less_r + turned_r;
    b[1] = less_i + turned_i;
    c[0] = sum_r - other_r;
    c[1] = sum_i - other_i;
    d[0] = less_r - turned_r;
    d[1] = less_i - turned_i;
}

/* Transforms of 4 `span` points out of transforms of `span` points; the first of each needs no multiplication. */
static void join_four(float *points, uint32_t span)
{
    const uint32_t width = 2 * span;
    float *const end = points + 2 * POINTS;
    for (float *a = points; a < end; a += 4 * width) {
        const float *const b = a + width, *const c = b + width, *const d = c + width;
        butterfly(a, width, b[0], b[1], c[0], c[1], d[0], d[1]);
    }
    for (uint32_t k = 1; k < span; ++k) {
        const uint32_t j = k * (QUARTER / span);
        const turn t1 = turn_of(2 * j), t2 = turn_of(j), t3 = turn_of(3 * j);
        for (float *a = points + 2 * k; a < end; a += 4 * width) {
            const float *const b = a + width, *const c = b + width, *const d = c + width;
            butterfly(a, width, b[0] * t1.cosine + b[1] * t1.sine, b[1] * t1.cosine - b[0] * t1.sine,
                      c[0] * t2.cosine + c[1] * t2.sine, c[1] * t2.cosine - c[0] * t2.sine,
                      d[0] * t3.cosine + d[1] * t3.sine, d[1] * t3.cosine - d[0] * t3.sine);
        }
    }
}

/* Where the complex spectrum of the pairs in `work` lies afterwards. */
static const float *transform(ep_frontend *state)
{
    float *const points = state->work;
    reverse_bits(points);
    uint32_t span = 1;
#if EP_FFT_LOG2 % 2 == 0
    for (float *a = points; a < points + 2 * POINTS; a += 4) {
        const float real = a[2], imaginary = a[3];
        a[2] = a[0] - real;
        a[3] = a[1] - imaginary;
        a[0] += real;
        a[1] += imaginary;
    }
    span = 2;
#endif
    for (; span < POINTS; span *= 4)
        join_four(points, span);
    return points;
}

#endif

void ep_spectrum(ep_frontend *state)
{
    const float *const points = transform(state);
    float *const out = state->work;
    const float first = points[0] + points[1], last = points[0] - points[1];
    for (uint32_t k = 1; k <= POINTS / 2; ++k) {
        const float *const a = points + 2 * k, *const b = points + 2 * (POINTS - k);
        const turn t = turn_of(k);
        const float even_r = a[0] + b[0], even_i = a[1] - b[1];
        const float odd_r = a[1] + b[1], odd_i = b[0] - a[0];
        const float r = odd_r * t.cosine + odd_i * t.sine, i = odd_i * t.cosine - odd_r * t.sine;
        const float square = (even_r + r) * (even_r + r) + (even_i + i) * (even_i + i);
        const float mirrored = (even_r - r) * (even_r - r) + (even_i - i) * (even_i - i);
        out[2 * k] = strength(0.25f * square);
        out[2 * (POINTS - k)] = strength(0.25f * mirrored);
    }
    out[0] = strength(first * first);
    out[EP_FFT] = strength(last * last);
}

#endif
