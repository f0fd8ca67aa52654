/* Listening: samples in, decisions out. Front-end, network and rules of decision in one state.
 *
 *     static ep_stream stream;
 *     ep_stream_reset(&stream);
 *     for (;;) {
 *         read some samples: EP_SAMPLE_RATE, 16 bits, mono;
 *         while (count > 0) {
 *             const size_t taken = ep_stream_push_i16(&stream, samples, count);
 *             samples += taken;
 *             count -= taken;
 *             ep_decision decision;
 *             if (ep_stream_decide(&stream, &decision) > 0)
 *                 print(ep_heard(&decision));
 *         }
 *     }
 *
 * or, where an interrupt or another task writes the samples into a queue, `ep_stream_listen`.
 *
 * A window is EP_FRAMES frames, and one begins every EP_DECISION_HOP frames. Where windows overlap, each has a pipeline of
 * its own, out of phase with the others, so that each gives to the byte what the network gives for its frames.
 *
 * With EP_STREAM the network takes each frame as it is completed: the work is spread over the window, and `decide` only
 * ends it. Otherwise the frames wait in a ring, and `decide` runs the whole network. No heap, no static variables. */
#ifndef EDGEPRUNE_STREAM_H
#define EDGEPRUNE_STREAM_H

#include "edgeprune_fifo.h"
#include "edgeprune_frontend.h"
#include "edgeprune_listen.h"
#include "edgeprune_network.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EP_PIPELINES ((EP_FRAMES + EP_DECISION_HOP - 1) / EP_DECISION_HOP)

/* One window. The fields are not for use from outside. */
typedef struct ep_pipeline {
#if EP_STREAM
    ep_network network;
#endif
    ep_level level;
    uint32_t wait;   /* frames before the window begins */
    uint32_t frames; /* that it has */
} ep_pipeline;

typedef struct ep_stream {
    ep_listen listen; /* its rules may be changed */
    uint32_t decisions;
    uint32_t dropped; /* samples that were lost before they were pushed; the window closes over the gap */
    /* The other fields are not for use from outside. */
    ep_frontend frontend;
    ep_pipeline pipelines[EP_PIPELINES];
    ep_level level;   /* of the samples since the latest frame */
    ep_pipeline *due; /* its window has ended */
#if !EP_STREAM
    ep_network network;
    int8_t input[EP_INPUT_SIZE];
#endif
} ep_stream;

/* Begin. */
void ep_stream_reset(ep_stream *stream);

/* Add samples up to the end of a window: how many were taken. It takes none while a decision is due. */
size_t ep_stream_push_i16(ep_stream *stream, const int16_t *samples, size_t count);

/* End a recording, as training does: silence follows until its last frame is complete. 0 when all is done, 1 when a
 * decision is due before it goes on. */
int ep_stream_finish(ep_stream *stream);

/* Decide if a window has ended: 1 and the decision, 0 if none has; -1 where the network failed (under an interpreter). */
int ep_stream_decide(ep_stream *stream, ep_decision *decision);

/* Take what a microphone's queue holds, up to the next decision: 1 and the decision, 0 when the queue is empty, -1 where the
 * network failed. `dropped` then counts what the queue had no room for. */
int ep_stream_listen(ep_stream *stream, ep_fifo *fifo, ep_decision *decision);

#ifdef __cplusplus
}
#endif

#endif
