/* Listens to the samples of `samples.h` in pieces of PIECE and prints each decision, with the stub network's checksum. */
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

static void decide(void)
{
    ep_decision decision;
    if (ep_stream_decide(&stream, &decision) > 0)
        PRINT("decision %d %d %u %u %u\n", decision.heard, decision.best, (unsigned)decision.probability,
              (unsigned)decision.mean_square, decision.heard == EP_SILENCE ? 0u : (unsigned)stub_checksum);
}

int main(void)
{
    ep_stream_reset(&stream);
    const int16_t *place = samples;
    for (size_t left = SAMPLES; left > 0;) {
        const size_t taken = ep_stream_push_i16(&stream, place, left < PIECE ? left : PIECE);
        place += taken;
        left -= taken;
        decide();
    }
    while (ep_stream_finish(&stream))
        decide();
    PRINT("state %u\nend %u\n", (unsigned)sizeof stream, (unsigned)stream.decisions);
    return 0;
}
