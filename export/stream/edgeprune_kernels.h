/* Arithmetic and loops of streaming int8 networks. All of it is static inline: a program may hold several networks.
 *
 * On processors with Arm's DSP instructions (Cortex-M4, M7, M33) two products take one instruction; elsewhere the same is
 * portable C11. Results are the bytes of TFLite Micro either way. Rows of words hold two int16 each, the first one in the
 * lower half, so the processor must be little-endian. */
#ifndef EDGEPRUNE_KERNELS_H
#define EDGEPRUNE_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "streaming networks need a little-endian processor"
#endif

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP && defined(__GNUC__) && defined(__thumb__)
#define EP_DSP 1
#include <arm_acle.h>
#else
#define EP_DSP 0
#endif

#ifdef __GNUC__
#define EP_INLINE static inline __attribute__((always_inline))
#else
#define EP_INLINE static inline
#endif

/* An inner loop. GCC's first scheduling pass would move more loads ahead than there are registers. */
#if defined(__GNUC__) && !defined(__clang__) && EP_DSP
#define EP_KERNEL __attribute__((noinline, optimize("no-schedule-insns")))
#elif defined(__GNUC__)
#define EP_KERNEL __attribute__((noinline))
#else
#define EP_KERNEL
#endif

/* From a filter's sum to its stored value. `ep_scale_up` and `ep_scale` take mantissa and offset prepared for them:
 * 2 * mantissa - 2^32, and the zero point with half a unit, both shifted left; `ep_scale_any` takes them as they are. */
typedef struct ep_filter {
    int32_t bias;
    int32_t mantissa;
    int32_t offset;
    int32_t shift;
} ep_filter;

/* Rows that lie next to each other in a ring, and how many words of weights belong to them. */
typedef struct ep_span {
    const void *rows;
    uint32_t words;
} ep_span;

/* ---- words and halves ---- */

EP_INLINE uint32_t ep_word(const void *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* The halves `place` and `place + 1` of a row. */
EP_INLINE uint32_t ep_word_at(const uint16_t *row, int32_t place)
{
    return ep_word(row + place);
}

EP_INLINE void ep_store_half(void *row, int32_t place, int32_t value)
{
    const int16_t half = (int16_t)value;
    memcpy((unsigned char *)row + 2 * place, &half, sizeof half);
}

EP_INLINE void ep_store_byte(void *row, int32_t place, int32_t value)
{
    ((int8_t *)row)[place] = (int8_t)value;
}

EP_INLINE void *ep_at(void *begin, int32_t bytes)
{
    return (unsigned char *)begin + bytes;
}

EP_INLINE int32_t ep_low(uint32_t word)
{
    return (int16_t)(uint16_t)(word & 0xFFFFu);
}

EP_INLINE int32_t ep_high(uint32_t word)
{
    return (int16_t)(uint16_t)(word >> 16);
}

#if EP_DSP

typedef uint64_t __attribute__((may_alias, aligned(4))) ep_two_words;

/* Two words at once. */
EP_INLINE void ep_load(const uint32_t *from, uint32_t *first, uint32_t *second)
{
    __asm__("ldrd %0, %1, %2" : "=r"(*first), "=r"(*second) : "m"(*(const ep_two_words *)(const void *)from));
}

/* sum + low(x) * low(w) + high(x) * high(w) */
EP_INLINE int32_t ep_mac(uint32_t x, uint32_t w, int32_t sum)
{
    return __smlad((int16x2_t)x, (int16x2_t)w, sum);
}

/* Bytes 0 and 2, and bytes 1 and 3, as halves. */
EP_INLINE uint32_t ep_even_bytes(uint32_t bytes)
{
    return (uint32_t)__sxtb16((int8x4_t)bytes);
}

EP_INLINE uint32_t ep_odd_bytes(uint32_t bytes)
{
    uint32_t halves;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(bytes));
    return halves;
}

EP_INLINE int32_t ep_saturate(int32_t value)
{
    return __ssat(value, 8);
}

EP_INLINE int32_t ep_saturate_unsigned(int32_t value)
{
    return (int32_t)__usat(value, 8);
}

/* round(2 * mantissa * sum / 2^32), half a unit upwards; `mantissa` is less by 2^31 */
EP_INLINE int32_t ep_high_product(int32_t sum, int32_t mantissa)
{
    int32_t product;
    __asm__("smmlar %0, %1, %2, %1" : "=r"(product) : "r"(sum), "r"(mantissa));
    return product;
}

#else

EP_INLINE void ep_load(const uint32_t *from, uint32_t *first, uint32_t *second)
{
    *first = from[0];
    *second = from[1];
}

EP_INLINE int32_t ep_mac(uint32_t x, uint32_t w, int32_t sum)
{
    return sum + ep_low(x) * ep_low(w) + ep_high(x) * ep_high(w);
}

EP_INLINE uint32_t ep_halves(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xFFFFu) | ((uint32_t)high << 16);
}

EP_INLINE int32_t ep_byte(uint32_t bytes, unsigned shift)
{
    return (int8_t)(uint8_t)((bytes >> shift) & 0xFFu);
}

EP_INLINE uint32_t ep_even_bytes(uint32_t bytes)
{
    return ep_halves(ep_byte(bytes, 0), ep_byte(bytes, 16));
}

EP_INLINE uint32_t ep_odd_bytes(uint32_t bytes)
{
    return ep_halves(ep_byte(bytes, 8), ep_byte(bytes, 24));
}

EP_INLINE int32_t ep_saturate(int32_t value)
{
    return value < -128 ? -128 : value > 127 ? 127 : value;
}

EP_INLINE int32_t ep_saturate_unsigned(int32_t value)
{
    return value < 0 ? 0 : value > 255 ? 255 : value;
}

EP_INLINE int32_t ep_high_product(int32_t sum, int32_t mantissa)
{
    const int64_t whole = (int64_t)mantissa + ((int64_t)1 << 32);
    return (int32_t)((whole * sum + ((int64_t)1 << 31)) >> 32);
}

#endif

EP_INLINE int32_t ep_limit(int32_t value, int32_t lowest, int32_t highest)
{
    return value < lowest ? lowest : value > highest ? highest : value;
}

/* ---- rescaling ---- */

/* Half a unit goes upwards: right where negative results are cut off. */
EP_INLINE int32_t ep_scale_up(int32_t sum, const ep_filter *filter)
{
    return (ep_high_product(sum, filter->mantissa) + filter->offset) >> filter->shift;
}

/* Half a unit goes away from zero. */
EP_INLINE int32_t ep_scale(int32_t sum, const ep_filter *filter)
{
    const int32_t product = ep_high_product(sum, filter->mantissa);
    return (product + (product >> 31) + filter->offset) >> filter->shift;
}

/* value * mantissa / 2^31 * 2^shift, rounded twice, with any mantissa and shift */
EP_INLINE int32_t ep_multiply(int32_t value, int32_t mantissa, int32_t shift)
{
    const uint32_t left = shift > 0 ? (uint32_t)shift : 0, right = shift < 0 ? (uint32_t)-shift : 0;
    const int64_t product = (int64_t)(int32_t)((uint32_t)value << left) * mantissa;
    const int64_t high = (product + ((int64_t)1 << 30)) >> 31;
    if (right == 0)
        return (int32_t)high;
    const int64_t half = (int64_t)1 << (right - 1);
    return (int32_t)((high + half - (high < 0)) >> right);
}

EP_INLINE int32_t ep_scale_any(int32_t sum, const ep_filter *filter)
{
    return ep_multiply(sum, filter->mantissa, filter->shift) + filter->offset;
}

/* ---- rings ---- */

/* The spans of `rows` rows from row `first` of a ring on: one, or two where they go around its end. */
EP_INLINE const ep_span *ep_spans(ep_span *spans, const void *ring, int32_t capacity, int32_t row_bytes, int32_t first,
                                  int32_t rows, uint32_t words)
{
    const int32_t slot = first % capacity, head = capacity - slot < rows ? capacity - slot : rows;
    if (rows <= 0)
        return spans;
    spans[0].rows = (const unsigned char *)ring + slot * row_bytes;
    spans[0].words = (uint32_t)head * words;
    if (head == rows)
        return spans + 1;
    spans[1].rows = ring;
    spans[1].words = (uint32_t)(rows - head) * words;
    return spans + 2;
}

/* A row into a convolution's ring, less the zero point: two channels of a position in a word. */
EP_INLINE void ep_widen_pairs(const int8_t *row, uint32_t *ring, int32_t width, int32_t channels, int32_t columns,
                              int32_t zero)
{
    for (int32_t x = 0; x < width; ++x) {
        uint32_t *to = ring + x;
        int32_t channel = 0;
        for (; channel + 1 < channels; channel += 2, to += columns)
            *to = ((uint32_t)(row[channel] - zero) & 0xFFFFu) | ((uint32_t)(row[channel + 1] - zero) << 16);
        if (channel < channels)
            *to = (uint32_t)(row[channel] - zero) & 0xFFFFu;
        row += channels;
    }
}

/* The same with each channel in a plane of its own. */
EP_INLINE void ep_widen_taps(const int8_t *row, void *ring, int32_t width, int32_t channels, int32_t columns, int32_t zero)
{
    for (int32_t x = 0; x < width; ++x)
        for (int32_t channel = 0; channel < channels; ++channel)
            ep_store_half(ring, channel * columns + x, *row++ - zero);
}

/* Two rows of halves as one row of words; a row that is missing counts as zero. `columns` is even. */
EP_INLINE void ep_pair_rows(const uint32_t *low, const uint32_t *high, uint32_t *out, int32_t columns)
{
    for (int32_t i = 0; i < columns / 2; ++i) {
        const uint32_t a = low != NULL ? low[i] : 0, b = high != NULL ? high[i] : 0;
        out[2 * i] = (a & 0xFFFFu) | (b << 16);
        out[2 * i + 1] = (a >> 16) | (b & 0xFFFF0000u);
    }
}

/* Raise the largest sums of windows that lie next to each other in a row. */
EP_INLINE void ep_raise_peaks(const int32_t *sums, int32_t *peaks, int32_t windows, int32_t width)
{
    for (int32_t window = 0; window < windows; ++window) {
        int32_t peak = peaks[window];
        for (int32_t i = 0; i < width; ++i, ++sums)
            peak = *sums > peak ? *sums : peak;
        peaks[window] = peak;
    }
}

/* int8 weights as words of two int16; `words` is even. */
EP_INLINE void ep_widen_weights(const uint32_t *packed, uint32_t *wide, int32_t words)
{
    const uint32_t *const end = wide + words, *const eights = wide + words / 8 * 8;
    for (; wide != eights; wide += 8) {
        uint32_t a, b, c, d;
        ep_load(packed, &a, &b);
        ep_load(packed + 2, &c, &d);
        packed += 4;
        wide[0] = ep_even_bytes(a);
        wide[1] = ep_odd_bytes(a);
        wide[2] = ep_even_bytes(b);
        wide[3] = ep_odd_bytes(b);
        wide[4] = ep_even_bytes(c);
        wide[5] = ep_odd_bytes(c);
        wide[6] = ep_even_bytes(d);
        wide[7] = ep_odd_bytes(d);
    }
    for (; wide != end; wide += 2) {
        const uint32_t bytes = *packed++;
        wide[0] = ep_even_bytes(bytes);
        wide[1] = ep_odd_bytes(bytes);
    }
}

/* ---- dense layers ---- */

/* Add x[n] * w[n] to the sums of four rows of weights, which lie n bytes apart. */
EP_INLINE void ep_dot_four(const int8_t *x, const int8_t *w, int32_t n, int32_t *sums)
{
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3], i = 0;
    const int8_t *const w1 = w + n, *const w2 = w1 + n, *const w3 = w2 + n;
    for (; i + 3 < n; i += 4) {
        const uint32_t bytes = ep_word(x + i), even = ep_even_bytes(bytes), odd = ep_odd_bytes(bytes);
        const uint32_t p = ep_word(w + i), q = ep_word(w1 + i), r = ep_word(w2 + i), s = ep_word(w3 + i);
        a = ep_mac(odd, ep_odd_bytes(p), ep_mac(even, ep_even_bytes(p), a));
        b = ep_mac(odd, ep_odd_bytes(q), ep_mac(even, ep_even_bytes(q), b));
        c = ep_mac(odd, ep_odd_bytes(r), ep_mac(even, ep_even_bytes(r), c));
        d = ep_mac(odd, ep_odd_bytes(s), ep_mac(even, ep_even_bytes(s), d));
    }
    for (; i < n; ++i) {
        a += x[i] * w[i];
        b += x[i] * w1[i];
        c += x[i] * w2[i];
        d += x[i] * w3[i];
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}

EP_INLINE int32_t ep_dot(const int8_t *x, const int8_t *w, int32_t n, int32_t sum)
{
    int32_t i = 0;
    for (; i + 3 < n; i += 4) {
        const uint32_t bytes = ep_word(x + i), weights = ep_word(w + i);
        sum = ep_mac(ep_even_bytes(bytes), ep_even_bytes(weights), sum);
        sum = ep_mac(ep_odd_bytes(bytes), ep_odd_bytes(weights), sum);
    }
    for (; i < n; ++i)
        sum += x[i] * w[i];
    return sum;
}

/* ---- layers without weights ---- */

/* A row of ADD, SUB or MUL: how each operand steps from position to position and from channel to channel. */
typedef struct ep_operand {
    const int8_t *values;
    int32_t a_position, a_channel;
} ep_operand;

/* Constants of ADD and SUB; MUL has the output's alone. */
typedef struct ep_combination {
    int32_t zero[2], mantissa[2], shift[2];
    int32_t out_mantissa, out_shift, out_zero, lowest, highest;
} ep_combination;

/* `sign` is 1 for ADD and -1 for SUB. */
EP_INLINE void ep_add(ep_operand x, ep_operand y, int8_t *out, int32_t width, int32_t channels, const ep_combination *k,
                      int32_t sign)
{
    for (int32_t position = 0; position < width; ++position) {
        const int8_t *a = x.values + position * x.a_position, *b = y.values + position * y.a_position;
        for (int32_t channel = 0; channel < channels; ++channel) {
            const int32_t first = ep_multiply((*a - k->zero[0]) * (1 << 20), k->mantissa[0], k->shift[0]);
            const int32_t second = ep_multiply((*b - k->zero[1]) * (1 << 20), k->mantissa[1], k->shift[1]);
            const int32_t sum = ep_multiply(first + sign * second, k->out_mantissa, k->out_shift) + k->out_zero;
            *out++ = (int8_t)ep_limit(sum, k->lowest, k->highest);
            a += x.a_channel;
            b += y.a_channel;
        }
    }
}

EP_INLINE void ep_product(ep_operand x, ep_operand y, int8_t *out, int32_t width, int32_t channels, const ep_combination *k)
{
    for (int32_t position = 0; position < width; ++position) {
        const int8_t *a = x.values + position * x.a_position, *b = y.values + position * y.a_position;
        for (int32_t channel = 0; channel < channels; ++channel) {
            const int32_t product = (*a - k->zero[0]) * (*b - k->zero[1]);
            const int32_t scaled = ep_multiply(product, k->out_mantissa, k->out_shift) + k->out_zero;
            *out++ = (int8_t)ep_limit(scaled, k->lowest, k->highest);
            a += x.a_channel;
            b += y.a_channel;
        }
    }
}

EP_INLINE void ep_lookup(const int8_t *row, int8_t *out, int32_t count, const int8_t *table)
{
    for (int32_t i = 0; i < count; ++i)
        out[i] = table[row[i] + 128];
}

/* Half a unit away from zero. */
EP_INLINE int32_t ep_average(int32_t sum, int32_t count)
{
    return sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
}

/* A row of pooling along the width: how windows lie. */
typedef struct ep_pool {
    int32_t width, channels, kernel, stride, before;
} ep_pool;

/* Add a row to the sums of its windows, [windows][channels]. */
EP_INLINE void ep_pool_sum(const int8_t *row, int32_t *sums, int32_t windows, const ep_pool *pool)
{
    for (int32_t window = 0; window < windows; ++window, sums += pool->channels)
        for (int32_t tap = 0; tap < pool->kernel; ++tap) {
            const int32_t x = window * pool->stride - pool->before + tap;
            if (x < 0 || x >= pool->width)
                continue;
            for (int32_t channel = 0; channel < pool->channels; ++channel)
                sums[channel] += row[x * pool->channels + channel];
        }
}

/* The same for the largest values. */
EP_INLINE void ep_pool_peak(const int8_t *row, int32_t *peaks, int32_t windows, const ep_pool *pool)
{
    for (int32_t window = 0; window < windows; ++window, peaks += pool->channels)
        for (int32_t tap = 0; tap < pool->kernel; ++tap) {
            const int32_t x = window * pool->stride - pool->before + tap;
            if (x < 0 || x >= pool->width)
                continue;
            for (int32_t channel = 0; channel < pool->channels; ++channel) {
                const int32_t value = row[x * pool->channels + channel];
                peaks[channel] = value > peaks[channel] ? value : peaks[channel];
            }
        }
}

/* How many columns of a window lie within the row. */
EP_INLINE int32_t ep_pool_columns(const ep_pool *pool, int32_t window)
{
    const int32_t first = window * pool->stride - pool->before, last = first + pool->kernel;
    return (last < pool->width ? last : pool->width) - (first > 0 ? first : 0);
}

/* 1 / (1 + x) for x from 0 to 1, both with 31 bits after the point, by three steps of Newton's method. */
EP_INLINE int32_t ep_reciprocal(int32_t x)
{
    const int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) >> 1);
    int32_t guess = 1515870810 + ep_multiply(half, -1010580540, 0);
    for (int i = 0; i < 3; ++i) {
        const int32_t rest = (1 << 29) - ep_multiply(half, guess, 0);
        const int64_t step = (int64_t)ep_multiply(guess, rest, 0) * 4;
        guess += (int32_t)(step > INT32_MAX ? INT32_MAX : step < INT32_MIN ? INT32_MIN : step);
    }
    return guess > INT32_MAX / 2 ? INT32_MAX : guess * 2;
}

/* Softmax of one position. `exponentials` holds exp by how far a value lies below the largest. */
EP_INLINE void ep_softmax(const int8_t *x, int8_t *out, int32_t channels, const int32_t *exponentials)
{
    int32_t largest = x[0];
    for (int32_t i = 1; i < channels; ++i)
        largest = x[i] > largest ? x[i] : largest;
    uint32_t shifted = 0; /* the sum, with 19 bits after the point */
    for (int32_t i = 0; i < channels; ++i)
        shifted += ((uint32_t)exponentials[largest - x[i]] + (1u << 11)) >> 12;
    int32_t zeros = 0;
    for (; (shifted & 0x80000000u) == 0; shifted <<= 1)
        ++zeros;
    const int32_t reciprocal = ep_reciprocal((int32_t)(shifted - 0x80000000u));
    for (int32_t i = 0; i < channels; ++i) {
        const int32_t share = ep_multiply(exponentials[largest - x[i]], reciprocal, zeros - 35);
        out[i] = (int8_t)ep_limit(share - 128, -128, 127);
    }
}

#endif
