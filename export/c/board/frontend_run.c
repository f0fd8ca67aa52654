/* Runs the front-end on a stored signal, hop by hop, and prints for each push its instructions and, where it completed a
 * frame, the log-mels; then what a patch takes, and the patch (the latest frame alone, where there is no ring). */
#include "board.h"
#include "edgeprune_frontend.h"
#include "signal.h"

static ep_frontend frontend;
static float log_mels[EP_MELS] BOARD_VECTORS;
static ep_stored input[EP_INPUT_SIZE] BOARD_VECTORS;

static int patch(void)
{
#if EP_STREAM
    for (int mel = 0; mel < EP_MELS; ++mel)
        input[mel] = ep_frontend_row(&frontend)[mel];
    return 1;
#elif EP_RING_INT8
    return ep_frontend_patch_i8(&frontend, input);
#else
    return ep_frontend_patch_f32(&frontend, input);
#endif
}

static void print_frame(void)
{
    if (ep_frontend_log_mel(&frontend, log_mels)) {
        board_print("frame ");
        board_print_hex(log_mels, sizeof log_mels);
        board_print("\n");
    }
}

int main(void)
{
    ep_frontend_reset(&frontend);
    for (size_t done = 0; done < SAMPLES; done += EP_HOP) {
        const size_t count = SAMPLES - done < EP_HOP ? SAMPLES - done : EP_HOP;
        const uint64_t start = board_ticks();
        const size_t completed = ep_frontend_push_i16(&frontend, signal + done, count);
        const uint64_t ticks = board_ticks() - start;
        board_print("push %u %U\n", (unsigned)completed, board_instructions(ticks));
        if (completed)
            print_frame();
    }
    while (ep_frontend_finish_frame(&frontend))
        print_frame();
    const uint64_t start = board_ticks();
    const int whole = patch();
    const uint64_t ticks = board_ticks() - start;
    board_print("patch %d %U ", whole, board_instructions(ticks));
    board_print_hex(input, sizeof input);
    board_print("\nend\n");
    return 0;
}
