/* The smallest program around a streaming network, for its flash, its RAM and the depth of its stack. */
#include "board.h"
#include "net.h"

static net_state state;
static int8_t row[NET_ROW_VALUES], output[NET_OUTPUT_SIZE];

int main(void)
{
    net_reset(&state);
    for (int i = 0; i < NET_ROWS; ++i)
        net_push(&state, row);
    net_output(&state, output);
    board_print_stack(board_stack_bytes());
    return 0;
}
