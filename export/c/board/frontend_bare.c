/* The smallest program around the front-end, for its sizes and the depth of its stack; with EMPTY, without it. */
#include "board.h"
#include "edgeprune_frontend.h"

#ifndef EMPTY
static ep_frontend frontend;
static int16_t samples[EP_HOP] BOARD_VECTORS = {0};
static ep_stored input[EP_INPUT_SIZE] BOARD_VECTORS = {0};

static void listen(void) BOARD_TEST;
static void listen(void)
{
    ep_frontend_reset(&frontend);
    ep_frontend_push_i16(&frontend, samples, EP_HOP);
    ep_frontend_finish(&frontend);
    if (ep_frontend_patch_due(&frontend)) {
#if EP_STREAM
        for (int mel = 0; mel < EP_MELS; ++mel)
            input[mel] = ep_frontend_row(&frontend)[mel];
#elif EP_RING_INT8
        ep_frontend_patch_i8(&frontend, input);
#else
        ep_frontend_patch_f32(&frontend, input);
#endif
    }
}
#else
static void listen(void) BOARD_TEST;
static void listen(void)
{
}
#endif

int main(void)
{
    listen();
    board_print_stack(board_stack_bytes());
    return 0;
}
