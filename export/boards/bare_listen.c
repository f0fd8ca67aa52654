/* The smallest program that listens with a streaming network: its flash, its RAM and the depth of its stack. */
#include "board.h"
#include "edgeprune_stream.h"

static ep_stream stream;

/* The samples come from the test, as those of a real board lie in a driver's buffer. */
static int16_t samples[64] BOARD_VECTORS = {1};

static void fill(void) BOARD_TEST;
static void fill(void)
{
    static uint32_t noise BOARD_VECTORS = 1;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; ++i) {
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        samples[i] = (int16_t)(noise >> 18);
    }
}

int main(void)
{
    ep_decision decision;
    ep_stream_reset(&stream);
    do {
        fill();
        ep_stream_push_i16(&stream, samples, sizeof samples / sizeof *samples);
    } while (ep_stream_decide(&stream, &decision) == 0);
    board_print_stack(board_stack_bytes());
    return 0;
}
