/* Pushes stored clips row by row into a network and prints the number, the instructions and the output of each clip. With
 * NET_PROFILE the network calls `net_mark` after each piece of a layer's work, and the layers' instructions are printed
 * too; the last one is the scheduler. */
#include "board.h"
#include "net.h"
#include "clips.h"

static net_state state;
static int8_t output[NET_OUTPUT_SIZE];

#ifdef NET_PROFILE
static int64_t spent[NET_LAYERS + 1] BOARD_VECTORS = {0};
static uint64_t marked BOARD_VECTORS = 0;
static int64_t of_mark BOARD_VECTORS = 0;

void net_mark(unsigned layer);
void net_mark(unsigned layer)
{
    spent[layer] += (int64_t)(board_ticks() - marked) - of_mark;
    marked = board_ticks();
}

/* Ticks of a mark that follows another at once. */
static void measure_mark(void)
{
    net_mark(0);
    spent[0] = 0;
    net_mark(0);
    of_mark = spent[0];
}

static void begin_layers(void)
{
    for (unsigned layer = 0; layer <= NET_LAYERS; ++layer)
        spent[layer] = 0;
    marked = board_ticks();
}

static void print_layers(unsigned clip)
{
    net_mark(NET_LAYERS);
    for (unsigned layer = 0; layer <= NET_LAYERS; ++layer)
        board_print("layer %u %u %U\n", clip, layer, board_instructions(spent[layer] > 0 ? (uint64_t)spent[layer] : 0));
}
#endif

int main(void)
{
#ifdef NET_PROFILE
    measure_mark();
#endif
    for (unsigned clip = 0; clip < CLIPS; ++clip) {
        const int8_t *row = clips[clip];
#ifdef NET_PROFILE
        begin_layers();
#endif
        const uint64_t start = board_ticks();
        net_reset(&state);
        for (int i = 0; i < NET_ROWS; ++i, row += NET_ROW_VALUES)
            net_push(&state, row);
        net_output(&state, output);
        const uint64_t ticks = board_ticks() - start;
#ifdef NET_PROFILE
        print_layers(clip);
#endif
        board_print("clip %u %U ", clip, board_instructions(ticks));
        board_print_hex(output, sizeof output);
        board_print("\n");
    }
    board_print("all %u clips done\n", (unsigned)CLIPS);
    return 0;
}
