#include "edgeprune_stream.h"

#if EP_NETWORK_INPUTS != EP_INPUT_SIZE || EP_NETWORK_OUTPUTS != EP_CLASSES
#error "front-end and network do not belong together"
#endif

void ep_stream_reset(ep_stream *stream)
{
    const ep_level nothing = {0};
    ep_listen_reset(&stream->listen);
    ep_frontend_reset(&stream->frontend);
    for (uint32_t i = 0; i < EP_PIPELINES; ++i) {
        stream->pipelines[i].wait = i * EP_DECISION_HOP;
        stream->pipelines[i].frames = 0;
    }
    stream->level = nothing;
    stream->due = NULL;
    stream->decisions = 0;
    stream->dropped = 0;
}

/* The latest frame goes into a window. */
static void add_frame(ep_stream *stream, ep_pipeline *pipeline)
{
    const ep_level nothing = {0};
    if (pipeline->wait > 0) {
        --pipeline->wait;
        return;
    }
    if (pipeline->frames == 0) {
        pipeline->level = nothing;
#if EP_STREAM
        ep_network_reset(&pipeline->network);
#endif
    }
    ep_level_join(&pipeline->level, &stream->level);
#if EP_STREAM
    ep_network_push(&pipeline->network, ep_frontend_row(&stream->frontend));
#endif
    if (++pipeline->frames == EP_FRAMES) {
        pipeline->frames = 0;
        pipeline->wait = EP_PIPELINES * EP_DECISION_HOP - EP_FRAMES;
        stream->due = pipeline; /* the others end later: no two windows begin with the same frame */
    }
}

static void frame_completed(ep_stream *stream)
{
    const ep_level nothing = {0};
    for (uint32_t i = 0; i < EP_PIPELINES; ++i)
        add_frame(stream, &stream->pipelines[i]);
    stream->level = nothing;
}

size_t ep_stream_push_i16(ep_stream *stream, const int16_t *samples, size_t count)
{
    size_t taken = 0;
    while (taken < count && stream->due == NULL) {
        const size_t left = count - taken, wanted = ep_frontend_wanted(&stream->frontend);
        const size_t part = left < wanted ? left : wanted;
        ep_level_add(&stream->level, samples + taken, part);
        if (ep_frontend_push_i16(&stream->frontend, samples + taken, part))
            frame_completed(stream);
        taken += part;
    }
    return taken;
}

int ep_stream_finish(ep_stream *stream)
{
    while (stream->due == NULL) {
        const uint32_t zeros = ep_frontend_wanted(&stream->frontend);
        if (!ep_frontend_finish_frame(&stream->frontend))
            return 0;
        ep_level_add_zeros(&stream->level, zeros);
        frame_completed(stream);
    }
    return 1;
}

/* The network's output for the window that has ended; 0 where it failed. */
static int run_network(ep_stream *stream, int8_t *output)
{
#if EP_STREAM
    ep_network_output(&stream->due->network, output);
    return 1;
#else
    return ep_frontend_patch_i8(&stream->frontend, stream->input) &&
           ep_network_infer(&stream->network, stream->input, output);
#endif
}

int ep_stream_decide(ep_stream *stream, ep_decision *decision)
{
    int8_t output[EP_CLASSES] = {0};
    if (stream->due == NULL)
        return 0;
    const uint32_t mean_square = ep_level_mean_square(&stream->due->level);
    const int done = ep_listen_is_silent(&stream->listen, mean_square) || run_network(stream, output);
    stream->due = NULL;
    if (!done)
        return -1;
    ep_listen_decide(&stream->listen, output, mean_square, decision);
    ++stream->decisions;
    return 1;
}

int ep_stream_listen(ep_stream *stream, ep_fifo *fifo, ep_decision *decision)
{
    const int16_t *samples;
    uint32_t count;
    stream->dropped = ep_fifo_dropped(fifo);
    while (stream->due == NULL && (count = ep_fifo_peek(fifo, &samples)) > 0)
        ep_fifo_skip(fifo, (uint32_t)ep_stream_push_i16(stream, samples, count));
    return ep_stream_decide(stream, decision);
}
