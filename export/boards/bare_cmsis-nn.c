/* The smallest program around a network, for its flash, its RAM and the depth of its stack. */
#include "board.h"
#include "bknn_net.h"

#if BKNN_NET_ARENA_SIZE
static _Alignas(BKNN_NET_ARENA_ALIGNMENT) uint8_t arena[BKNN_NET_ARENA_SIZE];
#else
static uint8_t *const arena = NULL;
#endif
static int8_t input[BKNN_NET_INPUT_BYTES], output[BKNN_NET_OUTPUT_BYTES];

int main(void)
{
    bknn_net_infer(arena, input, output);
    board_print_stack(board_stack_bytes());
    return 0;
}
