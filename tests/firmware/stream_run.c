/* Listens to the samples of `samples.h` in pieces of PIECE and prints each decision, with the stub network's checksum. With
 * QUEUE they go through a queue of as many samples, which is never full. */
#include "edgeprune_stream.h"
#include "samples.h"

#ifdef BOARD
#include "board.h"
#define PRINT(...) board_print(__VA_ARGS__)
#else
#include <stdio.h>
#define PRINT(...) printf(__VA_ARGS__)
#endif

uint32_t stub_checksum;
static ep_stream stream;

static void print(const ep_decision *decision)
{
    PRINT("decision %d %d %u %u %u\n", decision->heard, decision->best, (unsigned)decision->probability,
          (unsigned)decision->mean_square, decision->heard == EP_SILENCE ? 0u : (unsigned)stub_checksum);
}

#ifdef QUEUE
static size_t hear(const int16_t *place, size_t count)
{
    static int16_t memory[QUEUE];
    static ep_fifo fifo;
    ep_decision decision;
    ep_fifo_init(&fifo, memory, QUEUE);
    const uint32_t taken = ep_fifo_write(&fifo, place, (uint32_t)count);
    while (ep_stream_listen(&stream, &fifo, &decision) > 0)
        print(&decision);
    return taken;
}
#else
static size_t hear(const int16_t *place, size_t count)
{
    ep_decision decision;
    const size_t taken = ep_stream_push_i16(&stream, place, count);
    if (ep_stream_decide(&stream, &decision) > 0)
        print(&decision);
    return taken;
}
#endif

int main(void)
{
    ep_decision decision;
    ep_stream_reset(&stream);
    for (size_t done = 0; done < SAMPLES;)
        done += hear(samples + done, SAMPLES - done < PIECE ? SAMPLES - done : PIECE);
    while (ep_stream_finish(&stream)) {
        if (ep_stream_decide(&stream, &decision) > 0)
            print(&decision);
    }
    PRINT("state %u\nend %u\n", (unsigned)sizeof stream, (unsigned)stream.decisions);
    return 0;
}
