/* Framing, window, mel bands, logarithm, normalisation, and the ring of frames. */
#include "edgeprune_frontend.h"

#include <float.h>
#include <string.h>

#include "edgeprune_frontend_tables.h"

void ep_frontend_reset(ep_frontend *state)
{
    memset(state, 0, sizeof *state);
    /* A centred frame has its middle on its sample, and before the first sample there is silence. */
    state->wanted = EP_CENTER ? EP_WINDOW / 2 : EP_WINDOW;
    state->tail = EP_CENTER ? EP_WINDOW / 2 : 0;
#ifdef EP_USE_CMSIS_DSP
#ifdef EP_CMSIS_DSP_INIT
    /* such as arm_rfft_fast_init_1024_f32 (CMSIS-DSP 1.15 and later), which links the tables of one size alone */
    (void)EP_CMSIS_DSP_INIT(&state->fft);
#else
    (void)arm_rfft_fast_init_f32(&state->fft, EP_FFT);
#endif
#endif
}

/* A stored sample whose full scale is 1. */
static float full_scale(ep_sample sample)
{
#if EP_STREAM
    return (float)sample * (1.0f / 32768.0f);
#else
    return sample;
#endif
}

/* `work` gets the windowed samples, and zeros up to the FFT's size. */
static void load_frame(ep_frontend *state)
{
    const ep_sample *sample = state->history + state->position;
    const ep_sample *const end = state->history + EP_WINDOW;
    for (uint32_t i = 0; i < EP_WINDOW; ++i) {
        state->work[i] = full_scale(*sample) * ep_window[i <= EP_WINDOW / 2 ? i : EP_WINDOW - i];
        if (++sample == end)
            sample = state->history;
    }
    for (uint32_t i = EP_WINDOW; i < EP_FFT; ++i)
        state->work[i] = 0.0f;
}

/* Natural logarithm of a positive number (subnormal ones aside), to 1.2e-7 of it or 1e-7, whichever is more. libm's would
 * do, but with newlib it takes a kilobyte of RAM for errno, and double arithmetic where the processor has it. */
static float natural_log(float value)
{
    if (!(value <= FLT_MAX))
        return value;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    /* value = 2^exponent x fraction, which lies between the roots of 1/2 and 2 */
    const uint32_t one = 0x3F800000u, root_half = 0x3F3504F3u;
    const int32_t exponent = (int32_t)((bits + (one - root_half)) >> 23) - 127;
    bits -= (uint32_t)exponent << 23;
    float fraction;
    memcpy(&fraction, &bits, sizeof fraction);
    /* ln(fraction) = 2 artanh(s) = 2 (s + s^3 / 3 + s^5 / 5 + ...), |s| < 0.172 */
    const float s = (fraction - 1.0f) / (fraction + 1.0f), square = s * s;
    const float rest = square * (2.0f / 3.0f + square * (2.0f / 5.0f + square * (2.0f / 7.0f + square * (2.0f / 9.0f))));
    /* ln 2 in two parts, the first with so few bits that its products with exponents are exact */
    const float high = 0.693145752f, low = 1.42860677e-6f;
    const float e = (float)exponent;
    return e * high + (2.0f * s + (s * rest + e * low));
}

/* As a network's input stores it. */
static ep_stored stored(float value)
{
#if EP_RING_INT8
    /* Halves go away from zero and values beyond the range saturate, as in TFLite; not a number becomes the lowest. */
    const float limit = 300.0f;
    float steps = value / EP_INPUT_SCALE;
    if (!(steps > -limit))
        steps = -limit;
    if (steps > limit)
        steps = limit;
    int32_t whole = (int32_t)steps;
    const float rest = steps - (float)whole; /* exact, which adding a half would not be */
    if (rest >= 0.5f)
        ++whole;
    if (rest <= -0.5f)
        --whole;
    whole += EP_INPUT_ZERO_POINT;
    return (int8_t)(whole < -128 ? -128 : whole > 127 ? 127 : whole);
#else
    return value;
#endif
}

/* Log-mels from the strengths in `work`, to its odd places and to the ring. */
static void store_frame(ep_frontend *state)
{
    const float *weight = ep_weights;
    ep_stored *row = state->ring + state->row * EP_MELS;
    for (uint32_t mel = 0; mel < EP_MELS; ++mel) {
        const float *strength = state->work + 2 * (uint32_t)ep_band_first[mel];
        float sum = 0.0f;
        for (uint32_t bins = ep_band_bins[mel]; bins > 0; --bins) {
            sum += *strength * *weight++;
            strength += 2;
        }
        const float level = natural_log(sum + EP_LOG_OFFSET);
        state->work[2 * mel + 1] = level;
        row[mel] = stored((level - ep_mean[mel]) / ep_std[mel]);
    }
    state->row = state->row + 1 < EP_KEPT ? state->row + 1 : 0;
    ++state->frames;
}

/* How many of `count` samples fit between here and the end of the history or of the frame. */
static uint32_t room(const ep_frontend *state, size_t count)
{
    const uint32_t left = EP_WINDOW - state->position;
    const uint32_t most = state->wanted < left ? state->wanted : left;
    return count < most ? (uint32_t)count : most;
}

/* After `count` samples were written to the history: 1 if they completed a frame. */
static size_t advance(ep_frontend *state, uint32_t count)
{
    state->position += count;
    if (state->position == EP_WINDOW)
        state->position = 0;
    state->wanted -= count;
    if (state->wanted > 0)
        return 0;
    state->wanted = EP_HOP;
    load_frame(state);
    ep_spectrum(state);
    store_frame(state);
    return 1;
}

static size_t push(ep_frontend *state, const ep_sample *samples, size_t count)
{
    size_t completed = 0;
    while (count > 0) {
        const uint32_t part = room(state, count);
        memcpy(state->history + state->position, samples, part * sizeof *samples);
        completed += advance(state, part);
        samples += part;
        count -= part;
    }
    return completed;
}

#if EP_STREAM
size_t ep_frontend_push_i16(ep_frontend *state, const int16_t *samples, size_t count)
{
    return push(state, samples, count);
}
#else
size_t ep_frontend_push(ep_frontend *state, const float *samples, size_t count)
{
    return push(state, samples, count);
}

size_t ep_frontend_push_i16(ep_frontend *state, const int16_t *samples, size_t count)
{
    size_t completed = 0;
    while (count > 0) {
        const uint32_t part = room(state, count);
        float *history = state->history + state->position;
        for (uint32_t i = 0; i < part; ++i)
            history[i] = (float)samples[i] * (1.0f / 32768.0f);
        completed += advance(state, part);
        samples += part;
        count -= part;
    }
    return completed;
}
#endif

uint32_t ep_frontend_wanted(const ep_frontend *state)
{
    return state->wanted;
}

size_t ep_frontend_finish_frame(ep_frontend *state)
{
    if (state->frames >= EP_FRAMES && state->wanted > state->tail)
        return 0;
    state->tail -= state->wanted < state->tail ? state->wanted : state->tail;
    for (;;) {
        const uint32_t part = room(state, state->wanted);
        memset(state->history + state->position, 0, part * sizeof *state->history);
        if (advance(state, part))
            return 1;
    }
}

size_t ep_frontend_finish(ep_frontend *state)
{
    size_t completed = 0;
    while (ep_frontend_finish_frame(state))
        ++completed;
    return completed;
}

uint32_t ep_frontend_frames(const ep_frontend *state)
{
    return state->frames;
}

int ep_frontend_patch_due(const ep_frontend *state)
{
    return state->frames >= EP_FRAMES && (state->frames - EP_FRAMES) % EP_PATCH_HOP == 0;
}

int ep_frontend_log_mel(const ep_frontend *state, float *frame)
{
    if (state->frames == 0)
        return 0;
    for (uint32_t mel = 0; mel < EP_MELS; ++mel)
        frame[mel] = state->work[2 * mel + 1];
    return 1;
}

const ep_stored *ep_frontend_row(const ep_frontend *state)
{
    return state->ring + ((state->row > 0 ? state->row : EP_KEPT) - 1) * EP_MELS;
}

#if !EP_STREAM
static int patch(const ep_frontend *state, ep_stored *input)
{
    if (state->frames < EP_FRAMES)
        return 0;
#if EP_TIME_FIRST
    const size_t older = (EP_FRAMES - state->row) * (size_t)EP_MELS;
    memcpy(input, state->ring + state->row * EP_MELS, older * sizeof *input);
    memcpy(input + older, state->ring, state->row * EP_MELS * sizeof *input);
#else
    uint32_t row = state->row;
    for (uint32_t frame = 0; frame < EP_FRAMES; ++frame) {
        const ep_stored *values = state->ring + row * EP_MELS;
        for (uint32_t mel = 0; mel < EP_MELS; ++mel)
            input[mel * EP_FRAMES + frame] = values[mel];
        row = row + 1 < EP_FRAMES ? row + 1 : 0;
    }
#endif
    return 1;
}

#if EP_RING_INT8
int ep_frontend_patch_i8(const ep_frontend *state, int8_t *input)
{
    return patch(state, input);
}
#else
int ep_frontend_patch_f32(const ep_frontend *state, float *input)
{
    return patch(state, input);
}
#endif
#endif
