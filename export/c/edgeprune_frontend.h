/* Log-mel front-end: samples in, the network's input out.
 *
 * Streaming: samples are pushed as they come, in pieces of any size. Every EP_HOP samples a frame is completed, and the
 * latest EP_FRAMES of them wait in a ring, normalised, for `ep_frontend_patch_i8` (or `_f32`). Where the network takes each
 * frame as it comes (EP_STREAM is 1), by `ep_frontend_row`, there is no ring, and samples have 16 bits. No heap, no static
 * variables: everything that changes lies in `ep_frontend`, everything that does not is const.
 *
 *     static ep_frontend frontend;
 *     ep_frontend_reset(&frontend);
 *     for (;;) {
 *         read EP_HOP samples;
 *         ep_frontend_push_i16(&frontend, samples, EP_HOP);
 *         if (ep_frontend_patch_due(&frontend) && ep_frontend_patch_i8(&frontend, input))
 *             run the network;
 *     }
 *
 * All arithmetic is in single precision. On recordings 99.9 % of log-mels lie within 2e-4 of those of training, the others
 * within 0.01; a tone at full scale leaves rounding noise in bands that hold nothing else, up to 0.05 where the
 * logarithm's offset is 1e-3.
 *
 * Define EP_USE_CMSIS_DSP to compute the FFT with CMSIS-DSP's arm_rfft_fast_f32 (EP_FFT of 32 to 4096, powers of two);
 * it needs EP_FFT floats more. */
#ifndef EDGEPRUNE_FRONTEND_H
#define EDGEPRUNE_FRONTEND_H

#include <stddef.h>
#include <stdint.h>

#include "edgeprune_frontend_config.h"

#ifdef EP_USE_CMSIS_DSP
#include "arm_math.h"
#if EP_FFT_MIXED || EP_FFT < 32 || EP_FFT > 4096
#error "arm_rfft_fast_f32 takes powers of two from 32 to 4096; leave EP_USE_CMSIS_DSP out or choose such an n_fft"
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Strengths of EP_FFT / 2 + 1 bins at even places, log-mels at odd ones. */
#define EP_WORK (EP_FFT + 2 > 2 * EP_MELS ? EP_FFT + 2 : 2 * EP_MELS)

#if EP_RING_INT8
typedef int8_t ep_stored;
#else
typedef float ep_stored;
#endif

#if EP_STREAM
#define EP_KEPT 1
typedef int16_t ep_sample;
#else
#define EP_KEPT EP_FRAMES
typedef float ep_sample;
#endif

/* The fields are not for use from outside. */
typedef struct ep_frontend {
    float work[EP_WORK]; /* one frame: samples, then spectrum, then log-mels */
#ifdef EP_USE_CMSIS_DSP
    float spare[EP_FFT];
    arm_rfft_fast_instance_f32 fft;
#elif EP_FFT_MIXED
    float spare[EP_FFT];
#endif
    ep_sample history[EP_WINDOW];          /* the latest samples, a ring */
    ep_stored ring[EP_KEPT * EP_MELS];     /* the latest frames, normalised */
    uint32_t position;                     /* of the oldest sample in history */
    uint32_t wanted;                       /* samples that the next frame still lacks */
    uint32_t tail;                         /* zeros that frames may see beyond the clip's end */
    uint32_t row;                          /* of the oldest frame in the ring, the next to be written */
    uint32_t frames;                       /* since reset */
} ep_frontend;

/* Begin a clip. */
void ep_frontend_reset(ep_frontend *state);

/* Add samples whose full scale is 1, or 16-bit ones. Frames completed by them; at most one if count <= EP_HOP. */
#if !EP_STREAM
size_t ep_frontend_push(ep_frontend *state, const float *samples, size_t count);
#endif
size_t ep_frontend_push_i16(ep_frontend *state, const int16_t *samples, size_t count);

/* Samples that complete the next frame, at least 1. */
uint32_t ep_frontend_wanted(const ep_frontend *state);

/* End a clip: complete the frames that see silence beyond its end (centred ones), or fill up a clip shorter than a
 * patch. Frames completed; reset comes next. `ep_frontend_finish_frame` completes one at a time, until it returns 0. */
size_t ep_frontend_finish(ep_frontend *state);
size_t ep_frontend_finish_frame(ep_frontend *state);

/* Frames since reset, modulo 2^32. */
uint32_t ep_frontend_frames(const ep_frontend *state);

/* Whether the latest frame is the last of a patch, when one begins every EP_PATCH_HOP frames. */
int ep_frontend_patch_due(const ep_frontend *state);

/* Log-mels [EP_MELS] of the latest frame, not normalised; 0 if there is none. */
int ep_frontend_log_mel(const ep_frontend *state, float *frame);

/* The latest frame as the network takes it, EP_MELS values, until the next push; only after a first frame. */
const ep_stored *ep_frontend_row(const ep_frontend *state);

#if !EP_STREAM
/* The latest EP_FRAMES frames as the network takes them, EP_INPUT_SIZE values: [EP_MELS][EP_FRAMES], or
 * [EP_FRAMES][EP_MELS] where EP_TIME_FIRST is 1. 0, and nothing written, while there are fewer frames. */
#if EP_RING_INT8
int ep_frontend_patch_i8(const ep_frontend *state, int8_t *input);
#else
int ep_frontend_patch_f32(const ep_frontend *state, float *input);
#endif
#endif

#ifdef __cplusplus
}
#endif

#endif
