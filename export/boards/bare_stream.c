/* The smallest program around a streaming network, for its flash, its RAM and the depth of its stack. */
#include "board.h"
#include "net.h"

static net_state state;
static int8_t row[NET_ROW_VALUES], output[NET_OUTPUT_SIZE];

static void report(size_t stack) BOARD_TEST;
static void report(size_t stack)
{
    static char text[] BOARD_VECTORS = "stack %u\n";
    board_print(text, (unsigned)stack);
}

int main(void)
{
    net_reset(&state);
    for (int i = 0; i < NET_ROWS; ++i)
        net_push(&state, row);
    net_output(&state, output);
    report(board_stack_bytes());
    return 0;
}
